"""The refresh of the prices: what has changed is added from now on, and everything else stays as it is known.

The rows come from the stand-in of Azure's list through the real adapter; the tables are in memory.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shared.adapters.prices import load_prices
from shared.adapters.retail_prices import RetailPricesApi
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.prices import TablePriceRepository
from shared.application.price_books import PriceBooks
from shared.application.refresh_prices import MAX_FAILURES, RefreshPrices
from shared.domain.prices import Price, PriceBook, PriceId
from shared.domain.retail_prices import PriceDocument
from shared.errors import Transient
from shared.settings import PricesSettings
from tests.support.builders import PRICES
from tests.support.clock import START, FakeClock
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.memory_tables import MemoryTables
from tests.support.retail_prices import Item, RetailPricesStandIn, item, rows_of_one_machine

MACHINE, SMALL = PriceId("vm:Standard_D4as_v5:linux"), PriceId("vm:Standard_D2as_v5:linux")
LOGS = PriceId("logs:analytics")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DOCUMENT = """
edition: test
currency: USD
sources: {list: {what: the list, seen: 2026-01-01}}
prices:
  vm:Standard_D4as_v5:linux:
    unit: hour
    meter: {service: Virtual Machines, arm_sku: Standard_D4as_v5}
    regions:
      westeurope: [{amount: "0.208", from: 2026-01-01, source: list}]
  vm:Standard_D2as_v5:linux:
    unit: hour
    meter: {service: Virtual Machines, arm_sku: Standard_D2as_v5}
    regions:
      westeurope: [{amount: "0.104", from: 2026-01-01, source: list}]
  logs:analytics:
    unit: GB
    free: "5"
    meter: {service: Log Analytics, sku: Analytics Logs, name: Analytics Logs Data Ingestion, tier: "5"}
    regions:
      westeurope: [{amount: "2.99", from: 2026-01-01, source: list, verified: false}]
  nobody:lists:this:
    unit: hour
    regions:
      westeurope: [{amount: "1", from: 2026-01-01, source: list}]
"""


def logs(**fields: Any) -> Item:
    usual = {
        "serviceName": "Log Analytics",
        "productName": "Log Analytics",
        "skuName": "Analytics Logs",
        "meterName": "Analytics Logs Data Ingestion",
        "armSkuName": "",
        "unitOfMeasure": "1 GB",
        "tierMinimumUnits": 5.0,
        "retailPrice": 2.99,
    }
    return item(**(usual | fields))


def small(**fields: Any) -> Item:
    names = {"armSkuName": "Standard_D2as_v5", "skuName": "Standard_D2as_v5", "meterName": "D2as v5"}
    return item(**(names | {"retailPrice": 0.104} | fields))


@dataclass
class Fleet:
    """Several workers that refresh the prices of one storage account."""

    listed: RetailPricesStandIn
    document: PriceDocument
    api: RetailPricesApi
    storage: MemoryTables = field(default_factory=MemoryTables)
    clock: FakeClock = field(default_factory=FakeClock)
    settings: PricesSettings = field(default_factory=lambda: PricesSettings(schedule="0 0 4 * * *", refresh=True))

    def worker(self, tables: Any = None) -> RefreshPrices:
        return RefreshPrices(
            document=self.document,
            prices=TablePriceRepository(tables or self.storage),
            retail=self.api,
            clock=self.clock,
            settings=self.settings,
        )

    def show(self, *rows: Item, machine: float = 0.208, **fields: Any) -> None:
        """Let the list have these rows, and all rows of the machine with this price."""
        *others, linux = rows_of_one_machine()
        self.listed.items = [*others, linux | {"retailPrice": machine} | fields, *rows]

    async def book(self) -> PriceBook:
        return await PriceBooks(document=self.document, prices=TablePriceRepository(self.storage)).current()

    async def stored(self) -> list[Price]:
        return [*await TablePriceRepository(self.storage).all("USD")]

    async def amount(self, at: datetime, price: PriceId = MACHINE) -> str:
        return str((await self.book()).at(price, "westeurope", at).amount)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        listed = await stack.enter_async_context(
            RetailPricesStandIn([small(), logs(), logs(retailPrice=0, tierMinimumUnits=0.0)]).serving()
        )
        api = RetailPricesApi(listed.url, RetryPolicy(total_timeout=20, max_attempts=1))
        stack.push_async_callback(api.close)
        held = Fleet(listed, document_of(tmp_path, DOCUMENT), api)
        held.show(*listed.items)
        yield held


def document_of(directory: Path, text: str) -> PriceDocument:
    path = directory / "prices.yaml"
    path.write_text(text)
    return load_prices(path)


async def test_prices_that_have_not_changed_are_not_added(fleet: Fleet) -> None:
    await fleet.worker().run()
    assert await fleet.stored() == []
    assert (await fleet.book()).version == fleet.document.book.version
    assert len(fleet.listed.asked) == 3  # nobody asks for what is not listed


async def test_a_change_counts_from_when_it_was_seen(fleet: Fleet) -> None:
    fleet.show(small(), logs(), machine=0.215)
    await fleet.worker().run()
    [stored] = await fleet.stored()
    assert (stored.id, stored.region, stored.amount, stored.since) == (MACHINE, "westeurope", Decimal("0.215"), START)
    assert stored.source == "Azure Retail Prices API, meter b69c5dbc-6df2-5b78-8822-fb32b72f3d64"
    assert (stored.seen, stored.verified) == (START, True)
    assert [await fleet.amount(each) for each in (START - HOUR, START, START + DAY)] == ["0.208", "0.215", "0.215"]
    assert (await fleet.book()).version != fleet.document.book.version


async def test_the_second_time_nothing_is_added(fleet: Fleet) -> None:
    fleet.show(small(), logs(), machine=0.215)
    for _ in range(3):
        await fleet.worker().run()
        fleet.clock.advance(86400)
    assert len(await fleet.stored()) == 1


async def test_each_change_is_kept(fleet: Fleet) -> None:
    for machine in (0.215, 0.208, 0.22):
        fleet.show(small(), logs(), machine=machine)
        await fleet.worker().run()
        fleet.clock.advance(86400)
    days = [START - HOUR, *(START + each * DAY for each in range(3))]
    assert [await fleet.amount(each) for each in days] == ["0.208", "0.215", "0.208", "0.22"]
    whole = (await fleet.book()).cost(MACHINE, "westeurope", Decimal(1), START - HOUR, START + 3 * DAY)
    assert whole == Decimal("0.208") + 24 * (Decimal("0.215") + Decimal("0.208") + Decimal("0.22"))


async def test_an_announced_change_counts_from_its_start(fleet: Fleet) -> None:
    starts = "2026-04-01T00:00:00Z"
    fleet.show(small(), logs(), item(retailPrice=0.25, effectiveStartDate=starts))
    for _ in range(2):
        await fleet.worker().run()
    april = datetime(2026, 4, 1, tzinfo=UTC)
    assert [await fleet.amount(each) for each in (START, april - HOUR, april)] == ["0.208", "0.208", "0.25"]
    fleet.show(small(), logs(), item(retailPrice=0.24, effectiveStartDate=starts))
    await fleet.worker().run()
    assert [await fleet.amount(each) for each in (april - HOUR, april)] == ["0.208", "0.24"]
    fleet.clock.advance((april - START + DAY).total_seconds())
    fleet.show(small(), logs(), machine=0.24, effectiveStartDate=starts)
    await fleet.worker().run()
    assert len(await fleet.stored()) == 2


async def test_a_change_and_the_announced_next_one_are_added(fleet: Fleet) -> None:
    next_one = item(retailPrice=0.25, effectiveStartDate="2026-04-01T00:00:00Z")
    fleet.show(small(), logs(), next_one, machine=0.215)
    await fleet.worker().run()
    april = datetime(2026, 4, 1, tzinfo=UTC)
    assert [await fleet.amount(each) for each in (START - HOUR, START, april)] == ["0.208", "0.215", "0.25"]


async def test_a_wild_change_is_refused(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    for machine in (1.0401, 0.0415, 0):
        fleet.show(small(), logs(), machine=machine)
        await fleet.worker().run()
    assert await fleet.stored() == []
    assert caplog.text.count("price not taken price=vm:Standard_D4as_v5:linux region=westeurope") == 3
    assert "1.0401 instead of 0.208 is not plausible" in caplog.text
    fleet.show(small(), logs(), machine=1.04)
    await fleet.worker().run()
    assert await fleet.amount(START) == "1.04"


async def test_a_price_that_is_not_listed_stays(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fleet.listed.items = [*rows_of_one_machine()[:-1], small(retailPrice=0.11), logs()]
    await fleet.worker().run()
    assert [each.id for each in await fleet.stored()] == [SMALL]
    assert "there is no such row" in caplog.text
    assert "prices refreshed read=2 changed=1 of=3" in caplog.text


async def test_the_step_beyond_the_free_one_is_taken(fleet: Fleet) -> None:
    fleet.show(small(), logs(retailPrice=0, tierMinimumUnits=0.0), logs(retailPrice=2.5))
    await fleet.worker().run()
    [stored] = await fleet.stored()
    assert (stored.id, stored.amount, stored.free) == (LOGS, Decimal("2.5"), Decimal(5))


async def test_what_fails_leaves_what_is_known(fleet: Fleet) -> None:
    fleet.show(small(retailPrice=0.11), logs(retailPrice=3), machine=0.215)
    fleet.listed.page_size = 4
    good = web.json_response({"Items": [logs(retailPrice=3)], "NextPageLink": None})
    fleet.listed.replies = [good, web.Response(status=500)]
    with pytest.raises(Transient, match="responds 500"):
        await fleet.worker().run()
    assert [each.id for each in await fleet.stored()] == [LOGS, MACHINE]
    await fleet.worker().run()
    assert {each.id for each in await fleet.stored()} == {LOGS, MACHINE, SMALL}


async def test_a_page_that_is_missing_is_no_price(fleet: Fleet) -> None:
    fleet.show(small(), logs(), machine=0.215)
    fleet.listed.page_size = 4
    first = {"Items": [item(retailPrice=0.3)], "NextPageLink": f"{fleet.listed.url}?$skip=4"}
    logs_page = {"Items": [logs()], "NextPageLink": None}
    fleet.listed.replies = [
        web.json_response(logs_page),
        web.json_response({"Items": [small()], "NextPageLink": None}),
        web.json_response(first),
        web.Response(status=429, headers={"Retry-After": "30"}),
    ]
    with pytest.raises(Transient, match="responds 429"):
        await fleet.worker().run()
    assert await fleet.stored() == []


async def test_a_list_that_is_away_is_not_asked_for_all(fleet: Fleet) -> None:
    fleet.document = PRICES
    fleet.listed.replies = [web.Response(status=503) for _ in range(99)]
    with pytest.raises(Transient):
        await fleet.worker().run()
    assert len(fleet.listed.asked) == MAX_FAILURES


async def test_two_workers_at_once_write_the_same(fleet: Fleet) -> None:
    fleet.show(small(retailPrice=0.11), logs(retailPrice=3), machine=0.215)
    await asyncio.gather(fleet.worker().run(), fleet.worker().run())
    stored = await fleet.stored()
    assert sorted(each.id for each in stored) == sorted([LOGS, MACHINE, SMALL])
    assert await fleet.amount(START) == "0.215"


async def test_a_write_whose_response_is_lost_is_done_once(fleet: Fleet) -> None:
    fleet.show(small(), logs(), machine=0.215)
    faults = Faults()
    faults.lose(2)
    await fleet.worker(FaultyTables(fleet.storage, faults)).run()
    assert faults.calls == ["query prices", "transact prices"]
    assert len(await fleet.stored()) == 1


async def test_an_agreed_price_stays_while_it_holds(fleet: Fleet, tmp_path: Path) -> None:
    agreed = """
agreed:
  vm:Standard_D4as_v5:linux:
    westeurope: [{amount: "0.15", from: 2026-01-01, until: 2026-03-15, source: list}]
"""
    fleet.document = document_of(tmp_path, DOCUMENT + agreed)
    fleet.show(small(), logs(), machine=0.215)
    await fleet.worker().run()
    ends = datetime(2026, 3, 15, tzinfo=UTC)
    assert [await fleet.amount(each) for each in (START, ends - HOUR, ends)] == ["0.15", "0.15", "0.215"]


async def test_a_price_that_has_ended_is_found_again(fleet: Fleet, tmp_path: Path) -> None:
    ended = DOCUMENT.replace('"0.208", from: 2026-01-01', '"0.208", from: 2026-01-01, until: 2026-02-01')
    fleet.document = document_of(tmp_path, ended)
    await fleet.worker().run()
    assert await fleet.amount(START) == "0.208"
    assert [each.since for each in await fleet.stored()] == [START]


async def test_a_price_that_begins_later_is_not_asked_for(fleet: Fleet, tmp_path: Path) -> None:
    later = DOCUMENT.replace('"0.208", from: 2026-01-01', '"0.208", from: 2026-06-01')
    fleet.document = document_of(tmp_path, later)
    fleet.show(small(), logs(), machine=0.215)
    await fleet.worker().run()
    assert await fleet.stored() == []
