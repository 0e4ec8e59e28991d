"""The ops pages are painted at once, however many tenants there are; `./berth bench pages` has their times."""

import sys
from collections.abc import Mapping

import pytest

from tests.bench.pages import SWEEPS, Paints, paints_beside

TENANTS = 10_000
ROUNDS, TRIES = 3, 3  # other tests slow the machine down, now one page and now another
MOST = 5  # times as long as a page that reads no tenant; reading all of them takes 50 times as long

pytestmark = pytest.mark.timeout(300)  # for what is too slow


def too_slow(paints: Paints) -> Mapping[str, float]:
    """Return the pages that usually take too long, in times of the page that reads no tenant."""
    usual = paints.usual
    return {path: each / usual[SWEEPS] for path, each in usual.items() if each > MOST * usual[SWEEPS]}


async def test_the_pages_are_painted_beside_10000_tenants() -> None:
    async with paints_beside(TENANTS) as paints:
        for _ in range(TRIES):
            await paints.measure(ROUNDS)
            if not too_slow(paints):
                break
        print(paints.took, file=sys.stderr)
        assert too_slow(paints) == {}
