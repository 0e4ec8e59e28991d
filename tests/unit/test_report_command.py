"""`./berth report`: its tables, its JSON, and the page: valid, without network, with all charts, and escaped."""

import argparse
import json
import re
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import pytest

from cli.__main__ import main
from cli.amounts import money
from cli.api import Json
from cli.report import charts, figures, run
from cli.report.collect import Report
from cli.report.page import page
from cli.report.tables import decisions
from functions.http.sweep_responses import Sweep, SweepLinks
from shared.domain.latency import LatencyKind
from shared.domain.sweeps import SweepState
from tests.support.clock import START
from tests.support.html_page import Element, elements
from tests.support.reports import answer, past_world
from tests.support.world import World, new_world

CHARTS = ["per-customer", "cost", "awake", "latency-provision", "latency-hibernate", "latency-wake", "sweeps"]
NASTY = "<script>alert('$x$')</script>\"&"


def sweep(day: str, **fields: object) -> Json:
    """Return a sweep as the API does."""
    links = SweepLinks(self="/api/sweeps/s", decisions="/api/sweeps/s/decisions")
    names = ("to_do", "begun", "kept", "turned_round", "failed")
    counts = {"looked_at": 9, "keep": 5, "unknown": 1, "hibernate": 3, "hibernated": 2} | dict.fromkeys(names, 0)
    usual = {"state": SweepState.DONE, "reason": "", "dry_run": False, "actor": "timer", "saves": 26.84} | counts
    moments = {"started_at": START, "updated_at": START, "ended_at": START, "id": "s", "links": links}
    made = Sweep.model_validate(usual | moments | fields).model_dump(mode="json")
    return made | {"started_at": f"{day}T02:30:00.000Z"}


SWEEPS = [
    sweep("2026-03-03"),
    sweep("2026-03-02", dry_run=True),
    sweep("2026-03-01", hibernated=3),
    sweep("2026-01-01"),
]


@pytest.fixture(scope="module")
async def world() -> World:
    return await past_world()


async def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    assert await run.run(parser.parse_args(arguments)) == 0
    return capsys.readouterr().out


async def collected(capsys: pytest.CaptureFixture[str]) -> Report:
    return Report(**json.loads(await shown(capsys, "--json")))


@pytest.fixture
async def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World) -> Report:
    answer(monkeypatch, world, SWEEPS)
    return await collected(capsys)


def with_id(found: list[Element], name: str) -> Element:
    return next(each for each in found if each.attributes.get("id") == name)


def cells(found: list[Element], name: str) -> list[list[str]]:
    """Return the table of a chart."""
    rows = [each for each in with_id(found, name).children if each.tag == "tr"]
    return [[each.text for each in row.children if each.tag in ("th", "td")] for row in rows]


async def test_all_is_asked_for_the_same_days(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    sent = answer(monkeypatch, world, SWEEPS)
    report = await collected(capsys)
    days = {"from": "2026-02-08", "to": "2026-03-09"}  # 30 days
    assert sent[0] == ("reports/costs", {})
    asked = [(path, query.get("by")) for path, query in sent if days.items() <= query.items()]
    assert asked == [
        *(("reports/costs", "component"), ("reports/costs", "plan")),
        *(("reports/latency", None), ("reports/latency", "day")),
    ]
    assert [each["started_at"][:10] for each in report.sweeps] == ["2026-03-01", "2026-03-03"]
    assert report.by_day["first_day"] == report.latency["first_day"] == "2026-02-08"
    sent.clear()
    await shown(capsys, "--json", "--from", "2026-03-01", "--to", "2026-03-05")
    assert all(query["from"] == "2026-03-01" and query["to"] == "2026-03-05" for _, query in sent if query)


async def test_all_tables_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    answer(monkeypatch, world, SWEEPS)
    text = await shown(capsys)
    lines = [line.split() for line in text.splitlines()]
    for title in ("The fleet, in USD", "Costs by component, in USD", "Costs by plan, in USD", "The last sweep"):
        assert title in text.splitlines()
    assert ["one", "all", "2", "0"] in [line[:4] for line in lines]
    assert ["2026-03-03", "02:30", "done", "9", "5", "1", "2", "1", "26.84"] in lines
    assert ["hibernate", "1", "0"] in [line[:3] for line in lines]
    assert "the goal is 10.00, the former system cost 82.00" in text


async def test_the_page_has_each_chart_with_its_numbers(report: Report) -> None:
    found = elements(page(report))
    assert [each.attributes["id"] for each in found if each.tag == "figure"] == CHARTS
    for name in CHARTS:
        inside = with_id(found, name).children
        [svg] = [each for each in inside if each.tag == "svg"]
        assert len([each for each in svg.children if each.tag in ("path", "use")]) > 5, name
        assert re.search(r"\d", with_id(found, f"{name}-summary").text), name
        assert len(cells(found, name)) > 1, name
        assert next(each for each in inside if each.tag == "ul").children


async def test_the_page_says_what_the_reports_say(report: Report) -> None:
    found = elements(page(report))
    costs = cells(found, "cost")
    assert costs[0] == ["day", "compute", "volume", "attach", "idle", "overhead", "total", "without sleep"]
    digits = len(costs[1][1].partition(".")[2])
    for row, day in zip(costs[1:], report.by_day["items"], strict=True):
        assert (row[0], row[-2]) == (day["group"], money(Decimal(day["total"]), digits))
        assert row[-1] == money(Decimal(day["total"]) + Decimal(day["saved"]), digits)
    awake = {day: (float(up), float(down)) for day, up, down in cells(found, "awake")[1:]}
    assert awake["2026-03-04"] == (1.0, 1.0)
    assert awake["2026-03-09"] == (2.0, 0.0)  # the day is half over
    assert awake["2026-02-28"] == (1.0, 0.0)  # both were there for half of the day
    rates = cells(found, "per-customer")
    day = report.by_day["items"][2]
    a_month = Decimal(day["total"]) / (Decimal(day["awake_hours"]) + Decimal(day["asleep_hours"])) * 730
    assert rates[3][:2] == [day["group"], money(a_month)]
    assert rates[3][3:] == ["10.00", "82.00"]
    [line] = [each for each in report.latency_by_day["items"] if each["kind"] == "wake"]
    assert cells(found, "latency-wake")[1:] == [
        [line["group"], "1", *(f"{line[name]:.2f}" for name in ("p50", "p95", "p99"))]
    ]
    assert [row[2:7] for row in cells(found, "sweeps")[1:]] == [["9", "5", "1", "3", "0"], ["9", "5", "1", "2", "1"]]
    assert "Sweeps decided 18 times on a tenant, and put 5 to sleep" in with_id(found, "sweeps-summary").text


async def test_the_page_loads_nothing(report: Report) -> None:
    text = page(report)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    for each in elements(text):
        assert each.tag not in ("script", "link", "img", "iframe", "object", "embed", "image", "base", "form")
        assert "src" not in each.attributes
        assert each.attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in each.attributes)
    assert all(each.startswith("#") for each in re.findall(r"url\(([^)]*)\)", text))
    [policy] = [each for each in elements(text) if each.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "owner@example.com" not in text
    assert "@" not in re.sub(r"@media", "", text)


async def test_what_the_page_refers_to_is_there(report: Report) -> None:
    text = page(report)
    found = elements(text)
    ids = [each.attributes["id"] for each in found if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    refers = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    refers += [
        each.attributes[name]
        for each in found
        for name in ("aria-labelledby", "aria-describedby")
        if name in each.attributes
    ]
    assert len(refers) > len(CHARTS)
    assert set(refers) <= set(ids)


async def test_each_colour_is_for_light_and_dark(report: Report) -> None:
    text = page(report)
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    used = set(re.findall(r"var\(--(\w+)\)", text)) - {"font"}
    assert {"ink", "grid", *charts.SERIES} <= used
    for theme in (light, dark):
        assert used <= set(re.findall(r"--(\w+):", theme))
    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert not re.search(r"(fill|stroke): ?#", "".join(svgs))


async def test_the_same_report_is_the_same_page(report: Report) -> None:
    assert page(report) == page(report)


async def test_text_from_data_is_escaped(report: Report) -> None:
    fields = asdict(report)
    over = {"tenant": NASTY, "plan": NASTY, "month_to_date": "12", "reason": NASTY}
    fields["by_plan"] = report.by_plan | {"over_goal": [over], "unpriced": [NASTY], "currency": NASTY}
    fields["by_plan"]["items"] = [each | {"group": NASTY} for each in report.by_plan["items"]]
    fields["by_day"] = report.by_day | {"currency": NASTY}
    plan = {"plan": NASTY, "awake": 1, "asleep": 0, "run_rate": "1"}
    nodes = {"machine": NASTY, "count": 1, "spot": True}
    cluster = {"cluster": NASTY, "region": NASTY, "nodes": [nodes], "plans": [plan], "run_rate": "1"}
    fields["fleet"] = report.fleet | {"clusters": [cluster], "currency": NASTY}
    fields["sweeps"] = [sweep("2026-03-01", reason=NASTY, state="refused")]
    fields["latency"] = report.latency | {
        "items": [each | {"reasons": {NASTY: 1}} for each in report.latency["items"]],
    }
    text = page(Report(**fields))
    assert "<script" not in text
    found = elements(text)
    assert [each.tag for each in found if each.tag == "script"] == []
    assert sum(each.text.count(NASTY) for each in found if each.tag == "td") >= 8


async def test_an_empty_fleet_has_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer(monkeypatch, await new_world())
    assert "nothing is counted of them" in await shown(capsys)
    found = elements(page(await collected(capsys)))
    names = [each.attributes["id"] for each in found if each.tag == "figure"]
    assert names == ["per-customer", "cost", "awake", "latency", "sweeps"]
    assert [each for each in found if each.tag == "svg"] == []
    assert with_id(found, "sweeps-summary").text == "No sweep began in these days."
    assert with_id(found, "cost-summary").text == "Nothing is counted of these days."


async def test_the_page_is_written_where_it_was_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, world: World
) -> None:
    answer(monkeypatch, world, SWEEPS)
    file = tmp_path / "report.html"
    text = await shown(capsys, "--html", str(file))
    assert text.splitlines()[-1] == f"the page is {file}"
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_file_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for wrong in (tmp_path / "missing" / "report.html", tmp_path):
        with pytest.raises(SystemExit):
            main(["report", "--html", str(wrong)])
        assert "cannot be written" in capsys.readouterr().err


async def test_one_day_can_be_seen(report: Report) -> None:
    one = report.by_day | {"items": report.by_day["items"][:1]}
    shown = elements(figures.per_customer(one).chart)
    markers = [each for each in shown if each.tag == "use" and "clip-path" not in each.attributes.get("style", "")]
    assert len(markers) >= 3  # berth, and the others as dashes


def test_each_kind_of_latency_has_a_title() -> None:
    assert set(figures.KINDS) == set(LatencyKind)


def test_decisions_add_up() -> None:
    counted = decisions(sweep("2026-03-01"))
    assert counted == {"keep": 5, "unknown": 1, "hibernated": 2, "not done": 1}
    assert sum(counted.values()) == 9
