"""How far the ledger is off the bill, by group and day, and by month."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.bill import COMPONENTS, BillGroup
from shared.domain.bill_error import TOTAL, Comparison, LedgerDay, UnsharedAsset, compare_days, compare_months
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component

ONE, TWO, NEXT = date(2026, 10, 30), date(2026, 10, 31), date(2026, 11, 1)


def amounts(**given: str) -> dict[BillGroup, Decimal]:
    return {BillGroup[name.upper()]: Decimal(amount) for name, amount in given.items()}


def costs(**given: str) -> dict[Component, Decimal]:
    return {Component[name.upper()]: Decimal(amount) for name, amount in given.items()}


def shown(found: list[Comparison]) -> list[tuple[str, str, str, str, str, int]]:
    return [
        (each.period, each.group, str(each.billed), str(each.ledger), str(each.percent), each.days) for each in found
    ]


def test_every_component_is_compared_with_one_group() -> None:
    compared = [component for components in COMPONENTS.values() for component in components]
    assert sorted(compared) == sorted(Component)


def test_nodes_are_what_runs_on_them_and_idle() -> None:
    idle = UnsharedAsset(ClusterName("weu-1"), Component.IDLE, Decimal("0.5"))
    ledger = LedgerDay(ONE, costs(compute="3", attach="1", idle="0.25", volume="0.9"), (idle,))
    bill = {ONE: amounts(nodes="5", volumes="1", unmatched="2", taxes="0.7")}
    found = compare_days(bill, {ONE: ledger})
    assert shown(found) == [
        ("2026-10-30", TOTAL, "6", "5.65", "-5.83", 1),
        ("2026-10-30", "nodes", "5", "4.75", "-5.00", 1),
        ("2026-10-30", "volumes", "1", "0.9", "-10.00", 1),
        ("2026-10-30", "unmatched", "2", "None", "None", 1),
        ("2026-10-30", "taxes", "0.7", "None", "None", 1),
    ]
    assert [each.difference for each in found] == [Decimal("-0.35"), Decimal("-0.25"), Decimal("-0.1"), None, None]


def test_a_day_that_the_ledger_lacks_is_not_compared() -> None:
    assert shown(compare_days({ONE: amounts(nodes="5")}, {})) == [
        ("2026-10-30", TOTAL, "5", "None", "None", 1),
        ("2026-10-30", "nodes", "5", "None", "None", 1),
    ]


def test_a_month_compares_the_days_that_both_have() -> None:
    bill = {NEXT: amounts(nodes="7"), ONE: amounts(nodes="5", taxes="1"), TWO: amounts(nodes="50", taxes="2")}
    found = compare_months(bill, {ONE: LedgerDay(ONE, costs(compute="6"))})
    assert shown(found) == [
        ("2026-10", TOTAL, "5", "6", "20.00", 1),
        ("2026-10", "nodes", "5", "6", "20.00", 1),
        ("2026-10", "taxes", "3", "None", "None", 2),
        ("2026-11", TOTAL, "7", "None", "None", 1),
        ("2026-11", "nodes", "7", "None", "None", 1),
    ]


def test_what_is_not_billed_has_no_percent() -> None:
    found = compare_days({ONE: amounts(volumes="0")}, {ONE: LedgerDay(ONE, costs(volume="2"))})
    assert shown(found) == [
        ("2026-10-30", TOTAL, "0", "2", "None", 1),
        ("2026-10-30", "volumes", "0", "2", "None", 1),
    ]


def test_the_percent_of_a_refund_has_the_sign_of_the_difference() -> None:
    [_, found] = compare_days({ONE: amounts(volumes="-2")}, {ONE: LedgerDay(ONE, costs(volume="1"))})
    assert (found.difference, found.percent) == (Decimal(3), Decimal("150.00"))


def test_the_percent_of_next_to_nothing_is_a_number() -> None:
    [_, found] = compare_days({ONE: amounts(volumes="1e-40")}, {ONE: LedgerDay(ONE, costs(volume="1e17"))})
    assert found.percent == Decimal("1e59")


DIGITS = st.builds("{}E{}".format, st.integers(-(10**17), 10**17), st.integers(-30, 0)).map(Decimal)


@given(
    st.dictionaries(st.dates(date(2026, 1, 1), date(2026, 3, 31)), st.dictionaries(st.sampled_from(BillGroup), DIGITS)),
    st.dictionaries(st.sampled_from(Component), DIGITS),
)
def test_days_add_up_to_months(bill: dict[date, dict[BillGroup, Decimal]], costs: dict[Component, Decimal]) -> None:
    ledger = {day: LedgerDay(day, costs) for day in bill}
    days, months = compare_days(bill, ledger), compare_months(bill, ledger)
    for month in months:
        parts = [each for each in days if each.period.startswith(month.period) and each.group == month.group]
        assert sum(Fraction(each.billed) for each in parts) == Fraction(month.billed)
        assert sum(Fraction(each.ledger or 0) for each in parts) == Fraction(month.ledger or 0)
