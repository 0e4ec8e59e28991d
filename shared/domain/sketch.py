"""Quantiles of durations without keeping each one: DDSketch, whose error is relative and which can be merged.

A sketch counts values by bins whose limits grow by a constant factor, so that every value in a bin is within 1 % of its
middle. Sketches are merged by adding the counts of each bin: the result is that of one sketch of all values.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping

RELATIVE_ERROR = 0.01
"""How far a quantile is from the exact one at most, as a share of it."""
SMALLEST_SECONDS = 0.001
"""A shorter duration counts as none."""
ZERO_BIN = -(1 << 15)
"""The bin of those; no other has this number: a millisecond has -345, a hundred years have 1093."""

_MAPPING = LogarithmicMapping(RELATIVE_ERROR)

type Bins = Mapping[int, int]
"""The number of values in each bin that has any."""


def bins_of(values: Iterable[float]) -> Bins:
    """Return the bins of durations in seconds, in order."""
    counts = Counter(ZERO_BIN if value < SMALLEST_SECONDS else _MAPPING.key(value) for value in values)
    return dict(sorted(counts.items()))


class Sketch:
    """All durations whose bins were added."""

    def __init__(self) -> None:
        self._sketch = DDSketch(RELATIVE_ERROR)

    def add(self, bins: Bins) -> None:
        """Merge the bins of more durations."""
        for number, count in bins.items():
            self._sketch.add(0.0 if number == ZERO_BIN else _MAPPING.value(number), count)

    def quantile(self, share: float) -> float | None:
        """Return the shortest duration than which this share of all, from 0 to 1, took no longer; None without any.

        Of two durations, p95 is the longer one. DDSketch itself takes the shorter: it rounds down.
        """
        count = round(self._sketch.count)
        if count < 2:
            return self._sketch.get_quantile_value(share)
        place = max(math.ceil(share * count) - 1, 0)
        return self._sketch.get_quantile_value(min((place + 0.5) / (count - 1), 1.0))  # a half, against rounding errors
