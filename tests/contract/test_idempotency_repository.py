"""The repository of idempotency keys: a key is taken once, and again after it expired."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.tables.idempotency import TableIdempotencyRepository
from shared.adapters.tables.storage import TableStorage
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from tests.support.builders import new_slug
from tests.support.clock import START
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

HOUR = timedelta(hours=1)


@pytest.fixture
def keys(storage: TableStorage) -> TableIdempotencyRepository:
    return TableIdempotencyRepository(storage)


def claim(key: str = "", operation: str = "acme.1") -> Claim:
    return Claim(key or new_slug(), "print", OperationId(operation), START + HOUR)


async def test_a_key_stands_for_its_first_claim(keys: TableIdempotencyRepository) -> None:
    first = claim()
    assert await keys.claim(first, now=START) == first
    other = replace(first, operation_id=OperationId("acme.2"), fingerprint="other")
    assert await keys.claim(other, now=START) == first


async def test_of_many_claims_at_once_one_holds(storage: TableStorage) -> None:
    key = new_slug()
    workers = [TableIdempotencyRepository(storage) for _ in range(5)]
    held = await asyncio.gather(
        *(each.claim(claim(key, f"acme.{number}"), now=START) for number, each in enumerate(workers))
    )
    assert len({each.operation_id for each in held}) == 1


async def test_an_expired_key_can_be_claimed(keys: TableIdempotencyRepository) -> None:
    first = claim()
    await keys.claim(first, now=START)
    second = replace(first, operation_id=OperationId("acme.2"), expires_at=START + 3 * HOUR)
    assert await keys.claim(second, now=START + HOUR - timedelta(seconds=1)) == first
    assert await keys.claim(second, now=START + HOUR) == second
    assert await keys.claim(first, now=START + HOUR) == second


async def test_a_lost_response_holds_the_same_claim(faulty: FaultyTables, faults: Faults) -> None:
    faults.lose(1)
    first = claim()
    assert await TableIdempotencyRepository(faulty).claim(first, now=START) == first
    assert len(faults.calls) > 1


async def test_purging_deletes_just_what_expired(keys: TableIdempotencyRepository) -> None:
    await keys.purge(now=START + 9 * HOUR)
    old, new = claim(), replace(claim(), expires_at=START + 5 * HOUR)
    for each in (old, new):
        await keys.claim(each, now=START)
    assert await keys.purge(now=START + 2 * HOUR) == 1
    assert await keys.purge(now=START + 2 * HOUR) == 0
    assert await keys.claim(replace(new, fingerprint="x"), now=START) == new
