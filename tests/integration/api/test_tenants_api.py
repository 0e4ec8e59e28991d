"""The API as a signup portal uses it, on the whole stack."""

import asyncio
import re

import httpx
import pytest

from cli.api import ProblemError
from local.kubernetes.control_plane import kubectl
from tests.support.builders import new_slug, signup_body
from tests.support.described_api import is_as_described
from tests.support.stack import ProxiedStack


async def raw(berth: ProxiedStack, method: str, path: str, *, key: str = "", **arguments: object) -> httpx.Response:
    headers = {"x-functions-key": key or berth.stack.function_key}
    url, hooks = f"{berth.stack.api_url}/api/", {"response": [is_as_described]}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, event_hooks=hooks) as http:
        given = arguments.pop("headers", {})
        assert isinstance(given, dict)
        return await http.request(method, path, headers=headers | given, **arguments)  # pyright: ignore[reportArgumentType]


async def test_a_signup_becomes_a_running_tenant_and_a_deletion_a_tombstone(berth: ProxiedStack) -> None:
    slug = new_slug()
    answer = await raw(berth, "POST", "tenants", json=signup_body(slug))
    assert answer.status_code == 202
    operation = answer.json()
    assert answer.headers["Location"] == f"/api/operations/{operation['id']}"
    assert int(answer.headers["Retry-After"]) > 0
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


async def test_a_taken_slug_is_409_for_all_but_one(berth: ProxiedStack) -> None:
    slug = new_slug()
    answers = await asyncio.gather(*(berth.sign_up(slug) for _ in range(10)), return_exceptions=True)
    problems = [each for each in answers if isinstance(each, ProblemError)]
    assert len(problems) == 9
    assert {each.status for each in problems} == {409}
    [operation] = [each for each in answers if isinstance(each, dict)]
    assert (await berth.ended(operation))["state"] == "succeeded"


async def test_a_second_operation_names_the_first(berth: ProxiedStack) -> None:
    operation = await berth.sign_up(version="slow-1")
    with pytest.raises(ProblemError, match=re.escape(operation["id"])):
        await berth.api.call("DELETE", f"tenants/{operation['tenant']}")
    assert (await berth.ended(operation))["state"] == "succeeded"


async def test_a_tenant_that_cannot_start_fails_with_the_reason_and_leaves_nothing(berth: ProxiedStack) -> None:
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
        fails("never-ready-1", "not ready after 12 s: the product is running but does not answer its readiness probe"),
    )
    await berth.at_rest()


async def test_a_wait_says_what_it_waits_for(berth: ProxiedStack) -> None:
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
    ("members", "pointer"),
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
async def test_a_bad_member_is_pointed_at(berth: ProxiedStack, members: dict[str, str], pointer: str) -> None:
    answer = await raw(berth, "POST", "tenants", json=signup_body(new_slug()) | members)
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (422, "application/problem+json")
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
async def test_what_is_no_json_is_refused(berth: ProxiedStack, body: bytes, media_type: str, status: int) -> None:
    answer = await raw(berth, "POST", "tenants", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_keys(berth: ProxiedStack) -> None:
    assert (await raw(berth, "GET", "tenants", key="wrong")).status_code == 401
    assert (await raw(berth, "GET", "clusters")).status_code == 401
    assert (await raw(berth, "GET", "clusters", key=berth.stack.master_key)).status_code == 200
    assert (await raw(berth, "GET", "healthz", key="none")).status_code == 200


async def test_what_is_not_there_is_404(berth: ProxiedStack) -> None:
    for path in ("tenants/nobody-here", "tenants/No!", "operations/nonsense", "operations/acme.00000000000000000000"):
        answer = await raw(berth, "GET", path)
        assert (answer.status_code, answer.json()["title"]) == (404, "Not found")


async def test_readiness_names_what_does_not_answer(berth: ProxiedStack) -> None:
    assert (await raw(berth, "GET", "readyz")).json()["ready"] is True

    async def drop(_: object) -> None:
        raise ConnectionError

    berth.kubernetes.before = drop
    answer = await raw(berth, "GET", "readyz")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.json()["checks"]["cluster local"]
    assert answer.json()["checks"]["tables"] == "ok"


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
