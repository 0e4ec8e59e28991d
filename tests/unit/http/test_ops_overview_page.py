"""The overview as a page: what it says, in words and in numbers, and what its charts are drawn from."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest

from functions.http.pages.clusters import MAX_FINDINGS
from functions.http.pages.figures import cost_figure, latency_figure
from shared.domain.clusters import ClusterName
from shared.domain.cost_report import CostLine
from shared.domain.latency import LatencyKind
from shared.domain.reconciliation import Finding, FindingKind, first_seen
from shared.domain.slugs import Slug
from shared.errors import Unreachable
from tests.support.builders import new_cluster
from tests.support.html_page import Element
from tests.support.ops_pages import OpsVisitor, answer, ops_settings
from tests.support.reports import DAY, keep_records, past_world
from tests.support.sweeping import ACTIVITY
from tests.support.world import World, new_world

ONE = ClusterName("one")
HOSTILE = "<img src=x onerror=alert(1)>"
PARTS = ("attention", "running", "trends", "last-sweeps")
GOAL, FORMER = Decimal(10), Decimal(82)


async def opened(monkeypatch: pytest.MonkeyPatch, world: World) -> OpsVisitor:
    """Return somebody who is signed in to the pages of a world."""
    answer(monkeypatch, world)
    visitor = OpsVisitor()
    await visitor.sign_in(world)
    return visitor


def part(found: list[Element], heading: str) -> str:
    """Return the text of the section with a heading."""
    for each in found:
        if each.tag == "section" and any(child.tag == "h2" and child.text == heading for child in each.children):
            return " ".join(each.text.split())
    raise AssertionError(f"there is no section {heading}")


def text_of(found: list[Element]) -> str:
    """Return the text of a part of a page."""
    return " ".join(" ".join(each.text for each in found if each.tag in ("p", "li", "tr")).split())


def links(found: list[Element]) -> set[str]:
    return {each.attributes["href"] for each in found if each.tag == "a"}


async def test_a_new_berth_has_nothing_to_attend_to(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    visitor = await opened(monkeypatch, world)
    assert "not looked at yet" in text_of(await visitor.get("show_ops_attention", "/api/ops/attention"))
    assert "Not looked at yet" in part(
        await visitor.get("show_ops_cluster", "/api/ops/clusters/one", name="one"), "Findings"
    )
    await world.worker.reconciliation.run(world.workflows)
    assert text_of(await visitor.get("show_ops_attention", "/api/ops/attention")) == "Nothing."
    assert "matched the records at" in part(
        await visitor.get("show_ops_cluster", "/api/ops/clusters/one", name="one"), "Findings"
    )
    assert text_of(await visitor.get("show_ops_running", "/api/ops/running")) == "None."
    assert "No sweep has begun yet" in text_of(await visitor.get("show_ops_last_sweeps", "/api/ops/last-sweeps"))
    found = await visitor.get("show_ops_overview", "/api/ops")
    assert part(found, "Clusters").split(" one local ")[1].startswith("0 of 10 0, no limit 0 of 64 00 0 0 0")


async def test_a_cluster_shows_its_own_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings(), clusters=[new_cluster(), new_cluster("two")])
    visitor = await opened(monkeypatch, world)
    many = [Finding(FindingKind.ORPHAN, ONE, f"i{each}", "one too many") for each in range(MAX_FINDINGS + 1)]
    last = Finding(FindingKind.ORPHAN, ClusterName("two"), "i", "only here")
    await world.worker.findings.save([first_seen(each, world.clock.now()) for each in (*many, last)])
    shown = {
        name: part(await visitor.get("show_ops_cluster", f"/api/ops/clusters/{name}", name=name), "Findings")
        for name in ("one", "two")
    }
    assert (shown["one"].count("one too many"), "There are more findings" in shown["one"]) == (MAX_FINDINGS, True)
    assert ("only here" in shown["two"], "more" in shown["two"]) == (True, False)


async def test_what_runs_is_shown_with_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    visitor = await opened(monkeypatch, world)
    await world.sign_up("acme")
    world.clock.advance(3)
    found = await visitor.get("show_ops_running", "/api/ops/running")
    assert "acme provision on one portal, 3 s" in text_of(found)
    assert "place: running apply: pending start: pending" in text_of(found)
    assert links(found) == {"/api/ops/tenants/acme"}
    [bar] = [each for each in found if each.tag == "progress"]
    assert bar.attributes["aria-label"] == "provision of acme"


async def test_the_parts_of_the_page_are_no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = await opened(monkeypatch, await new_world(settings=ops_settings()))
    found = await visitor.get("show_ops_overview", "/api/ops")
    paths = [each.attributes["hx-get"] for each in found if "hx-get" in each.attributes]
    assert paths == [f"/api/ops/{name}" for name in PARTS]
    for name in PARTS:
        tags = {each.tag for each in await visitor.get(f"show_ops_{name.replace('-', '_')}", f"/api/ops/{name}")}
        assert not {"html", "head", "main", "nav"} & tags


async def test_attention_leads_to_what_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    visitor = await opened(monkeypatch, world)
    await world.sign_up("acme")
    world.clock.advance(world.settings.recovery.stuck_after)
    world.kubernetes[ONE].away = Unreachable("no route to host")
    for _ in range(2):
        await world.worker.breakers.check_all()
    finding = Finding(FindingKind.MISSING, ONE, "abc", HOSTILE, Slug("beta"))
    await world.worker.findings.save([first_seen(finding, world.clock.now())])
    await world.worker.sweeps.switch(enabled=False, actor="ann")
    found = await visitor.get("show_ops_attention", "/api/ops/attention")
    text = text_of(found)
    for said in ("stuck Provision of acme has made no progress", "no route to host", HOSTILE, "switched off"):
        assert said in text
    assert {"/api/ops/tenants/acme", "/api/ops/tenants/beta", "#cluster-one", "#sweeps"} <= links(found)
    assert not [each for each in found if each.tag == "img"]


async def test_customers_over_the_goal_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await past_world(ops_settings())
    await world.active("delta", plan="standard")
    world.clock.advance(5 * DAY)
    await keep_records(world)
    await world.worker.reconciliation.run(world.workflows)
    visitor = await opened(monkeypatch, world)
    text = text_of(await visitor.get("show_ops_attention", "/api/ops/attention"))
    both = "(over the budget of its plan, too)"
    said = re.sub(r" [\d.]+", "", text.partition("than the goal: ")[2])
    assert said == f"beta {both}, acme {both}, delta"
    assert "over the goal 3 customers have cost more this month" in text


async def test_states_are_those_of_the_last_count(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    visitor = await opened(monkeypatch, world)
    await world.active("acme")
    await world.asleep("beta")
    await world.worker.reconciliation.run(world.workflows)
    world.clock.advance(60)
    await world.active("gamma")
    found = await visitor.get("show_ops_overview", "/api/ops")
    values = [each.text.strip() for each in found if each.attributes.get("class") == "value"]
    assert values == ["1", "1", "0", "2"]  # and the present weight
    assert "/api/ops/tenants?state=hibernated" in links(found)
    note = next(each.text for each in found if each.attributes.get("class") == "note")
    assert "counted at 2026-02-28 12:00 UTC" in " ".join(note.split())


async def test_the_table_of_clusters_adds_up_to_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    visitor = await opened(monkeypatch, world)
    await world.active("acme")
    await world.worker.reconciliation.run(world.workflows)
    assert "without a cluster" not in part(await visitor.get("show_ops_overview", "/api/ops"), "Clusters")
    await world.cancel(await world.sign_up("beta"))
    await world.run()
    await world.worker.reconciliation.run(world.workflows)
    found = await visitor.get("show_ops_overview", "/api/ops")
    values = [each.text.strip() for each in found if each.attributes.get("class") == "value"][:3]
    table = next(each for each in found if each.tag == "table")
    rows = [[cell.text for cell in row.children if cell.tag == "td"] for row in table.children if row.tag == "tr"][1:]
    assert values == ["1", "0", "1"]
    assert [row[-3:] for row in rows] == [["1", "0", "0"], ["0", "0", "1"]]
    assert "without a cluster" in part(found, "Clusters")


async def test_a_sweep_is_shown_with_its_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings().model_copy(update={"activity": ACTIVITY}))
    visitor = await opened(monkeypatch, world)
    for slug in ("acme", "beta"):
        await world.active(slug)
    world.clock.advance(60)
    begun = await world.worker.sweeps.start(dry_run=False, actor=HOSTILE, workflows=world.workflows)
    while not (await world.worker.advance_sweep.run(begun.id, world.workflows)).ended:
        pass
    found = await visitor.get("show_ops_last_sweeps", "/api/ops/last-sweeps")
    assert "refused" in text_of(found)
    assert "prometheus has not watched for activity" in text_of(found)
    path = f"/api/ops/sweeps/{begun.id}"
    assert path in links(found)
    found = await visitor.get("show_ops_sweep", f"{path}?limit=1", id=begun.id)
    assert "nobody has used it" in part(found, "Decisions")
    [further] = [each for each in links(found) if "next=" in each]
    assert "/api/ops/tenants/acme" in links(found)
    rest = await visitor.get("show_ops_sweep", further, id=begun.id)
    assert ("/api/ops/tenants/beta" in links(rest), "/api/ops/tenants/acme" in links(rest)) == (True, False)
    none = await visitor.get("show_ops_sweep", f"{path}?outcome=hibernate", id=begun.id)
    assert part(none, "Decisions").endswith("None.")
    await visitor.get("show_ops_sweep", "/api/ops/sweeps/other", status=404, id="other")
    await visitor.get("show_ops_sweep", f"{path}?outcome=all", status=422, id=begun.id)


async def test_each_chart_is_drawn_from_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = await opened(monkeypatch, await past_world(ops_settings()))
    found = await visitor.get("show_ops_trends", "/api/ops/trends")
    figures = [each for each in found if each.tag == "figure"]
    assert [each.attributes["data-chart"] for each in figures] == ["cost", "provision", "wake"]
    ids = {each.attributes["id"] for each in found if "id" in each.attributes}
    for each in figures:
        assert {each.attributes["aria-labelledby"], each.attributes["aria-describedby"]} <= ids
        [canvas] = [child for child in each.children if child.tag == "canvas"]
        assert canvas.attributes["aria-hidden"] == "true"
        heads = [child for child in each.children if child.tag == "th" and "data-colour" in child.attributes]
        assert len(heads) == 3
        cells = [child.text for child in each.children if child.tag == "td"]
        assert all(text == "" or float(text.replace(",", "")) >= 0 for text in cells)
        assert any(cells)


async def test_the_figures_are_those_of_the_reports() -> None:
    trends = await (await past_world()).worker.ops_overview.trends()
    cost = cost_figure(trends, GOAL, FORMER, "USD")
    day, rate, without, goal = cost.rows[-1]
    line = trends.costs.lines[day]
    expected = line.total / (line.awake_hours + line.asleep_hours) * 730
    assert (rate, goal) == (f"{expected:,.2f}", "10.00")
    assert Decimal(without.replace(",", "")) >= Decimal(rate.replace(",", ""))
    assert f"a customer costs {rate} a month, over the goal of 10.00. The former system cost 82.00." in cost.summary
    latency = latency_figure(trends, LatencyKind.PROVISION)
    assert latency.summary.startswith("3 ended, 1 of them without success. Half took at most ")
    assert (len(latency.rows), latency.rows[-1]) == (14, ["2026-03-09", "", "", ""])
    numbers = next(row for row in latency.rows if row[0] == "2026-02-28")
    assert 0 < float(numbers[1]) <= float(numbers[2]) <= float(numbers[3])
    report = trends.costs.of_last.per_customer
    assert report is not None
    assert rate == f"{report:,.2f}"  # as the commands and the API have it
    early = replace(trends.costs, lines={"2026-03-10": CostLine(awake_hours=Decimal(2))})
    unknown = cost_figure(replace(trends, costs=early), GOAL, FORMER, "USD")
    assert (unknown.rows, unknown.summary[:25]) == ([], "Nothing is said of a day ")
    nothing = latency_figure(replace(trends, latency=(), latency_by_day=()), LatencyKind.WAKE)
    assert (nothing.rows, nothing.summary.startswith("None ended")) == ([], True)


async def test_a_chart_of_a_single_day_says_so() -> None:
    said = "So far one day is known, so there are points and no lines yet."
    trends = await (await past_world()).worker.ops_overview.trends()
    day, costs = next((day, line) for day, line in trends.costs.lines.items() if line.per_customer is not None)
    [first] = [line for line in trends.latency_by_day if line.kind is LatencyKind.PROVISION]
    several = replace(trends, latency_by_day=[first, replace(first, group="2026-03-01")])
    assert said not in cost_figure(several, GOAL, FORMER, "USD").summary
    assert said not in latency_figure(several, LatencyKind.PROVISION).summary
    one = replace(trends, costs=replace(trends.costs, lines={day: costs}), latency_by_day=[first])
    assert said in cost_figure(one, GOAL, FORMER, "USD").summary
    assert said in latency_figure(one, LatencyKind.PROVISION).summary
    failed = replace(first, seconds=replace(first.seconds, p50=None, p95=None, p99=None))
    nothing = latency_figure(replace(one, latency_by_day=[failed]), LatencyKind.PROVISION)
    assert nothing.rows == []  # where all have failed, there is nothing to draw
