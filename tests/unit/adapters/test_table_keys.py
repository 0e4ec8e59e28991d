"""Keys of the tables."""

from shared.adapters.tables.keys import shard
from shared.domain.slugs import Slug


def test_shards_are_spread_evenly() -> None:
    counts = [0] * 16
    for number in range(16_000):
        counts[int(shard(Slug(f"tenant{number}")), 16)] += 1
    assert min(counts) > 800
    assert max(counts) < 1200
