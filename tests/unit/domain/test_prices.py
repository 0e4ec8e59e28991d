"""Prices: which one holds, how an interval is split, and that costs add up to the last digit."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.prices import GLOBAL, LAST_DIGIT, Price, PriceBook, PriceId, Unit, total
from shared.errors import NotFound

MACHINE, DISK = PriceId("vm:Standard_D4as_v5:linux"), PriceId("disk:StandardSSD_LRS:E4")
START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONE = Decimal(1)


def price(amount: str = "0.208", since: datetime = START, until: datetime | None = None, **fields: Any) -> Price:
    usual: dict[str, Any] = {
        "id": MACHINE,
        "region": "westeurope",
        "currency": "USD",
        "unit": Unit.HOUR,
        "amount": Decimal(amount),
        "since": since,
        "until": until,
        "source": "list",
        "seen": START,
    }
    return Price(**(usual | fields))


def book(*prices: Price) -> PriceBook:
    return PriceBook("1", "USD", prices)


def amounts(held: PriceBook, start: datetime, end: datetime) -> list[tuple[datetime, datetime, str]]:
    return [(each.start, each.end, str(each.price.amount)) for each in held.between(MACHINE, "westeurope", start, end)]


def test_a_day_with_a_change_is_split_at_the_change() -> None:
    noon = START + 12 * HOUR
    held = book(price("1", until=noon), price("2", since=noon))
    assert amounts(held, START, START + DAY) == [(START, noon, "1"), (noon, START + DAY, "2")]
    assert held.cost(MACHINE, "westeurope", ONE, START, START + DAY) == 12 * 1 + 12 * 2
    assert held.at(MACHINE, "westeurope", noon).amount == 2
    assert held.at(MACHINE, "westeurope", noon - timedelta(microseconds=1)).amount == 1


def test_an_interval_within_a_period_is_one_part() -> None:
    held = book(price("1", until=START + DAY), price("2", since=START + DAY))
    assert amounts(held, START + HOUR, START + 2 * HOUR) == [(START + HOUR, START + 2 * HOUR, "1")]


def test_a_gap_is_an_error_only_if_it_is_asked_about() -> None:
    held = book(price("1", until=START + DAY), price("2", since=START + 2 * DAY))
    assert held.cost(MACHINE, "westeurope", ONE, START, START + DAY) == 24
    with pytest.raises(NotFound, match="no price of vm:Standard_D4as_v5:linux in westeurope at 2026-03-02T00:00:00"):
        held.cost(MACHINE, "westeurope", ONE, START + 23 * HOUR, START + 25 * HOUR)
    with pytest.raises(NotFound):
        held.at(MACHINE, "westeurope", START - HOUR)
    with pytest.raises(NotFound):
        held.at(MACHINE, "eastus", START)


def test_an_agreed_price_goes_before_the_list_while_it_holds() -> None:
    agreed = price("0.5", since=START + DAY, until=START + 2 * DAY, agreed=True)
    held = book(price("1"), agreed, price("2", since=START + DAY + 12 * HOUR))
    assert [each[2] for each in amounts(held, START, START + 3 * DAY)] == ["1", "0.5", "2"]


def test_a_price_that_was_found_later_counts_from_its_start() -> None:
    base = book(price("1"), price("9", since=START + 9 * DAY))
    held = base.with_stored([price("2", since=START + DAY), price("3", since=START + DAY)])
    assert [each[2] for each in amounts(held, START, START + 10 * DAY)] == ["1", "3", "9"]
    assert [each[2] for each in amounts(base, START, START + 10 * DAY)] == ["1", "9"]


def test_a_price_without_a_region_holds_where_there_is_none() -> None:
    held = book(price("1", region=GLOBAL), price("2", region="eastus"))
    assert held.at(MACHINE, "westeurope", START).amount == 1
    assert held.at(MACHINE, "eastus", START).amount == 2


def test_a_book_has_one_currency() -> None:
    with pytest.raises(ValueError, match="the book is in USD, but has prices in EUR"):
        book(price(), price(currency="EUR"))


def test_a_version_stands_for_the_prices_and_nothing_else() -> None:
    one, two = price("1"), price("2", id=DISK, unit=Unit.MONTH)
    version = book(one, two).version
    assert version.startswith("1-")
    assert book(two, replace(one, amount=Decimal("1.00"), source="elsewhere")).version == version
    changes: list[dict[str, Any]] = [
        {"amount": Decimal("1.000001")},
        {"since": START + HOUR},
        {"until": START + DAY},
        {"region": "eastus"},
        {"agreed": True},
        {"free": Decimal(5)},
    ]
    others = {book(replace(one, **each), two).version for each in changes}
    assert version not in others
    assert len(others) == len(changes)


def test_a_month_has_730_hours_or_30_days() -> None:
    assert price("0.1").a_month == Decimal("73.0")
    assert price("0.1666", unit=Unit.DAY).a_month == Decimal("4.9980")
    disk = price("2.40", id=DISK, unit=Unit.MONTH)
    assert disk.a_month == Decimal("2.40")
    assert disk.cost_of_time(ONE, START, START + 730 * HOUR) == Decimal("2.40")
    assert price("2.40", unit=Unit.DAY).cost_of_time(ONE, START, START + 10 * DAY) == 24
    assert price("0.06", unit=Unit.GB_MONTH).cost_of_time(Decimal("0.5"), START, START + 730 * HOUR) == Decimal("0.03")


@pytest.mark.parametrize(
    ("unit", "amount", "count", "cost"),
    [
        (Unit.TEN, "0.000004", "1000000", "0.4"),
        (Unit.TEN_THOUSAND, "0.00036", "1", "0.000000036"),
        (Unit.TEN_MILLION, "0.16", "105600000", "1.6896"),
        (Unit.GB, "2.99", "0.001", "0.00299"),
        (Unit.GB_SECOND, "0.000026", "100000", "2.6"),
    ],
)
def test_what_is_counted_costs_the_number(unit: Unit, amount: str, count: str, cost: str) -> None:
    counted = price(amount, unit=unit)
    assert counted.cost_of_number(Decimal(count)) == Decimal(cost)
    assert not counted.is_of_time
    with pytest.raises(ValueError, match="not by time"):
        counted.cost_of_time(ONE, START, START + HOUR)
    with pytest.raises(ValueError, match="not by time"):
        _ = counted.a_month


def test_what_is_held_has_no_cost_of_a_number() -> None:
    with pytest.raises(ValueError, match="not by number"):
        price().cost_of_number(ONE)
    with pytest.raises(ValueError, match="ends before it begins"):
        price().cost_of_time(ONE, START + HOUR, START)


MOMENTS = st.timedeltas(-90 * DAY, 900 * DAY).map(lambda each: START + each)
AMOUNTS = st.decimals("0.000001", "1000", places=9)
QUANTITIES = st.decimals("0", "100000", places=6)
UNITS = st.sampled_from([Unit.HOUR, Unit.DAY, Unit.MONTH, Unit.GB_MONTH])


@given(st.lists(MOMENTS, min_size=2, max_size=8), st.lists(st.tuples(MOMENTS, AMOUNTS), max_size=5), QUANTITIES, UNITS)
def test_parts_add_up_to_the_whole_to_the_last_digit(
    moments: Sequence[datetime], changes: Sequence[tuple[datetime, Decimal]], quantity: Decimal, unit: Unit
) -> None:
    first = price("0.1", since=datetime(2020, 1, 1, tzinfo=UTC), unit=unit)
    held = book(first, *(replace(first, since=since, amount=amount) for since, amount in changes))
    cuts = sorted(moments)
    whole = held.cost(MACHINE, "westeurope", quantity, cuts[0], cuts[-1])
    pieces = [held.cost(MACHINE, "westeurope", quantity, a, b) for a, b in pairwise(cuts)]
    assert total(pieces) == whole
    assert whole.as_tuple().exponent == LAST_DIGIT.as_tuple().exponent


@given(MOMENTS, MOMENTS, AMOUNTS, QUANTITIES, UNITS)
def test_a_cost_is_exact_but_for_the_last_digit(
    one: datetime, other: datetime, amount: Decimal, quantity: Decimal, unit: Unit
) -> None:
    start, end = sorted((one, other))
    hours = {Unit.HOUR: 1, Unit.DAY: 24, Unit.MONTH: 730, Unit.GB_MONTH: 730}[unit]
    seconds = Fraction((end - start) // timedelta(microseconds=1), 10**6)
    exact = Fraction(amount) * Fraction(quantity) * seconds / (hours * 3600)
    cost = price(str(amount), unit=unit).cost_of_time(quantity, start, end)
    assert abs(Fraction(cost) - exact) <= Fraction(LAST_DIGIT)


@given(st.lists(st.tuples(MOMENTS, MOMENTS, st.booleans()), min_size=1, max_size=8), MOMENTS, MOMENTS)
def test_each_part_has_the_price_of_its_start_to_its_end(
    periods: Sequence[tuple[datetime, datetime, bool]], one: datetime, other: datetime
) -> None:
    start, end = sorted((one, other))
    base = price("1", since=datetime(2020, 1, 1, tzinfo=UTC))
    held = book(
        base,
        *(
            price(str(number + 2), since=min(a, b), until=max(a, b), agreed=agreed)
            for number, (a, b, agreed) in enumerate(periods)
        ),
    )
    parts = held.between(MACHINE, "westeurope", start, end)
    assert [parts[0].start, *(each.end for each in parts)] == [*(each.start for each in parts), end]
    assert parts[0].start == start
    for each in parts:
        for moment in (each.start, each.start + (each.end - each.start) / 2):
            assert held.at(MACHINE, "westeurope", moment) is each.price
    assert all(a.price is not b.price for a, b in pairwise(parts))
