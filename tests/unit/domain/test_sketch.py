"""Sketches: within 1 % of the exact quantiles, and the same whether all values or the parts' bins are taken."""

import math
from itertools import batched
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.sketch import RELATIVE_ERROR, SMALLEST_SECONDS, ZERO_BIN, Sketch, bins_of

SHARES = (0.0, 0.5, 0.95, 0.99, 1.0)
DURATIONS = st.lists(
    st.one_of(st.floats(0, 1e9), st.floats(0, 10), st.floats(0, 0.002), st.integers(0, 700).map(float), st.just(0.001)),
    min_size=1,
    max_size=300,
)


def quantiles(*parts: list[float]) -> list[float | None]:
    sketch = Sketch()
    for each in parts:
        sketch.add(bins_of(each))
    return [sketch.quantile(share) for share in SHARES]


@given(DURATIONS)
def test_quantiles_are_within_one_percent(values: list[float]) -> None:
    ordered = sorted(values)
    for share, found in zip(SHARES, quantiles(values), strict=True):
        exact = ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
        assert found is not None
        if exact < SMALLEST_SECONDS:
            assert found == 0
        else:
            assert abs(found - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)  # the rounding of floating point


@given(DURATIONS, st.integers(1, 50), st.randoms())
def test_merged_parts_are_as_all_at_once(values: list[float], size: int, random: Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    parts = [list(each) for each in batched(shuffled, size, strict=False)]
    assert quantiles(*parts) == quantiles(values)


@given(DURATIONS)
def test_bins_have_every_value_and_an_order(values: list[float]) -> None:
    bins = bins_of(values)
    assert sum(bins.values()) == len(values)
    assert list(bins) == sorted(bins)
    assert bins == bins_of(values[::-1])
    assert all(number == ZERO_BIN or -400 < number < 1100 for number in bins)


def test_p95_of_two_is_the_longer() -> None:
    assert quantiles([1.0, 5.0])[SHARES.index(0.95)] == pytest.approx(5.0, rel=RELATIVE_ERROR)


def test_there_is_no_quantile_of_nothing() -> None:
    assert Sketch().quantile(0.5) is None


@pytest.mark.parametrize("seconds", [0.0, 0.0009999])
def test_less_than_a_millisecond_is_none(seconds: float) -> None:
    assert bins_of([seconds]) == {ZERO_BIN: 1}
    assert quantiles([seconds]) == [0.0] * len(SHARES)
