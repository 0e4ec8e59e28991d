"""The prices in the table: only ever added, each change of a price once. Each test has a currency of its own."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from secrets import choice
from string import ascii_uppercase

import pytest

from shared.adapters.tables.prices import TABLE, TablePriceRepository
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.domain.prices import Price, PriceId, Unit
from shared.errors import Conflict

AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
def prices(storage: TableStorage) -> TablePriceRepository:
    return TablePriceRepository(storage)


def new_price() -> Price:
    currency = "".join(choice(ascii_uppercase) for _ in range(12))
    name = PriceId("flex:on-demand:executions")
    amount = Decimal("0.000004100000")
    return Price(name, "westeurope", currency, Unit.TEN, amount, AT, None, "the list", AT, free=Decimal(250000))


async def test_a_price_comes_back_as_it_was_added(prices: TablePriceRepository) -> None:
    price = new_price()
    assert await prices.all(price.currency) == []
    await prices.add(price, number=0)
    [found] = await prices.all(price.currency)
    assert found == price
    assert str(found.amount) == "0.000004100000"


async def test_changes_come_back_in_their_order(prices: TablePriceRepository) -> None:
    first = new_price()
    changes = [replace(first, since=AT - timedelta(days=each), amount=Decimal(each)) for each in range(11)]
    for number, each in enumerate(changes):
        await prices.add(each, number=number)
    other = replace(first, region="eastus")
    await prices.add(other, number=0)
    assert await prices.all(first.currency) == [other, *changes]


async def test_a_price_is_never_written_over(prices: TablePriceRepository) -> None:
    price = new_price()
    await prices.add(price, number=0)
    with pytest.raises(Conflict):
        await prices.add(replace(price, amount=Decimal(9)), number=0)
    assert await prices.all(price.currency) == [price]


async def test_of_two_at_once_one_conflicts(storage: TableStorage) -> None:
    price = new_price()
    workers = TablePriceRepository(storage), TablePriceRepository(storage)
    ended = await asyncio.gather(*(each.add(price, number=0) for each in workers), return_exceptions=True)
    assert [type(each) for each in ended if each is not None] == [Conflict]
    assert await workers[0].all(price.currency) == [price]


async def test_a_row_of_a_newer_version_is_skipped(prices: TablePriceRepository, storage: TableStorage) -> None:
    price = new_price()
    await prices.add(price, number=0)
    newer = {"PartitionKey": price.currency, "RowKey": "westeurope:new:000000", "schema_version": 999}
    await storage.transact(TABLE, [Upsert(newer)])
    assert await prices.all(price.currency) == [price]
