"""Transitions and uses: the log has no gaps, and no time is counted twice or missed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId
from shared.domain.uses import Span, Transition, Use, next_transition, spans
from tests.support.builders import PLANS

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONE, OTHER = InstanceId("one"), InstanceId("other")


def use(*, awake: bool = True, plan: str = "trial") -> Use:
    return Use(awake, ClusterName("one"), "westeurope", plan, "1.0.0", PLANS[plan].size)


def test_the_sizes_of_plans_are_numbers() -> None:
    size = PLANS["business"].size
    assert (size.cpu_millicores, size.memory_mib, size.volume_gib) == (2000, 4096, 128)
    assert PLANS["trial"].size.cpu_millicores == 250


def test_the_same_use_is_no_transition() -> None:
    first = next_transition(None, ONE, use(), START)
    assert first == Transition(ONE, 1, START, None, use())
    assert next_transition(first, ONE, use(), START + HOUR) is first
    assert next_transition(None, ONE, None, START) is None


def test_a_new_instance_counts_from_one() -> None:
    lost = next_transition(next_transition(None, ONE, use(), START), ONE, None, START + HOUR)
    assert lost == Transition(ONE, 2, START + HOUR, use(), None)
    assert next_transition(lost, OTHER, use(), START + 2 * HOUR) == Transition(OTHER, 1, START + 2 * HOUR, None, use())
    restored = next_transition(lost, ONE, use(), START + 2 * HOUR)
    assert restored == Transition(ONE, 3, START + 2 * HOUR, None, use())


def test_a_clock_that_was_set_back_moves_nothing_back() -> None:
    first = next_transition(None, ONE, use(), START)
    second = next_transition(first, ONE, use(awake=False), START - HOUR)
    assert second is not None
    assert second.at == START


uses = st.sampled_from([None, use(), use(awake=False), use(plan="standard")])
changes = st.lists(st.tuples(st.integers(-5, 30), uses), max_size=12)


@given(changes)
def test_a_log_goes_on_without_gaps(wanted: list[tuple[int, Use | None]]) -> None:
    log: list[Transition] = []
    for hour, each in wanted:
        last = log[-1] if log else None
        after = next_transition(last, ONE, each, START + hour * HOUR)
        if after is not last and after is not None:
            log.append(after)
    assert [each.sequence for each in log] == list(range(1, len(log) + 1))
    before = None
    for each in log:
        assert each.before == before != each.after
        before = each.after
    assert [each.at for each in log] == sorted(each.at for each in log)


@given(uses, changes)
def test_spans_cover_each_moment_once(opening: Use | None, wanted: list[tuple[int, Use | None]]) -> None:
    wanted.sort(key=lambda each: each[0])
    log = [Transition(ONE, 1, START + hour * HOUR, None, after) for hour, after in wanted]
    found = spans(opening, log, START, START + 24 * HOUR)
    for hour in range(24):
        moment = START + (hour + 0.5) * HOUR
        truth = opening
        for each in log:
            truth = each.after if each.at <= moment else truth
        covering = [each.use for each in found if each.start <= moment < each.end]
        assert covering == ([] if truth is None else [truth])
    assert all(each.start < each.end for each in found)
    assert all(one.end < two.start or one.use != two.use for one, two in pairwise(found))


def test_a_month_of_sleep_is_one_span() -> None:
    asleep = use(awake=False)
    assert spans(asleep, [], START, START + 24 * HOUR) == [Span(START, START + 24 * HOUR, asleep)]
