"""Idempotency keys across the end of a period: any clocks, any order of the requests, any lost responses."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.tables.idempotency import PERIOD_LIFETIMES, TableIdempotencyRepository
from shared.adapters.tables.storage import Row, TableStorage, Write
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from tests.support.clock import START
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.instant_loop import run_instantly
from tests.support.memory_tables import MemoryTables

LIFETIME = timedelta(minutes=100)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EDGE = START - (START - EPOCH) % (PERIOD_LIFETIMES * LIFETIME)  # between two periods


@dataclass
class SlowTables:
    """One worker's way to the tables, with a pause before each request."""

    tables: TableStorage
    pauses: list[int]

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        await self._pause()
        return await self.tables.get(table, partition, row)

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        return await self.tables.written_at(table, partition, row)

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        await self._pause()
        return await self.tables.transact(table, writes)

    def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        return self.tables.query(table, where, parameters, page_size=page_size)

    async def _pause(self) -> None:
        if self.pauses:
            await asyncio.sleep(self.pauses.pop())


@dataclass
class Claiming:
    """One claim: its clock in minutes, its pauses, and which of its responses are lost."""

    minute: int
    pauses: list[int]
    lost: set[int]

    async def run(self, storage: MemoryTables, number: int, *, since: datetime) -> Claim:
        faults = Faults()
        for each in self.lost:
            faults.lose(each)
        tables = SlowTables(FaultyTables(storage, faults), list(self.pauses))
        keys = TableIdempotencyRepository(tables, lifetime=LIFETIME)
        claim = Claim("key", "print", OperationId(f"acme.{number}"))
        return await keys.claim(claim, now=since + timedelta(minutes=self.minute))


CLAIMING = st.builds(
    Claiming, st.integers(0, 99), st.lists(st.integers(0, 5), max_size=8), st.sets(st.integers(1, 8), max_size=3)
)


@given(st.lists(CLAIMING, min_size=2, max_size=6), st.integers(-120, 120), st.booleans())
def test_of_clocks_within_a_lifetime_one_claim_holds(claims: list[Claiming], offset: int, expired: bool) -> None:
    since = EDGE + timedelta(minutes=offset)

    async def work() -> None:
        storage = MemoryTables()
        if expired:  # a claim that has ended by then, in the same period or the one before
            earlier = TableIdempotencyRepository(storage, lifetime=LIFETIME)
            await earlier.claim(Claim("key", "print", OperationId("acme.earlier")), now=since - LIFETIME)
        found = await asyncio.gather(*(each.run(storage, number, since=since) for number, each in enumerate(claims)))
        assert len({each.operation_id for each in found}) == 1
        assert found[0].operation_id != "acme.earlier"

    run_instantly(work())


@given(st.lists(st.integers(0, 250), min_size=1, max_size=12), st.integers(-200, 200))
def test_a_key_is_known_for_its_lifetime_exactly(waits: list[int], offset: int) -> None:
    async def work() -> None:
        keys = TableIdempotencyRepository(MemoryTables(), lifetime=LIFETIME)
        now, holder, expires = EDGE + timedelta(minutes=offset), "", EPOCH
        for number, wait in enumerate(waits):
            now += timedelta(minutes=wait)
            if now >= expires:
                holder, expires = f"acme.{number}", now + LIFETIME
            held = await keys.claim(Claim("key", "print", OperationId(f"acme.{number}")), now=now)
            assert held.operation_id == holder

    run_instantly(work())


@pytest.mark.parametrize("hours", [0.01, 0.0123, 1, 24, 720])
def test_partitions_end_after_their_last_claim(hours: float) -> None:
    lifetime = timedelta(hours=hours)

    async def work() -> None:
        storage = MemoryTables()
        keys = TableIdempotencyRepository(storage, lifetime=lifetime)
        moments = [START + lifetime * number / 7 for number in range(100)]
        for number, now in enumerate(moments):
            await keys.claim(Claim(f"key-{number}", "print", OperationId("acme.1")), now=now)
        for (partition, _), (row, _) in storage.rows["idempotency"].items():
            end = datetime.strptime(partition[:-2], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
            if "expires_at" in row:
                assert row["expires_at"] - timedelta(seconds=1) <= end
                assert end <= row["expires_at"] + PERIOD_LIFETIMES * lifetime

    run_instantly(work())
