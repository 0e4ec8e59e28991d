"""What operators do on the ops pages: by forms, once for each, and as the API does it."""

import logging
from typing import Any

import azure.functions as func
import pytest

from functions.http.api import ROUTES
from functions.http.pages.principal import ENABLED
from functions.http.pages.rendering import problem_page
from functions.http.pages.session import FORM_TOKEN, LOCAL_ACTOR
from functions.http.pages.tenant_actions import PAGE
from functions.http.problems import Kind, Problem
from shared.domain.clusters import ClusterName, ClusterState
from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.settings import SignIn
from tests.support.html_page import Element, elements
from tests.support.ops_pages import FROM_HERE, OpsVisitor, answer, call, ops_settings, principal
from tests.support.world import PORTAL, World, new_world

ACTIONS = [name for name in ROUTES if name.startswith("ops_")]


def form(found: list[Element], action: str, **more: str) -> dict[str, str]:
    """Return the fields of the form with an action, as a browser sends them."""
    held = next(each for each in found if each.tag == "form" and each.attributes["action"] == action)
    inputs = [each.attributes for each in held.children if each.tag == "input"]
    return {each["name"]: each.get("value", "") for each in inputs} | more


async def form_of_tenant(visitor: OpsVisitor, action: str, **more: str) -> dict[str, str]:
    found = await visitor.get("show_ops_tenant", "/api/ops/tenants/acme", slug="acme")
    return form(found, f"/api/ops/tenants/acme/{action}", **more)


async def send(visitor: OpsVisitor, name: str, action: str, fields: dict[str, str]) -> func.HttpResponse:
    headers = {**visitor.headers, **FROM_HERE}
    return await call(name, f"/api/ops/tenants/acme/{action}", form=fields, headers=headers, slug="acme")


def said(response: func.HttpResponse) -> str:
    return next(each.text for each in elements(response.get_body().decode()) if each.tag == "main")


async def changes_by(world: World, actor: str) -> list[tuple[str, str]]:
    """Return the state after each change by somebody, and why it was made."""
    found = await world.worker.history.audit(Slug("acme"), limit=100, token="")
    return [(each.after, each.reason) for each in found.items if each.actor == actor]


async def test_a_tenant_is_put_to_sleep_and_woken(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    for name, action, during, after in (
        ("ops_sleep_tenant", "sleep", TenantState.HIBERNATING, TenantState.HIBERNATED),
        ("ops_wake_tenant", "wake", TenantState.WAKING, TenantState.ACTIVE),
    ):
        response = await send(visitor, name, action, await form_of_tenant(visitor, action))
        assert (response.status_code, response.headers["Location"]) == (303, "/api/ops/tenants/acme")
        assert (during, "requested") in await changes_by(world, LOCAL_ACTOR)
        await world.run()
        assert (await world.tenant()).state is after


async def test_a_form_that_is_sent_twice_acts_once(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    fields = await form_of_tenant(visitor, "sleep")
    for _ in range(2):
        assert (await send(visitor, "ops_sleep_tenant", "sleep", fields)).status_code == 303
    await world.run()
    await world.wake()
    await world.run()
    # Sent a third time, long after: what it asked for was done.
    assert (await send(visitor, "ops_sleep_tenant", "sleep", fields)).status_code == 303
    assert (await world.tenant()).state is TenantState.ACTIVE
    operations = await world.worker.history.operations(await world.tenant(), limit=10)
    assert sorted(each.kind for each in operations) == ["hibernate", "provision", "wake"]


async def test_another_form_with_the_same_key_is_refused(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    fields = await form_of_tenant(visitor, "sleep")
    await send(visitor, "ops_sleep_tenant", "sleep", fields)
    await world.run()
    assert (await send(visitor, "ops_wake_tenant", "wake", fields)).status_code == 422


@pytest.mark.parametrize("key", ["", "x", "0" * 31, "0" * 33, "G" * 32])
async def test_a_form_without_its_key_does_nothing(world: World, visitor: OpsVisitor, key: str) -> None:
    await world.active()
    fields = await form_of_tenant(visitor, "sleep", key=key)
    assert (await send(visitor, "ops_sleep_tenant", "sleep", fields)).status_code == 422
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_a_failed_tenant_is_retried_with_another_version(world: World, visitor: OpsVisitor) -> None:
    await world.cancel(await world.sign_up())
    await world.run()
    wrong = await send(visitor, "ops_retry_tenant", "retry", await form_of_tenant(visitor, "retry", version="a b"))
    assert (wrong.status_code, (await world.tenant()).state) == (422, TenantState.FAILED)
    assert "version give the tag of an image" in said(wrong)
    fields = await form_of_tenant(visitor, "retry", version="2.0.0")
    assert (await send(visitor, "ops_retry_tenant", "retry", fields)).status_code == 303
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.version, tenant.operation.actor) == (TenantState.ACTIVE, "2.0.0", LOCAL_ACTOR)


def by_a_link(visitor: OpsVisitor) -> OpsVisitor:
    """Return a visitor that follows a link of a page of this app."""
    return OpsVisitor({**visitor.headers, **FROM_HERE})


def way_back(response: func.HttpResponse) -> str:
    """Return where an error leads back to."""
    found = elements(response.get_body().decode())
    return next(each.attributes["href"] for each in found if (each.tag, each.text) == ("a", "Back to the form"))


async def test_an_error_leads_back_to_the_form_as_it_was_filled_in(world: World, visitor: OpsVisitor) -> None:
    await world.cancel(await world.sign_up())
    await world.run()
    for name, action, field, typed in (
        ("ops_retry_tenant", "retry", "version", 'a "b" &é'),
        ("ops_delete_tenant", "delete", "slug", "acmé"),
    ):
        fields = await form_of_tenant(visitor, action, **{field: typed})
        path = way_back(await send(visitor, name, action, fields))
        found = await by_a_link(visitor).get("show_ops_tenant", path, slug="acme")
        again = form(found, f"/api/ops/tenants/acme/{action}")
        assert again[field] == typed
        assert again["key"] != fields["key"]  # it is another form, which may be sent
        [opened] = [each for each in found if each.tag == "details" and "open" in each.attributes]
        assert {each.attributes.get("name") for each in opened.children} >= {field}


async def test_no_address_confirms_a_deletion(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    found = await by_a_link(visitor).get("show_ops_tenant", "/api/ops/tenants/acme?slug=acme", slug="acme")
    assert form(found, "/api/ops/tenants/acme/delete")["slug"] == ""


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_link_from_elsewhere_fills_in_nothing(
    world: World, visitor: OpsVisitor, headers: dict[str, str]
) -> None:
    await world.cancel(await world.sign_up())
    await world.run()
    visitor.headers |= headers
    found = await visitor.get("show_ops_tenant", "/api/ops/tenants/acme?version=6.6.6&slug=acm", slug="acme")
    assert form(found, "/api/ops/tenants/acme/retry")["version"] == ""
    assert form(found, "/api/ops/tenants/acme/delete")["slug"] == ""
    assert not any(each.tag == "details" and "open" in each.attributes for each in found)


@pytest.mark.parametrize("body", [b"", b"version=%FF", b"version=" + b"x" * 70_000])
async def test_an_error_of_what_is_no_form_leads_back(visitor: OpsVisitor, body: bytes) -> None:
    req = func.HttpRequest(
        method="POST", url="https://b/api/ops/tenants/a%2Fb/retry", route_params={"slug": "a/b"}, body=body
    )
    response = problem_page(req, Problem(Kind.CONFLICT, "no"), back=PAGE, keeps=("version",))
    assert way_back(response) == "/api/ops/tenants/a%2Fb"


async def test_every_action_leads_back(world: World, visitor: OpsVisitor) -> None:
    where = {"slug": "acme", "id": "sweep-2026-01-01", "name": "one"}
    for name in ACTIONS:
        response = await call(name, "/api/ops/x", form={}, headers={**visitor.headers, **FROM_HERE}, **where)
        page = way_back(response).removeprefix("/api/")
        assert any(route.method == "GET" and route.has_path(page) for route in ROUTES.values()), name


@pytest.mark.parametrize("sign_in", [SignIn.KEY, SignIn.OFF])
async def test_a_page_that_nobody_may_see_leads_not_to_itself(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, await new_world(settings=ops_settings(sign_in)))
    response = await call("show_ops_tenants", "/api/ops/tenants?plan=trial")
    assert response.status_code == (401 if sign_in is SignIn.KEY else 404)
    links = [each.attributes["href"] for each in elements(response.get_body().decode()) if each.tag == "a"]
    assert not any(each.startswith("/api/ops/tenants?") for each in links)


async def test_an_operation_is_cancelled(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    await world.sleep()
    fields = await form_of_tenant(visitor, "cancel")
    assert (await send(visitor, "ops_cancel_operation", "cancel", fields)).status_code == 303
    assert await changes_by(world, LOCAL_ACTOR) == [(TenantState.HIBERNATING, "cancellation requested")]
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (TenantState.ACTIVE, OperationState.CANCELLED)


async def test_cancelling_the_operation_of_a_page_that_is_old(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    await world.sleep()
    fields = await form_of_tenant(visitor, "cancel")
    await world.run()
    await world.wake()
    response = await send(visitor, "ops_cancel_operation", "cancel", fields)
    assert response.status_code == 409
    assert "has succeeded already" in said(response)
    assert not (await world.tenant()).operation.cancel_requested


@pytest.mark.parametrize("typed", ["", "acm", "ACME", "acme-2"])
async def test_a_deletion_wants_the_slug(world: World, visitor: OpsVisitor, typed: str) -> None:
    await world.active()
    fields = await form_of_tenant(visitor, "delete", slug=typed)
    response = await send(visitor, "ops_delete_tenant", "delete", fields)
    assert response.status_code == 422
    assert "type acme to delete this tenant; nothing was done" in said(response)
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_a_tenant_is_deleted(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    fields = await form_of_tenant(visitor, "delete", slug="acme")
    assert (await send(visitor, "ops_delete_tenant", "delete", fields)).status_code == 303
    assert await changes_by(world, LOCAL_ACTOR) == [(TenantState.DELETING, "requested")]
    await world.run()
    assert (await world.tenant()).state is TenantState.DELETED


async def test_a_refusal_is_worded_as_in_the_api(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    fields = await form_of_tenant(visitor, "sleep")
    begun = await world.sleep()
    response = await send(visitor, "ops_delete_tenant", "delete", fields | {"slug": "acme"})
    assert response.status_code == 409
    assert f"acme is busy: operation {begun.id} (hibernate) is queued; wait until it has ended" in said(response)


async def test_a_dry_run_puts_nobody_to_sleep(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    found = await visitor.get("show_ops_sweeps", "/api/ops/sweeps")
    assert form(found, "/api/ops/sweeps")["dry_run"] == "yes"  # the first form of the page
    response = await visitor.post("ops_start_sweep", "/api/ops/sweeps", {"dry_run": "yes"})
    sweep = await world.worker.sweeps.get(response.headers["Location"].rpartition("/")[2])
    assert (response.status_code, sweep.start.dry_run, sweep.start.actor) == (303, True, LOCAL_ACTOR)
    again = await visitor.post("ops_start_sweep", "/api/ops/sweeps", {"dry_run": "yes"})
    assert again.headers["Location"] == response.headers["Location"]
    shown = await visitor.get("show_ops_sweep", f"/api/ops/sweeps/{sweep.id}", id=sweep.id)
    assert any("Stop this sweep" in each.text for each in shown if each.tag == "button")
    part = await visitor.get("show_ops_sweep_progress", f"/api/ops/sweeps/{sweep.id}/progress", id=sweep.id)
    assert part[0].attributes["hx-trigger"] == "every 2s"
    stopped = await visitor.post("ops_stop_sweep", f"/api/ops/sweeps/{sweep.id}/stop", {}, id=sweep.id)
    assert stopped.status_code == 303
    assert (await world.worker.sweep_records.control()).value.stopped_by == LOCAL_ACTOR


@pytest.mark.parametrize("value", ["", "true", "on", "maybe"])
async def test_a_sweep_that_acts_is_never_started_by_mistake(world: World, visitor: OpsVisitor, value: str) -> None:
    for fields in ({}, {"dry_run": value}):
        assert (await visitor.post("ops_start_sweep", "/api/ops/sweeps", fields)).status_code == 422
    assert (await world.worker.sweep_records.list(limit=1, token="")).items == ()


async def test_the_kill_switch(world: World, visitor: OpsVisitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for value, enabled in (("no", False), ("yes", True)):
        response = await visitor.post("ops_switch_sweeps", "/api/ops/sweep-switch", {"enabled": value})
        assert (response.status_code, response.headers["Location"]) == (303, "/api/ops/sweeps")
        assert await world.worker.sweeps.is_enabled() is enabled
        assert f"actor={LOCAL_ACTOR}" in caplog.text
        await visitor.get("show_ops_sweeps", "/api/ops/sweeps")
    await visitor.post("ops_switch_sweeps", "/api/ops/sweep-switch", {"enabled": "no"})
    refused = await visitor.post("ops_start_sweep", "/api/ops/sweeps", {"dry_run": "no"})
    assert refused.status_code == 409
    assert "sweeps are switched off; switch them on" in said(refused)


async def test_a_cluster_is_cordoned_and_opened(
    world: World, visitor: OpsVisitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = "/api/ops/clusters/one"
    for name, state in (("Cordon", ClusterState.CORDONED), ("Uncordon", ClusterState.OPEN)):
        found = await visitor.get("show_ops_cluster", path, name="one")
        assert any(each.text == name for each in found if each.tag == "summary")
        fields = form(found, f"{path}/state")
        assert fields["state"] == state
        response = await visitor.post("ops_change_cluster", f"{path}/state", fields, name="one")
        assert (response.status_code, response.headers["Location"]) == (303, path)
        assert (await world.cluster()).state is state
        assert f"state={state}" in caplog.text
    assert f"actor={LOCAL_ACTOR}" in caplog.text
    wrong = await visitor.post("ops_change_cluster", f"{path}/state", {"state": "gone"}, name="one")
    assert wrong.status_code == 422


async def test_a_cordoned_cluster_is_removed(
    world: World, visitor: OpsVisitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = "/api/ops/clusters/one"
    found = await visitor.get("show_ops_cluster", path, name="one")
    assert not any(each.text == "Remove" for each in found if each.tag == "summary")
    await world.active()
    await world.worker.registry.change(ClusterName("one"), state=ClusterState.CORDONED, capacity=None)
    found = await visitor.get("show_ops_cluster", path, name="one")
    for typed in ("", "ONE", "two"):
        wrong = await visitor.post(
            "ops_remove_cluster", f"{path}/remove", form(found, f"{path}/remove", name=typed), name="one"
        )
        assert wrong.status_code == 422
        assert "type one to remove this cluster; nothing was done" in said(wrong)
    fields = form(found, f"{path}/remove", name="one")
    refused = await visitor.post("ops_remove_cluster", f"{path}/remove", fields, name="one")
    assert refused.status_code == 409
    assert "it has tenants (1 active): acme" in said(refused)
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    for _ in range(2):  # a double click
        done = await visitor.post("ops_remove_cluster", f"{path}/remove", fields, name="one")
        assert (done.status_code, done.headers["Location"]) == (303, "/api/ops")
    assert caplog.text.count("cluster removed") == 1
    await visitor.get("show_ops_cluster", path, name="one", status=404)
    assert f"actor={LOCAL_ACTOR}" in caplog.text


@pytest.mark.parametrize("name", ACTIONS)
async def test_no_action_without_the_token_or_from_elsewhere(world: World, visitor: OpsVisitor, name: str) -> None:
    await world.active()
    good = {FORM_TOKEN: await visitor.form_token(), "key": "0" * 32, "slug": "acme", "dry_run": "yes", "enabled": "no"}
    where: dict[str, Any] = {"slug": "acme", "id": "sweep-2026-01-01", "name": "one"}
    for headers, fields in (
        ({**visitor.headers, **FROM_HERE}, {**good, FORM_TOKEN: ""}),
        ({**visitor.headers, **FROM_HERE}, {**good, FORM_TOKEN: "0.1.2"}),
        ({**visitor.headers, "Sec-Fetch-Site": "cross-site"}, good),
        ({**visitor.headers, "Sec-Fetch-Site": "same-site"}, good),
    ):
        response = await call(name, "/api/ops/x", form=fields, headers=headers, **where)
        assert response.status_code == 403, (name, fields)
    unsigned = await call(name, "/api/ops/x", form=good, headers=FROM_HERE, **where)
    assert unsigned.status_code == 401
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await world.worker.sweeps.is_enabled()
    assert (await world.cluster()).state is ClusterState.OPEN


@pytest.mark.parametrize("name", ACTIONS)
async def test_no_action_without_the_role(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENABLED, "True")
    world = await new_world(settings=ops_settings(SignIn.PLATFORM))
    answer(monkeypatch, world)
    await world.active()
    headers = {"X-MS-CLIENT-PRINCIPAL": principal("berth.reader"), **FROM_HERE}
    where: dict[str, Any] = {"slug": "acme", "id": "sweep-2026-01-01", "name": "one"}
    response = await call(name, "/api/ops/x", form={"key": "0" * 32}, headers=headers, **where)
    assert response.status_code == 403
    assert "Ask for the app role berth.operator" in said(response)


async def test_the_audit_names_the_user_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENABLED, "True")
    world = await new_world(settings=ops_settings(SignIn.PLATFORM))
    answer(monkeypatch, world)
    await world.active()
    person = "0b5f7f0e-1111-4222-8333-444455556666"
    headers = {"X-MS-CLIENT-PRINCIPAL": principal("berth.operator", object_id=person), "Berth-Actor": "somebody else"}
    visitor = OpsVisitor(headers)
    response = await send(visitor, "ops_sleep_tenant", "sleep", await form_of_tenant(visitor, "sleep"))
    assert response.status_code == 303
    assert await changes_by(world, person) == [(TenantState.HIBERNATING, "requested")]
    assert await changes_by(world, "somebody else") == []
