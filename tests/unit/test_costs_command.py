"""`./berth costs`: what people read is what the reports say, and `--json` has all of it."""

import argparse
import json
from decimal import Decimal
from typing import Any

import pytest

from cli import costs
from cli.__main__ import main
from cli.amounts import digits_for, money
from cli.api import Json, ProblemError
from shared.domain.cost_components import Component
from shared.domain.cost_report import Grouping
from tests.support.reports import answer, past_world
from tests.support.world import World, new_world


@pytest.fixture(scope="module")
async def world() -> World:
    return await past_world()


async def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    parser.set_defaults(fail=parser.error)
    costs.add_arguments(parser)
    return await costs.run(parser.parse_args(arguments))


async def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert await run(*arguments) == 0
    return capsys.readouterr().out


async def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> Json:
    return json.loads(await shown(capsys, *arguments, "--json"))


def row(text: str, first: str) -> list[str]:
    """Return the words of the line that begins with a word."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


async def test_groups_are_lines_and_the_last_is_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    sent = answer(monkeypatch, world)
    report = await read(capsys, "--from", "2026-02-28")
    text = await shown(capsys, "--from", "2026-02-28")
    assert sent[0] == ("reports/costs", {"by": "plan", "from": "2026-02-28"})
    columns = ["plan", "total", "compute", "volume", "attach", "idle", "overhead", "saved"]
    assert row(text, "plan")[:8] == columns
    lines: list[Any] = [*report["items"], report | {"group": "all"}]
    for line, group in zip(lines, ("standard", "trial", "all"), strict=True):
        amounts = [f"{Decimal(line[name]):.2f}" for name in columns[1:]]
        hours = [f"{Decimal(line[name]):.1f}" for name in ("awake_hours", "asleep_hours")]
        assert row(text, group) == [group, *amounts, *hours]
    assert Decimal(row(text, "trial")[7]) > 0


async def test_the_footer_compares_with_the_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    answer(monkeypatch, world)
    report, text = await read(capsys), await shown(capsys)
    days = "2026-03-01 to 2026-03-09, in USD, to date"
    assert days in text
    rate = f"{Decimal(report['run_rate_per_customer']):.2f}"
    assert f"{rate} a month; the goal is 10.00, the former system cost 82.00" in text
    assert "2 in all: mean" in text
    assert "1 trial: mean" in text
    assert "2 in 2026-03 to date" in text
    assert "beta (standard)" in text
    assert text.count("is the largest part of its last day") == 2
    assert f"{money(Decimal(report['total']))}, of which no tenant bears 0.00" in text


@pytest.mark.parametrize("by", [each for each in Grouping if each is not Grouping.PLAN])
async def test_each_grouping_is_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World, by: str
) -> None:
    answer(monkeypatch, world)
    report = await read(capsys, "--by", by)
    text = await shown(capsys, "--by", by)
    for line in report["items"]:
        digits = len(row(text, "all")[1].partition(".")[2])
        assert row(text, line["group"])[1] == money(Decimal(line["total"]), digits)
    assert ("awake h" in text) is (by not in ("component", "state"))


async def test_a_component_is_shown_as_a_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    answer(monkeypatch, world)
    text = await shown(capsys, "--by", "component")
    shares = [Decimal(row(text, each)[2]) for each in ("compute", "volume", "attach", "idle", "overhead")]
    assert sum(shares) == pytest.approx(100, abs=Decimal("0.3"))
    assert row(text, "all")[2] == "100.0"


async def test_a_tenant_has_a_line_for_each_day_or_month(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    sent = answer(monkeypatch, world)
    text = await shown(capsys, "acme", "--from", "2026-02-28")
    assert sent == [("tenants/acme/costs", {"step": "day", "from": "2026-02-28"})]
    asleep = row(text, "2026-03-04")
    assert asleep[1:3] == ["trial", "one"]
    assert asleep[-3:-1] == ["0.0", "24.0"]
    assert len(asleep[3].partition(".")[2]) == 4  # a disk costs less than a cent on the first day
    assert row(text, "2026-03-09")[-2:] == ["not", "final"]
    report = await read(capsys, "acme", "--step", "month", "--from", "2026-02-01")
    text = await shown(capsys, "acme", "--step", "month", "--from", "2026-02-01")
    for line in report["items"]:
        assert row(text, line["period"])[3] == money(Decimal(line["total"]))
    total = sum((Decimal(each["total"]) for each in report["items"]), Decimal(0))
    assert f"acme, 2026-02-01 to 2026-03-09: {money(total)} USD; saved by sleep: " in text


async def test_nothing_counted_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    world = await new_world()
    await world.active("acme")
    answer(monkeypatch, world)
    assert "nothing is counted of them: costs are computed every hour" in await shown(capsys)
    text = (
        "acme, 2026-02-01 to 2026-02-28: nothing is counted. "
        "Costs are computed every hour, and of a tenant that is asleep when the day is over. On a stack of "
        "./berth up --clock, ./berth clock +1h lets an hour pass\n"
    )
    assert await shown(capsys, "acme") == text


async def test_a_tenant_that_is_unknown_is_no_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, await new_world())
    with pytest.raises(ProblemError, match="there is no tenant nosuch"):
        await run("nosuch")


async def test_what_has_no_price_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    world = await new_world()
    await world.active("acme")
    world.clock.advance(3600)
    await world.worker.metering.run()
    answer(monkeypatch, world)
    text = await shown(capsys)
    assert any(line.startswith("without a price") and "vm:Standard_D4as_v7:linux" in line for line in text.splitlines())
    assert "without a price and in no sum: " in await shown(capsys, "acme")


async def test_a_wrong_range_is_the_apis_problem(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    answer(monkeypatch, world)
    with pytest.raises(ProblemError, match="the first day, 2026-04-01, is after the last"):
        await run("--from", "2026-04-01")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["acme", "--by", "plan"], "--by goes without a tenant; of one tenant there is --step"),
        (["--step", "day"], "--step needs a tenant; of the fleet there is --by"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit):
        main(["costs", *arguments])
    assert sentence in capsys.readouterr().err


def test_the_command_knows_all_groups_and_components() -> None:
    assert (tuple(Grouping), tuple(Component)) == (costs.GROUPINGS, costs.COMPONENTS)


def test_less_than_a_cent_has_four_digits() -> None:
    assert digits_for([Decimal(0), Decimal("0.01"), Decimal(3)]) == 2
    assert digits_for([Decimal(3), Decimal("0.0099")]) == 4
    assert (money(Decimal("1234.5678")), money(Decimal("0.00125"), 4)) == ("1,234.57", "0.0012")
