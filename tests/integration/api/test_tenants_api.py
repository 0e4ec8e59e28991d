"""The requests of a signup portal, on the whole stack."""

import asyncio
import re

import pytest

from cli.api import ProblemError
from local.kubernetes.control_plane import kubectl
from tests.support.builders import new_slug, signup_body
from tests.support.http_calls import send
from tests.support.polling import until
from tests.support.stack import ProxiedStack


async def test_signup_gives_a_running_tenant_and_delete_a_tombstone(berth: ProxiedStack) -> None:
    slug = new_slug()
    response = await send(berth, "POST", "tenants", json=signup_body(slug))
    assert response.status_code == 202
    operation = response.json()
    assert response.headers["Location"] == f"/api/operations/{operation['id']}"
    assert int(response.headers["Retry-After"]) > 0
    assert (operation["state"], [step["name"] for step in operation["steps"]]) == (
        "queued",
        ["place", "apply", "start"],
    )

    operation = await berth.ended(operation)
    assert (operation["state"], operation["percent"]) == ("succeeded", 100)
    times = [step[edge] for step in operation["steps"] for edge in ("started_at", "finished_at")]
    assert times == sorted(times)
    tenant = await berth.api.call("GET", f"tenants/{slug}")
    assert (tenant["state"], tenant["observed"]["ready"]) == ("active", True)
    assert tenant["observed"]["at"]

    operation = await berth.ended(await berth.api.call("DELETE", f"tenants/{slug}"))
    assert operation["state"] == "succeeded"
    tombstone = await berth.api.call("GET", f"tenants/{slug}")
    assert (tombstone["state"], tombstone["email"], tombstone["display_name"]) == ("deleted", "", "")
    with pytest.raises(ProblemError, match="409"):
        await berth.sign_up(slug)  # in quarantine
    await berth.at_rest()


async def test_a_policy_is_set_for_one_tenant(berth: ProxiedStack) -> None:
    operation = await berth.sign_up()
    path = f"tenants/{operation['tenant']}"
    plan = (await berth.api.call("GET", path))["policy"]
    assert (plan["idle_days"], plan["overridden"]) == (7, [])
    wanted = {"idle_days": 3, "keep_awake_until": "2126-03-01T14:00:00+02:00"}
    policy = (await berth.api.call("PUT", f"{path}/policy", wanted))["policy"]
    assert policy == plan | {
        "idle_days": 3,
        "keep_awake_until": "2126-03-01T12:00:00.000Z",
        "overridden": ["idle_days", "keep_awake_until"],
    }
    assert (await berth.ended(operation))["state"] == "succeeded"
    assert (await berth.api.call("GET", path))["policy"] == policy
    assert (await berth.api.call("PUT", f"{path}/policy", {"idle_days": None}))["policy"] == plan
    trail = await berth.api.all(f"{path}/audit")
    assert next(each["reason"] for each in trail if each["action"] == "policy") == "as the plan says"


async def test_a_tenant_sleeps_and_wakes(berth: ProxiedStack) -> None:
    slug = (await berth.ended(await berth.sign_up()))["tenant"]
    before = await berth.api.call("GET", f"tenants/{slug}")
    assert (await berth.stack.control_plane.gateway.fetch(before["url"])).status_code == 200
    for verb, kind, state in (("sleep", "hibernate", "hibernated"), ("wake", "wake", "active")):
        responses = await asyncio.gather(*(send(berth, "POST", f"tenants/{slug}/{verb}") for _ in range(5)))
        assert {response.status_code for response in responses} == {202}
        [operation_id] = {response.json()["id"] for response in responses}
        operation = await berth.ended({"id": operation_id})
        assert (operation["kind"], operation["state"]) == (kind, "succeeded")
        again = await send(berth, "POST", f"tenants/{slug}/{verb}")
        assert (again.status_code, again.json()["state"]) == (200, state)
        tenant = await berth.api.call("GET", f"tenants/{slug}")
        assert (tenant["state"], tenant["instance"]) == (state, before["instance"])
        assert tenant["state_since"] == operation["finished_at"] > before["state_since"]
        page = await berth.stack.control_plane.gateway.fetch(before["url"], method="HEAD")  # which wakes nobody
        assert page.status_code == (200 if state == "active" else 503)
        await berth.at_rest()


async def test_ten_signups_for_one_slug_give_nine_conflicts(berth: ProxiedStack) -> None:
    slug = new_slug()
    results = await asyncio.gather(*(berth.sign_up(slug) for _ in range(10)), return_exceptions=True)
    problems = [each for each in results if isinstance(each, ProblemError)]
    assert len(problems) == 9
    assert {each.status for each in problems} == {409}
    [operation] = [each for each in results if isinstance(each, dict)]
    assert (await berth.ended(operation))["state"] == "succeeded"


async def test_a_conflict_names_the_running_operation(berth: ProxiedStack) -> None:
    operation = await berth.sign_up(version="slow-1")
    with pytest.raises(ProblemError, match=re.escape(operation["id"])):
        await berth.api.call("DELETE", f"tenants/{operation['tenant']}")
    assert (await berth.ended(operation))["state"] == "succeeded"


async def test_a_failed_start_gives_the_reason_and_is_removed(berth: ProxiedStack) -> None:
    async def fails(version: str, reason: str) -> None:
        operation = await berth.ended(await berth.sign_up(version=version))
        assert operation["state"] == "failed"
        assert reason in operation["reason"]
        steps = {step["name"]: step["state"] for step in operation["steps"]}
        assert steps == {"place": "done", "apply": "done", "start": "failed", "remove": "done"}
        ended = await berth.ended(await berth.api.call("DELETE", f"tenants/{operation['tenant']}"))
        assert ended["state"] == "succeeded"

    await asyncio.gather(
        fails("missing-1", "cannot be pulled"),
        fails("crash-1", "crashes on start: Error, exit code 1"),
        fails("never-ready-1", "not ready after 12 s: the product is running but does not pass its readiness probe"),
    )
    await berth.at_rest()


async def test_an_unschedulable_pod_is_named_in_the_message(berth: ProxiedStack) -> None:
    plane = berth.stack.control_plane
    await kubectl(plane, "cordon", "node-0", "node-1", "node-2")
    try:
        operation = await berth.sign_up()
        async with asyncio.timeout(20):
            while "no node can take the workload" not in operation["steps"][2]["message"]:
                operation = await berth.api.call("GET", f"operations/{operation['id']}")
                await asyncio.sleep(0.1)
        assert "unschedulable" in operation["steps"][2]["message"]
    finally:
        await kubectl(plane, "uncordon", "node-0", "node-1", "node-2")
    assert (await berth.ended(operation))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"slug": "No Slug"}, "/slug"),
        ({"slug": "kube-system"}, "/slug"),
        ({"plan": "gold"}, "/plan"),
        ({"region": "mars"}, "/region"),
        ({"email": "nobody"}, "/email"),
        ({"display_name": "a\nb"}, "/display_name"),
        ({"version": "../../etc"}, "/version"),
        ({"replicas": "3"}, "/replicas"),
    ],
)
async def test_an_invalid_field_gets_a_pointer(berth: ProxiedStack, fields: dict[str, str], pointer: str) -> None:
    response = await send(berth, "POST", "tenants", json=signup_body(new_slug()) | fields)
    problem = response.json()
    assert (response.status_code, response.headers["Content-Type"].split(";")[0]) == (422, "application/problem+json")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"slug":"abc","slug":"abd"}', "application/json", 422),
        (b"[" * 100_000, "application/json", 413),
        (b"[" * 50_000, "application/json", 422),
        (b'"\xff"', "application/json", 422),
        (b"[NaN]", "application/json", 422),
        (b"slug=abc", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_a_body_that_is_not_json_is_rejected(
    berth: ProxiedStack, body: bytes, media_type: str, status: int
) -> None:
    response = await send(berth, "POST", "tenants", content=body, headers={"Content-Type": media_type})
    assert response.status_code == status
    assert response.json()["detail"]


async def test_each_route_needs_its_key(berth: ProxiedStack) -> None:
    assert (await send(berth, "GET", "tenants", key="wrong")).status_code == 401
    assert (await send(berth, "GET", "clusters")).status_code == 401
    assert (await send(berth, "GET", "clusters", key=berth.stack.master_key)).status_code == 200
    findings = await send(berth, "GET", "reconciliations?state=open", key=berth.stack.master_key)
    assert (findings.status_code, findings.json()) == (200, {"items": [], "next": ""})
    assert (await send(berth, "GET", "healthz", key="none")).status_code == 200


async def test_unknown_names_get_404(berth: ProxiedStack) -> None:
    for path in ("tenants/nobody-here", "tenants/No!", "operations/nonsense", "operations/acme.00000000000000000000"):
        response = await send(berth, "GET", path)
        assert (response.status_code, response.json()["title"]) == (404, "Not found")


async def test_only_callers_with_a_key_see_what_has_failed(berth: ProxiedStack) -> None:
    checks = {"tables": "ok", "task hub": "ok", "cluster local": "ok"}
    assert (await send(berth, "GET", "dependencies")).json() == {"ready": True, "checks": checks}

    async def drop(_: object) -> None:
        raise ConnectionError

    berth.kubernetes.before = drop
    found = await send(berth, "GET", "dependencies")
    assert (found.status_code, found.json()["ready"]) == (200, False)
    assert "cannot be reached" in found.json()["checks"].pop("cluster local")
    assert set(found.json()["checks"].values()) >= {"ok"}
    anonymous = await send(berth, "GET", "readyz", key="none")
    assert (anonymous.status_code, anonymous.json()) == (503, {"ready": False})
    berth.kubernetes.reset()
    assert (await send(berth, "GET", "readyz", key="none")).status_code == 503  # kept for some seconds


async def test_tenants_are_listed_by_page_and_filter(berth: ProxiedStack) -> None:
    operations = [await berth.sign_up(plan="standard") for _ in range(3)]
    for operation in operations:
        await berth.ended(operation)
    slugs = {operation["tenant"] for operation in operations}
    listed = await berth.api.all("tenants", plan="standard", limit=1)
    assert slugs <= {each["slug"] for each in listed}
    assert all(each["plan"] == "standard" for each in listed)
    with pytest.raises(ProblemError, match="422"):
        await berth.api.call("GET", "tenants", next="???")


async def test_a_dry_run_of_a_sweep_decides_on_tenants(berth: ProxiedStack) -> None:
    operation = await berth.ended(await berth.sign_up())
    sweep = await berth.operators.call("POST", "sweeps", {"dry_run": True})

    async def has_ended() -> bool:
        return (await berth.operators.call("GET", f"sweeps/{sweep['id']}"))["ended_at"] is not None

    await until(has_ended)
    sweep = await berth.operators.call("GET", f"sweeps/{sweep['id']}")
    assert (sweep["state"], sweep["hibernate"], sweep["failed"]) == ("done", 0, 0)
    decisions = await berth.operators.all(f"sweeps/{sweep['id']}/decisions", limit=1)
    assert operation["tenant"] in {each["tenant"] for each in decisions if each["outcome"] == "keep"}
    assert sweep["id"] in {each["id"] for each in await berth.operators.all("sweeps")}
