"""Requests sent again, cancelled, retried; operations that lost their orchestration."""

import asyncio
from secrets import token_hex

import httpx
import pytest

from cli.api import Json, ProblemError
from tests.integration.api.test_tenants_api import raw
from tests.support.builders import new_slug, signup_body
from tests.support.polling import until
from tests.support.stack import ProxiedStack


async def post(berth: ProxiedStack, path: str, body: Json | None = None, *, key: str = "") -> httpx.Response:
    return await raw(berth, "POST", path, json=body, headers={"Idempotency-Key": key} if key else {})


async def test_a_hundred_times_the_same_request_is_one_operation(berth: ProxiedStack) -> None:
    body, key = signup_body(new_slug()), token_hex(8)
    answers = await asyncio.gather(*(post(berth, "tenants", body, key=key) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202}
    [operation_id] = {answer.json()["id"] for answer in answers}
    operation = await berth.ended({"id": operation_id})
    assert operation["state"] == "succeeded"
    late = (await post(berth, "tenants", dict(reversed(body.items())), key=key)).json()
    assert (late["id"], late["state"]) == (operation_id, "succeeded")
    await berth.at_rest()


async def test_a_key_with_another_request_is_refused(berth: ProxiedStack) -> None:
    body, key = signup_body(new_slug()), token_hex(8)
    first = (await post(berth, "tenants", body, key=key)).json()
    for path, other in (
        ("tenants", body | {"plan": "business"}),
        (f"tenants/{body['slug']}/retry", None),
        (f"operations/{first['id']}/cancel", None),
    ):
        answer = await post(berth, path, other, key=key)
        assert (answer.status_code, answer.json()["type"]) == (422, "/api/problems/key-reused")
    await berth.ended(first)


async def test_a_request_that_came_to_nothing_can_be_sent_again_with_its_key(berth: ProxiedStack) -> None:
    taken = await berth.sign_up()
    body, key = signup_body(taken["tenant"]), token_hex(8)
    assert (await post(berth, "tenants", body, key=key)).status_code == 409
    assert (await post(berth, "tenants", body, key=key)).status_code == 409
    other = await post(berth, "tenants", signup_body(new_slug()), key=key)
    assert (other.status_code, other.json()["type"]) == (422, "/api/problems/key-reused")
    await berth.ended(taken)


@pytest.mark.parametrize("key", ["k" * 256, "snow\N{SNOWMAN}"])
async def test_a_key_has_bounds(berth: ProxiedStack, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    assert (await raw(berth, "POST", "tenants", json=signup_body(new_slug()), headers=headers)).status_code == 422


async def test_a_cancelled_signup_leaves_nothing(berth: ProxiedStack) -> None:
    async def cancel_after(pause: float) -> None:
        operation = await berth.sign_up(version="slow-1")
        await asyncio.sleep(pause)  # not to wait for something, but to hit different steps
        answers = [await post(berth, f"operations/{operation['id']}/cancel") for _ in range(2)]
        assert {answer.status_code for answer in answers} == {202}
        operation = await berth.ended(operation)
        assert (operation["state"], operation["reason"]) == ("cancelled", "cancelled")
        assert (await berth.api.call("GET", f"tenants/{operation['tenant']}"))["state"] == "failed"

    await asyncio.gather(*(cancel_after(pause) for pause in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)))
    await berth.at_rest()


async def test_what_has_ended_cannot_be_cancelled(berth: ProxiedStack) -> None:
    operation = await berth.ended(await berth.sign_up())
    assert (await post(berth, f"operations/{operation['id']}/cancel")).status_code == 409
    deletion = await berth.api.call("DELETE", f"tenants/{operation['tenant']}")
    assert (await post(berth, f"operations/{deletion['id']}/cancel")).status_code == 409
    assert (await berth.ended(deletion))["state"] == "succeeded"


async def test_a_failed_tenant_can_be_retried_with_another_version(berth: ProxiedStack) -> None:
    failed = await berth.ended(await berth.sign_up(version="missing-1"))
    assert failed["state"] == "failed"
    again = await berth.api.call("POST", f"tenants/{failed['tenant']}/retry", {"version": "1.0.0"})
    assert (await berth.ended(again))["state"] == "succeeded"
    tenant = await berth.api.call("GET", f"tenants/{failed['tenant']}")
    assert (tenant["state"], tenant["version"]) == ("active", "1.0.0")
    assert (await berth.api.call("GET", f"operations/{failed['id']}"))["reason"] == failed["reason"]
    with pytest.raises(ProblemError, match="only a failed tenant"):
        await berth.api.call("POST", f"tenants/{failed['tenant']}/retry")
    await berth.at_rest()


async def test_a_slug_says_whether_it_is_free_and_never_whose_it_is(berth: ProxiedStack) -> None:
    slug = new_slug()
    assert (await berth.api.call("GET", f"slugs/{slug}")) == {"slug": slug, "free": True, "reason": ""}
    await berth.ended(await berth.sign_up(slug))
    assert (await berth.api.call("GET", f"slugs/{slug}"))["reason"] == "this name is taken"
    await berth.ended(await berth.api.call("DELETE", f"tenants/{slug}"))
    assert "stays reserved until" in (await berth.api.call("GET", f"slugs/{slug}"))["reason"]
    assert "reserved" in (await berth.api.call("GET", "slugs/admin"))["reason"]
    assert not (await berth.api.call("GET", "slugs/No%20Slug"))["free"]


async def test_the_audit_trail_says_who_what_and_why(berth: ProxiedStack) -> None:
    slug = new_slug()
    await berth.ended(await berth.sign_up(slug))
    deletion = await raw(berth, "DELETE", f"tenants/{slug}", headers={"Berth-Actor": "night shift"})
    await berth.ended(deletion.json())
    entries = await berth.api.all(f"tenants/{slug}/audit", limit=2)
    changes = [(entry["actor"], entry["action"], entry["before"], entry["after"]) for entry in entries]
    assert changes == [
        ("night shift", "delete", "deleting", "deleted"),
        ("night shift", "delete", "active", "deleting"),
        ("berth CLI", "provision", "provisioning", "active"),
        ("berth CLI", "provision", "none", "provisioning"),
    ]


async def test_an_empty_task_hub_in_place_of_the_old_one_loses_no_operation(berth: ProxiedStack) -> None:
    operations = [await berth.sign_up(version=version) for version in ("slow-1", "missing-1", "1.0.0")]
    berth.stack.processes.kill("task-hub")  # the stack starts an empty one in its place
    ended = [await berth.ended(operation) for operation in operations]
    assert [each["state"] for each in ended] == ["succeeded", "failed", "succeeded"]
    await until(berth.stack.host_ready)
    await berth.at_rest()
