"""The repository of idempotency keys: a key is taken once, and again after it expired, also across periods."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.tables.idempotency import MAX_TRIES, PERIOD_LIFETIMES, TableIdempotencyRepository
from shared.adapters.tables.storage import TableStorage
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from shared.errors import NotFound, Transient
from tests.support.builders import new_slug
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

LIFETIME = timedelta(hours=1)
EDGE = datetime(2026, 2, 28, 12, tzinfo=UTC)  # between two periods
LATER = EDGE + 2 * LIFETIME  # when the period before cannot matter any more
SECOND = timedelta(seconds=1)
STEPS = ["one period", "two periods"]


@pytest.fixture
def keys(storage: TableStorage) -> TableIdempotencyRepository:
    return repository(storage)


def repository(storage: TableStorage) -> TableIdempotencyRepository:
    return TableIdempotencyRepository(storage, lifetime=LIFETIME)


def claim(key: str = "", operation: str = "acme.1", fingerprint: str = "print") -> Claim:
    return Claim(key or new_slug(), fingerprint, OperationId(operation))


def test_the_edge_is_one() -> None:
    assert (EDGE - datetime(1970, 1, 1, tzinfo=UTC)) % (PERIOD_LIFETIMES * LIFETIME) == timedelta(0)


@pytest.mark.parametrize("now", [EDGE - LIFETIME, EDGE, LATER])
async def test_a_key_stands_for_its_first_claim(keys: TableIdempotencyRepository, now: datetime) -> None:
    first = claim()
    assert await keys.claim(first, now=now) == first
    assert await keys.claim(claim(first.key, "acme.2", "other"), now=now) == first


@pytest.mark.parametrize("moments", [(LATER, LATER), (EDGE - SECOND, EDGE)], ids=STEPS)
async def test_of_many_claims_at_once_one_holds(storage: TableStorage, moments: tuple[datetime, datetime]) -> None:
    key = new_slug()
    claims = [repository(storage).claim(claim(key, f"acme.{number}"), now=moments[number % 2]) for number in range(10)]
    assert len({held.operation_id for held in await asyncio.gather(*claims)}) == 1


@pytest.mark.parametrize("start", [LATER, EDGE - SECOND], ids=STEPS)
async def test_an_expired_key_can_be_claimed(keys: TableIdempotencyRepository, start: datetime) -> None:
    first = claim()
    second = claim(first.key, "acme.2")
    await keys.claim(first, now=start)
    assert await keys.claim(second, now=start + LIFETIME - SECOND) == first
    assert await keys.claim(second, now=start + LIFETIME) == second
    assert await keys.claim(first, now=start + LIFETIME) == second


async def test_a_claim_of_a_late_clock_finds_the_next_period(keys: TableIdempotencyRepository) -> None:
    first = claim()
    await keys.claim(first, now=EDGE)
    assert await keys.claim(claim(first.key, "acme.2"), now=EDGE - SECOND) == first


@pytest.mark.parametrize(("now", "lost"), [(LATER, 1), (EDGE, 1), (EDGE, 2), (EDGE, 3)])
async def test_a_lost_response_holds_the_same_claim(
    faulty: FaultyTables, faults: Faults, now: datetime, lost: int
) -> None:
    faults.lose(lost)
    first = claim()
    assert await repository(faulty).claim(first, now=now) == first
    assert await repository(faulty).claim(claim(first.key, "acme.2"), now=now) == first


async def test_a_claim_is_one_request_and_two_after_an_edge(faulty: FaultyTables, faults: Faults) -> None:
    keys = repository(faulty)
    for now, requests in ((LATER, 1), (EDGE + LIFETIME, 1), (EDGE + LIFETIME - SECOND, 2), (EDGE - SECOND, 1)):
        faults.reset()
        await keys.claim(claim(), now=now)
        assert faults.calls == ["transact idempotency"] * requests


@pytest.mark.parametrize("now", [LATER, EDGE])
async def test_claiming_in_a_table_that_vanishes_ends(faulty: FaultyTables, faults: Faults, now: datetime) -> None:
    faults.away = lambda _: NotFound("there is no such table")
    with pytest.raises(Transient, match="vanishes"):
        await repository(faulty).claim(claim(), now=now)
    assert len(faults.calls) == 2 * MAX_TRIES


@pytest.mark.parametrize("start", [LATER, EDGE - SECOND, EDGE], ids=[*STEPS, "after an edge"])
async def test_a_claim_is_found_until_it_expires(keys: TableIdempotencyRepository, start: datetime) -> None:
    first = claim()
    assert await keys.find(first.key, now=start) is None
    await keys.claim(first, now=start)
    for after in (timedelta(), SECOND, LIFETIME - SECOND):
        assert await keys.find(first.key, now=start + after) == first
    assert await keys.find(first.key, now=start - SECOND) == first  # by a clock that is behind
    assert await keys.find(first.key, now=start + LIFETIME) is None


@pytest.mark.parametrize("now", [LATER, EDGE])
async def test_finding_a_claim_writes_nothing(faulty: FaultyTables, faults: Faults, now: datetime) -> None:
    assert await repository(faulty).find(new_slug(), now=now) is None
    assert set(faults.calls) == {"get idempotency"}
