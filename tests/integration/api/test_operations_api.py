"""Repeated requests, cancellations, retries, and operations that lost their orchestration."""

import asyncio
from secrets import token_hex

import pytest

from cli.api import ProblemError
from tests.support.builders import new_slug, signup_body
from tests.support.http_calls import post, send
from tests.support.polling import until
from tests.support.stack import ProxiedStack


async def test_a_hundred_requests_with_one_key_give_one_operation(berth: ProxiedStack) -> None:
    body, key = signup_body(new_slug()), token_hex(8)
    responses = await asyncio.gather(*(post(berth, "tenants", body, key=key) for _ in range(100)))
    assert {response.status_code for response in responses} == {202}
    [operation_id] = {response.json()["id"] for response in responses}
    operation = await berth.ended({"id": operation_id})
    assert operation["state"] == "succeeded"
    late = (await post(berth, "tenants", dict(reversed(body.items())), key=key)).json()
    assert (late["id"], late["state"]) == (operation_id, "succeeded")
    await berth.at_rest()


async def test_a_key_with_another_request_is_rejected(berth: ProxiedStack) -> None:
    body, key = signup_body(new_slug()), token_hex(8)
    first = (await post(berth, "tenants", body, key=key)).json()
    for path, other in (
        ("tenants", body | {"plan": "business"}),
        (f"tenants/{body['slug']}/retry", None),
        (f"operations/{first['id']}/cancel", None),
    ):
        response = await post(berth, path, other, key=key)
        assert (response.status_code, response.json()["type"]) == (422, "/api/problems/key-reused")
    await berth.ended(first)


async def test_a_failed_request_can_be_repeated_with_its_key(berth: ProxiedStack) -> None:
    taken = await berth.sign_up()
    body, key = signup_body(taken["tenant"]), token_hex(8)
    assert (await post(berth, "tenants", body, key=key)).status_code == 409
    assert (await post(berth, "tenants", body, key=key)).status_code == 409
    other = await post(berth, "tenants", signup_body(new_slug()), key=key)
    assert (other.status_code, other.json()["type"]) == (422, "/api/problems/key-reused")
    await berth.ended(taken)


@pytest.mark.parametrize("key", ["k" * 256, "snow\N{SNOWMAN}"])
async def test_a_key_that_is_too_long_or_not_ascii_is_rejected(berth: ProxiedStack, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    assert (await send(berth, "POST", "tenants", json=signup_body(new_slug()), headers=headers)).status_code == 422


async def test_a_cancelled_signup_leaves_no_objects(berth: ProxiedStack) -> None:
    async def cancel_after(pause: float) -> None:
        operation = await berth.sign_up(version="slow-1")
        await asyncio.sleep(pause)  # so that the cancellations hit different steps
        responses = [await post(berth, f"operations/{operation['id']}/cancel") for _ in range(2)]
        assert {response.status_code for response in responses} == {202}
        operation = await berth.ended(operation)
        assert (operation["state"], operation["reason"]) == ("cancelled", "cancelled")
        assert (await berth.api.call("GET", f"tenants/{operation['tenant']}"))["state"] == "failed"

    await asyncio.gather(*(cancel_after(pause) for pause in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)))
    await berth.at_rest()


async def test_an_ended_operation_or_a_deletion_is_not_cancelled(berth: ProxiedStack) -> None:
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
    with pytest.raises(ProblemError, match="only failed tenants can be retried"):
        await berth.api.call("POST", f"tenants/{failed['tenant']}/retry")
    await berth.at_rest()


async def test_a_slug_check_never_says_who_has_the_slug(berth: ProxiedStack) -> None:
    slug = new_slug()
    assert (await berth.api.call("GET", f"slugs/{slug}")) == {"slug": slug, "free": True, "reason": ""}
    await berth.ended(await berth.sign_up(slug))
    assert (await berth.api.call("GET", f"slugs/{slug}"))["reason"] == "this name is taken"
    await berth.ended(await berth.api.call("DELETE", f"tenants/{slug}"))
    assert "stays reserved until" in (await berth.api.call("GET", f"slugs/{slug}"))["reason"]
    assert "reserved" in (await berth.api.call("GET", "slugs/admin"))["reason"]
    assert not (await berth.api.call("GET", "slugs/No%20Slug"))["free"]


async def test_the_audit_trail_has_actor_action_and_states(berth: ProxiedStack) -> None:
    slug = new_slug()
    await berth.ended(await berth.sign_up(slug))
    deletion = await send(berth, "DELETE", f"tenants/{slug}", headers={"Berth-Actor": "night shift"})
    await berth.ended(deletion.json())
    entries = await berth.api.all(f"tenants/{slug}/audit", limit=2)
    changes = [(entry["actor"], entry["action"], entry["before"], entry["after"]) for entry in entries]
    assert changes == [
        ("night shift", "delete", "deleting", "deleted"),
        ("night shift", "delete", "active", "deleting"),
        ("berth CLI", "provision", "provisioning", "active"),
        ("berth CLI", "provision", "none", "provisioning"),
    ]


async def test_operations_survive_the_loss_of_the_task_hub(berth: ProxiedStack) -> None:
    operations = [await berth.sign_up(version=version) for version in ("slow-1", "missing-1", "1.0.0")]
    berth.stack.processes.kill("task-hub")  # the stack starts a new, empty one
    ended = [await berth.ended(operation) for operation in operations]
    assert [each["state"] for each in ended] == ["succeeded", "failed", "succeeded"]
    await until(berth.stack.host_ready)
    await berth.at_rest()
