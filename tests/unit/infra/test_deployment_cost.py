"""What a deployment costs is computed from the prices, and stands in docs/deploy.md."""

import re
from decimal import Decimal

from cli.deployment_cost import FLEETS, PAGE, Fleet, counted, held, page, rows, timer_runs
from tests.support.bicep import INFRA


def test_the_table_is_up_to_date() -> None:
    text = PAGE.read_text()
    assert page(text) == text, "run: python -m cli.deployment_cost"


def test_a_node_more_for_each_so_many_awake() -> None:
    assert [fleet.nodes for fleet in FLEETS] == [1, 4, 40]  # 0, 47 and 470 awake, 12 disks each
    before, after = (dict(rows(Fleet(tenants, "Standard", 2, 1))) for tenants in (100, 102))
    name = next(each for each in before if each.startswith("nodes for tenants"))
    assert after[name] == before[name]  # 48 awake still have places
    more = dict(rows(Fleet(103, "Standard", 2, 1)))
    assert more[name] - before[name] == held("vm:Standard_D4as_v7:linux")


def test_what_is_free_is_not_charged() -> None:
    assert counted("logs:analytics", 5) == 0
    assert counted("logs:analytics", 7) == 2 * Decimal("2.99")


def test_timers_are_counted_as_they_are_set() -> None:
    # Two every minute, one every 5 minutes, three every hour, three every night.
    assert timer_runs() == (2 * 1440 + 288 + 3 * 24 + 3) * 30


def test_the_budget_says_nothing_while_there_is_no_tenant() -> None:
    [budget] = re.findall(r"param monthlyBudget int = (\d+)", (INFRA / "main.bicep").read_text())
    none, some, _ = (sum(amount for _, amount in rows(fleet)) for fleet in FLEETS)
    assert none < int(budget) * Decimal("0.8")  # of which the second e-mail tells
    assert int(budget) < some


def test_the_readme_says_what_the_table_says() -> None:
    none = sum((amount for _, amount in rows(FLEETS[0])), Decimal())
    assert f"With no tenant it costs about ${round(none, -1):.0f} a month" in (INFRA.parent / "README.md").read_text()
