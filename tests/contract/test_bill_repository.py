"""The days of the bill in the table: a new import of a day replaces it. Each test has a currency of its own."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from secrets import choice
from string import ascii_uppercase

import pytest

from shared.adapters.tables.bills import TABLE, TableBillRepository
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.application.ports.bills import BilledDay
from shared.domain.bill import BillGroup

DAY, PERIOD = date(2026, 10, 31), date(2026, 10, 1)
SUMS = {BillGroup.NODES: Decimal("4.992000000000000000000000000001"), BillGroup.UNUSED: Decimal("-1E-7")}


@pytest.fixture
def bills(storage: TableStorage) -> TableBillRepository:
    return TableBillRepository(storage)


def new_day() -> BilledDay:
    currency = "".join(choice(ascii_uppercase) for _ in range(12))
    at = datetime(2026, 11, 2, 9, 30, 0, 123456, tzinfo=UTC)
    return BilledDay(DAY, PERIOD, currency, "FOCUS 1.0, EffectiveCost", at, SUMS)


def complete(day: BilledDay) -> BilledDay:
    """Return a day with all groups, as it comes back."""
    return replace(day, sums={group: day.sums.get(group, Decimal(0)) for group in BillGroup})


async def test_a_day_comes_back_as_it_was_written(bills: TableBillRepository) -> None:
    day = new_day()
    assert await bills.between(DAY, DAY, currency=day.currency) == []
    await bills.replace(day)
    [found] = await bills.between(DAY, DAY, currency=day.currency)
    assert found == complete(day)
    assert f"{found.sums[BillGroup.NODES]}" == "4.992000000000000000000000000001"


async def test_a_new_import_replaces_a_day(bills: TableBillRepository) -> None:
    day = new_day()
    await bills.replace(day)
    await bills.replace(day)
    assert await bills.between(DAY, DAY, currency=day.currency) == [complete(day)]
    later = replace(day, source="cost details, Cost", sums={BillGroup.VOLUMES: Decimal("0.3")})
    await bills.replace(later)
    assert await bills.between(DAY, DAY, currency=day.currency) == [complete(later)]


async def test_another_billing_period_is_apart(bills: TableBillRepository) -> None:
    day = new_day()
    late = replace(day, period=date(2026, 11, 1), sums={BillGroup.ADJUSTMENTS: Decimal("-0.3")})
    for each in (late, day):
        await bills.replace(each)
    assert await bills.between(DAY, DAY, currency=day.currency) == [complete(day), complete(late)]


async def test_a_range_has_its_first_and_last_day(bills: TableBillRepository) -> None:
    first = new_day()
    days = [replace(first, day=DAY + timedelta(days=each)) for each in range(-32, 33)]
    for each in reversed(days):
        await bills.replace(each)
    for start, end in ((0, 64), (1, 63), (32, 32), (31, 33), (10, 20)):
        found = await bills.between(days[start].day, days[end].day, currency=first.currency)
        assert [each.day for each in found] == [each.day for each in days[start : end + 1]]


async def test_another_currency_is_left_out(bills: TableBillRepository) -> None:
    one, two = new_day(), new_day()
    for each in (one, two):
        await bills.replace(each)
    assert await bills.between(DAY, DAY, currency=two.currency) == [complete(two)]


async def test_a_row_of_a_newer_version_is_skipped(bills: TableBillRepository, storage: TableStorage) -> None:
    day = new_day()
    await bills.replace(day)
    newer = {"PartitionKey": f"{day.currency}-2026-10", "RowKey": f"{DAY}:{PERIOD}:new", "schema_version": 999}
    await storage.transact(TABLE, [Upsert(newer)])
    assert await bills.between(DAY, DAY, currency=day.currency) == [complete(day)]
