"""The ops pages of tenants: the list, the search, and all that one tenant's page shows."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from urllib.parse import quote

import pytest

from functions.http.endpoint import ROUTES
from functions.http.pages.tenants import SHOWN
from shared.application.idempotent_start import Caller
from shared.application.ports.stored import Stored
from shared.application.tenant_overview import MAX_CHANGES
from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState
from shared.domain.reconciliation import Finding, FindingKind, first_seen
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.settings import ProvisioningSettings
from tests.support.builders import new_tenant
from tests.support.html_page import Element
from tests.support.ops_pages import OpsVisitor, answer, call, ops_settings
from tests.support.reports import past_world
from tests.support.world import World, new_world

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}"


async def shown(visitor: OpsVisitor, slug: str = "acme") -> list[Element]:
    return await visitor.get("show_ops_tenant", f"/api/ops/tenants/{slug}", slug=slug)


async def listed(visitor: OpsVisitor, query: str = "") -> list[str]:
    found = await visitor.get("show_ops_tenants", f"/api/ops/tenants{query}")
    links = [each.attributes.get("href", "") for each in found if each.tag == "a"]
    return [link.rpartition("/")[2] for link in links if link.startswith("/api/ops/tenants/")]


def says(found: list[Element], part: str) -> bool:
    """Whether the page has a text, whatever spaces there are between its cells."""
    text = next(each.text for each in found if each.tag == "main")
    return "".join(part.split()) in "".join(text.split())


def element(found: list[Element], **attributes: str) -> Element:
    return next(each for each in found if attributes.items() <= each.attributes.items())


async def save(world: World, *tenants: Tenant) -> None:
    for each in tenants:
        await world.worker.tenants.save(Stored(each))


async def test_the_list_is_filtered(world: World, visitor: OpsVisitor) -> None:
    await save(
        world,
        new_tenant("acme", state=TenantState.ACTIVE, region="r1"),
        new_tenant("acme-2", plan="business", cluster=ClusterName("one"), region="r2"),
        new_tenant("other", state=TenantState.FAILED, region="r1"),
    )
    assert sorted(await listed(visitor)) == ["acme", "acme-2", "other"]
    assert await listed(visitor, "?find=&state=failed&plan=&cluster=&region=") == ["other"]
    assert await listed(visitor, "?plan=business") == ["acme-2"]
    assert await listed(visitor, "?cluster=one") == ["acme-2"]
    assert sorted(await listed(visitor, "?region=r1")) == ["acme", "other"]
    assert sorted(await listed(visitor, "?find=ac")) == ["acme", "acme-2"]
    assert await listed(visitor, "?find=ac&region=r1") == ["acme"]
    assert await listed(visitor, "?state=x' or state ne '") == []


async def test_the_list_goes_on_with_the_same_filters(world: World, visitor: OpsVisitor) -> None:
    await save(world, *(new_tenant(f"acme-{number}") for number in range(SHOWN + 3)), new_tenant("other"))
    first = await visitor.get("show_ops_tenants", "/api/ops/tenants?find=acme&plan=trial")
    link = element(first, rel="next").attributes["href"]
    assert "find=acme" in link
    assert "plan=trial" in link
    rest = await listed(visitor, link.removeprefix("/api/ops/tenants"))
    assert len(rest) == 3
    assert set(rest).isdisjoint({each.text for each in first if each.tag == "a"})


@pytest.mark.parametrize(
    ("query", "kept"), [("?next=nonsense", ""), ("?find=acme&plan=trial&state=&next=%27", "?find=acme&plan=trial")]
)
async def test_a_foreign_token_of_the_list_leads_back(visitor: OpsVisitor, query: str, kept: str) -> None:
    found = await visitor.get("show_ops_tenants", f"/api/ops/tenants{query}", status=422)
    back = next(each for each in found if (each.tag, each.text) == ("a", "Back to the form")).attributes["href"]
    assert back == f"/api/ops/tenants{kept}"
    await visitor.get("show_ops_tenants", back)


async def test_a_name_leads_to_its_tenant(world: World, visitor: OpsVisitor) -> None:
    tenant = await world.active()
    await world.active("acme-2")
    names = ["acme", " ACME ", tenant.operation.id, tenant.instance, f"tenant-{tenant.instance}"]
    for name in names:
        path = f"/api/ops/tenants?find={name.replace(' ', '+')}"
        response = await call("show_ops_tenants", path, headers=visitor.headers)
        assert (response.status_code, response.headers["Location"]) == (303, "/api/ops/tenants/acme"), name


@pytest.mark.parametrize("name", [HOSTILE, "tenant-0000000000", "nobody.00000000000000000000", "Ünïcode", "a/b"])
async def test_a_name_of_nothing_is_told(visitor: OpsVisitor, name: str) -> None:
    found = await visitor.get("show_ops_tenants", f"/api/ops/tenants?find={quote(name)}")
    assert says(found, f"No tenant, operation or instance is found by {name.lower()}.")


async def test_a_tenant_has_all_that_is_known(world: World, visitor: OpsVisitor) -> None:
    tenant = await world.asleep()
    await world.worker.record_activity.record(tenant.slug, "heartbeat", world.clock.now())
    said = "the tenant acme sleeps, and has pods"
    finding = Finding(FindingKind.RUNNING, tenant.cluster, tenant.instance, said, tenant.slug)
    other = Finding(FindingKind.RUNNING, tenant.cluster, "x", "another one", Slug("other"))
    await world.worker.findings.save([first_seen(each, world.clock.now()) for each in (finding, other)])
    found = await shown(visitor)
    for part in (
        "acme hibernated",
        "asleep: it has no pod",
        "acme.one.example.com",
        f"tenant-{tenant.instance}",
        "because it is hibernated",
        said,
        "heartbeat",
        "stop: done in",
        "Hibernate succeeded",
        tenant.operation.id,
        "portal hibernate active hibernating requested",
        "portal provision none provisioning requested",
    ):
        assert says(found, part), part
    assert not says(found, "another one")


async def test_no_page_has_an_address_or_a_secret(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    for name, path in (
        ("show_ops_tenants", "/api/ops/tenants"),
        ("show_ops_tenant", "/api/ops/tenants/acme"),
        ("show_ops_tenant_audit", "/api/ops/tenants/acme/audit"),
        ("show_ops_tenant_costs", "/api/ops/tenants/acme/costs"),
        ("show_ops_sweeps", "/api/ops/sweeps"),
    ):
        page = (await call(name, path, headers=visitor.headers, slug="acme")).get_body().decode()
        assert "owner@example.com" not in page, name
        for secret in (world.settings.tenants.secret_seed, world.settings.ops.key):
            assert secret.get_secret_value() not in page, name


async def test_hostile_names_and_messages_stay_text(world: World, visitor: OpsVisitor) -> None:
    tenant = await world.active(display_name=HOSTILE)
    stored = await world.worker.tenants.get(tenant.slug)
    assert tenant.observed is not None
    observed = replace(tenant.observed, message=HOSTILE)
    operation = replace(tenant.operation, reason=HOSTILE, actor=HOSTILE)
    await world.worker.tenants.save(stored.with_value(replace(tenant, observed=observed, operation=operation)))
    for name, path in (("show_ops_tenants", "/api/ops/tenants"), ("show_ops_tenant", "/api/ops/tenants/acme")):
        found = await visitor.get(name, path, slug="acme")
        assert not [each for each in found if each.tag == "img"]
        assert HOSTILE in next(each.text for each in found if each.tag == "main")


async def test_a_running_operation_is_polled_until_it_ends(world: World, visitor: OpsVisitor) -> None:
    begun = await world.sign_up()
    found = await shown(visitor)
    polled = element(found, id="operation").attributes
    assert (polled["hx-get"], polled["hx-trigger"]) == ("/api/ops/tenants/acme/operation", "every 2s")
    assert says(found, "Cancel this provision")
    path, name = "/api/ops/tenants/acme/operation", "show_ops_tenant_operation"
    part = await visitor.get(name, path, slug="acme")
    assert "hx-get" in element(part, id="operation").attributes
    await world.run()
    ended = element(await visitor.get(name, path, slug="acme"), id="operation")
    assert "succeeded" in ended.text
    assert (ended.attributes["hx-trigger"], ended.attributes["hx-select"]) == ("load", "#tenant")
    assert says(await shown(visitor), begun.id)
    assert "hx-get" not in element(await shown(visitor), id="operation").attributes


async def test_a_place_in_the_queue_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    one_slot = {"provisioning": ProvisioningSettings(max_concurrent=1, wake_slots=0)}
    world = await new_world(settings=ops_settings().model_copy(update=one_slot))
    answer(monkeypatch, world)
    visitor = OpsVisitor()
    await visitor.sign_in(world)
    await world.sign_up("first")
    await world.sign_up("second")
    assert says(await shown(visitor, "second"), "Number 1 in the queue of one.")


async def test_what_sleeps_when_and_why(world: World, visitor: OpsVisitor) -> None:
    await world.active()
    found = await shown(visitor)
    assert says(found, "It may be put to sleep from")
    assert says(found, "because nobody has used it")
    assert says(found, f"Days without activity {world.worker.plans['trial'].dormancy.idle_days}")


async def test_earlier_changes_are_on_pages_of_their_own(world: World, visitor: OpsVisitor) -> None:
    tenant = await world.active()
    for number in range(MAX_CHANGES + 5):
        override = replace(tenant.policy, idle_days=1 + number)
        await world.worker.change_policy.change(tenant.slug, override, f"person {number}")
        world.clock.advance(1)
    found = await shown(visitor)
    link = element(found, rel="next").attributes["href"]
    assert says(found, "person 54")
    assert not says(found, "person 0 policy")
    rest = await visitor.get("show_ops_tenant_audit", link, slug="acme")
    assert says(rest, "person 0 policy")
    assert not says(rest, "person 54")


@pytest.mark.parametrize(
    "name", [name for name, route in ROUTES.items() if name.startswith("show_ops_tenant") and route.parameters]
)
async def test_a_tenant_that_is_not_there(visitor: OpsVisitor, name: str) -> None:
    await visitor.get(name, "/api/ops/tenants/nobody", status=404, slug="nobody")
    await visitor.get(name, "/api/ops/tenants/x", status=404, slug="x' or '")


async def test_a_deleted_tenant_is_shown_as_a_tombstone(world: World, visitor: OpsVisitor) -> None:
    await world.active(display_name="Acme Ltd")
    await world.worker.delete.delete(Slug("acme"), Caller("me"), world.workflows)
    await world.run()
    found = await shown(visitor)
    assert says(found, "acme deleted")
    assert not says(found, "Acme Ltd")
    assert says(found, "Slug is free from")
    assert not [each for each in found if each.tag == "details"]


async def test_what_a_tenant_cost_by_day_and_component(monkeypatch: pytest.MonkeyPatch) -> None:
    past = await past_world(ops_settings())
    answer(monkeypatch, past)
    visitor = OpsVisitor()
    await visitor.sign_in(past)
    found = await visitor.get("show_ops_tenant_costs", "/api/ops/tenants/acme/costs", slug="acme")
    figure = next(each for each in found if each.tag == "figure")
    assert "data-stacked" in figure.attributes
    columns = [each.text for each in figure.children if each.tag == "th" and "data-colour" in each.attributes]
    assert {"compute", "volume"} <= set(columns)
    rows = [[cell.text for cell in each.children] for each in figure.children if each.tag == "tr"][1:]
    lines = await past.worker.report_costs.of_tenant(Slug("acme"), date(2026, 2, 8), date(2026, 3, 9), by_month=False)
    assert [row[0] for row in rows] == [each.period for each in lines]
    for row, line in zip(rows, lines, strict=True):
        assert sum(map(Decimal, row[1:])) == pytest.approx(line.last.total, abs=Decimal("0.001"))
    in_march = sum((each.last.total for each in lines if each.period > "2026-03"), Decimal(0))
    assert says(found, f"This month so far {in_march:.2f} USD of the goal of 10.00")
    assert says(found, "a month, within the goal") or says(found, "a month, over the goal")
