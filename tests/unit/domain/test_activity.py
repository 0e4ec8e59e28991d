"""What is recorded of reports: late ones never move a time back, and no gap is ever closed by a later report."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.activity import GAP_PERIOD, MAX_GAPS, RESOLUTION, TenantActivity, Watch, is_ahead
from shared.domain.dormancy import MARGIN, Window
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug
from tests.support.clock import START

MINUTE = timedelta(minutes=1)
NOTHING = TenantActivity(Slug("acme"), InstanceId("i"))


def window(since: int, until: int) -> Window:
    return Window(START + since * MINUTE, START + until * MINUTE)


def test_an_activity_is_news_after_five_minutes() -> None:
    assert NOTHING.is_news(START)
    seen = NOTHING.reported("heartbeat", START)
    assert [seen.is_news(START + late) for late in (-MINUTE, RESOLUTION - MINUTE, RESOLUTION)] == [False, False, True]


def test_an_activity_has_the_last_of_all_sources() -> None:
    seen = NOTHING.reported("one", START).reported("two", START + MINUTE).reported("one", START + 2 * MINUTE)
    assert (seen.last_at, seen.by_source["two"]) == (START + 2 * MINUTE, START + MINUTE)


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ((0, 10), (10, 20), (0, 20)),
        ((0, 10), (5, 20), (0, 20)),
        ((0, 10), (2, 8), (0, 10)),
        ((0, 10), (11, 20), (11, 20)),  # a gap
        ((20, 30), (0, 10), (20, 30)),  # late, of before a gap
        ((20, 30), (10, 20), (10, 30)),  # late, and it closes the gap
        ((0, 10), (0, 10), (0, 10)),
    ],
)
def test_only_windows_that_touch_are_one(
    earlier: tuple[int, int], later: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert Watch("gateway", "", window(*earlier)).followed_by(window(*later)).window == window(*expected)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=30))
def test_no_minute_is_vouched_for_that_nobody_watched(reports: list[tuple[int, int]]) -> None:
    watched = [range(since, since + length) for since, length in reports]
    (since, length), *others = reports
    watch = Watch("gateway", "", window(since, since + length))
    last = watch.window.until
    for since, length in others:
        watch = watch.followed_by(window(since, since + length))
        assert watch.window.until >= last
        last = watch.window.until
    first, end = ((moment - START) // MINUTE for moment in (watch.window.since, watch.window.until))
    assert all(any(minute in each for each in watched) for minute in range(first, end))


WEEK = 7 * 24 * 60
LONGEST = 30 * MINUTE


@pytest.mark.parametrize(("since", "is_forgiven"), [(WEEK + 15, True), (WEEK + 30, True), (WEEK + 31, False)])
def test_a_short_gap_is_forgiven(since: int, is_forgiven: bool) -> None:
    later = window(since, since + 5)
    watch = Watch("gateway", "", window(0, WEEK)).followed_by(later, LONGEST)
    assert watch.window == (window(0, since + 5) if is_forgiven else later)


def test_a_source_that_comes_and_goes_is_not_forgiven() -> None:
    watch = Watch("gateway", "", window(0, 52 * WEEK))
    for number in range(100):  # it is there for five minutes, and then blind for thirty
        begin = 52 * WEEK + 35 * number + 30
        watch = watch.followed_by(window(begin, begin + 5), LONGEST)
    assert watch.window.until - watch.window.since <= MAX_GAPS + 10 * 5 * MINUTE


@pytest.mark.parametrize("each_day", [1, 2])
def test_restarts_day_by_day_are_forgiven_for_a_year(each_day: int) -> None:
    watch, apart = Watch("gateway", "", window(0, 60)), WEEK // 7 // each_day
    for number in range(365 * each_day):
        watch = watch.followed_by(window(60 + apart * number + 10, 60 + apart * (number + 1)), LONGEST)
    assert watch.window.since == START
    assert len(watch.gaps) <= 7 * each_day


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 600)), min_size=1, max_size=200))
def test_of_no_week_more_is_forgiven_than_allowed(reports: list[tuple[int, int]]) -> None:
    watch, until, blind = Watch("gateway", "", window(0, 1)), 1, list[Window]()
    for gap, length in reports:
        blind.append(window(until, until + gap))
        until += gap + length
        watch = watch.followed_by(window(until - length, until), LONGEST)
    inside = [each for each in blind if watch.window.since <= each.since and each.until <= watch.window.until]
    assert all(each.until - each.since <= LONGEST for each in inside)
    for last in inside:
        week = [each for each in inside if last.until - GAP_PERIOD < each.until <= last.until]
        assert sum((each.until - each.since for each in week), timedelta(0)) <= MAX_GAPS


def test_a_clock_may_be_a_little_ahead() -> None:
    assert [is_ahead(START + late, START) for late in (-MINUTE, MARGIN, MARGIN + MINUTE)] == [False, False, True]
