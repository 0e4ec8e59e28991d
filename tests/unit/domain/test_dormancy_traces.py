"""Thousands of simulated tenants, with everything that goes wrong with sources: no tenant in use is put to sleep.

A trace is 40 days. Its tenant is used now and then. A gateway counts its requests, and what was counted since the last
scrape is lost when the gateway restarts; scrapes stop for a while, for ever, or come from a clock that is wrong. A
second source reports most activities, late and out of order, and is recorded every 5 minutes at most. Only the check
knows the true activities.
"""

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.dormancy import MARGIN, Outcome, Signal, Window, decide
from shared.domain.policy import DormancyPolicy
from tests.support.builders import new_tenant
from tests.support.clock import START

TRACES = 10_000
DAYS = 40
MINUTES = DAYS * 24 * 60
SCRAPE = 10  # minutes between two queries of the source
FRESH = 30  # minutes
UNSEEN = FRESH + int(MARGIN.total_seconds() / 60)  # minutes for which an activity may be known to nobody yet
TENANT = new_tenant().succeed(START, quarantine=timedelta(0))


@dataclass
class Trace:
    """The truth about one tenant, in minutes, and what its sources lost."""

    activities: list[int]
    gaps: list[tuple[int, int]]
    skew: int

    def watched_since(self, now: int) -> int:
        """From when on the source has watched without a gap."""
        return max((end for _, end in self.gaps if end <= now), default=0)

    def watched_until(self, now: int) -> int:
        """The last query that worked."""
        for start, end in self.gaps:
            if start <= now < end:
                return start
        return now - now % SCRAPE

    def is_lost(self, activity: int) -> bool:
        """Whether the source never saw an activity."""
        return any(start <= activity < end for start, end in self.gaps)


def new_trace(choose: random.Random) -> Trace:
    """Return a tenant that is used in a few bursts, and a source with up to three faults."""
    activities = [
        start + choose.randrange(0, 600)
        for start in (choose.randrange(0, MINUTES) for _ in range(choose.choice((0, 1, 2, 4, 8))))
        for _ in range(choose.choice((1, 1, 30)))
    ]
    gaps: list[tuple[int, int]] = []
    for _ in range(choose.choice((0, 0, 1, 2, 3))):
        start = choose.randrange(0, MINUTES) // SCRAPE * SCRAPE
        length = choose.choice((SCRAPE, SCRAPE, 60, 24 * 60, 8 * 24 * 60, MINUTES))  # the first: a counter's reset
        if all(start + length < first or start > last for first, last in gaps):
            gaps.append((start, start + length))
    return Trace(sorted(activities), gaps, choose.choice((0, 0, -5, 5)))


def signals(trace: Trace, choose: random.Random, now: int) -> list[Signal]:
    """Return what the sources say at a moment, in their own times."""
    since, until = trace.watched_since(now), trace.watched_until(now)
    seen = [each for each in trace.activities[: bisect_left(trace.activities, until)] if not trace.is_lost(each)]

    def moment(minute: int) -> timedelta:
        return timedelta(minutes=minute + trace.skew)

    watched = Window(START + moment(since), START + moment(until))
    fresh = timedelta(minutes=FRESH)
    gateway = Signal("gateway", START + moment(seen[-1]) if seen else None, watched, fresh, required=True)
    reported = [each for each in trace.activities[: bisect_left(trace.activities, now)] if choose.random() < 0.8]
    recorded = [each // 5 * 5 for each in reported]
    late = choose.choice(recorded) if recorded else None  # a report that came late, and is all that is left
    return [gateway, Signal("heartbeat", START + timedelta(minutes=late) if late is not None else None)]


def test_of_ten_thousand_traces_none_is_put_to_sleep_in_use() -> None:
    choose = random.Random(7)
    slept = unknown = 0
    false: list[str] = []
    for number in range(TRACES):
        trace = new_trace(choose)
        policy = DormancyPolicy(idle_days=choose.choice((1, 3, 7)), never_active_days=choose.choice((2, 7, 14)))
        for now in range(24 * 60 + 17, MINUTES, choose.choice((24, 48, 72)) * 60):
            decision = decide(TENANT, signals(trace, choose, now), policy, START + timedelta(minutes=now))
            unknown += decision.outcome is Outcome.UNKNOWN
            if decision.outcome is not Outcome.HIBERNATE:
                continue
            slept += 1
            first, last = now - policy.idle_days * 24 * 60, now - UNSEEN
            if bisect_right(trace.activities, last) > bisect_right(trace.activities, first):
                false.append(f"trace {number} at minute {now}: {decision.reason}")
            break
    assert not false, false[:5]
    # Most tenants are idle at some time: the rule finds them.
    assert slept > TRACES / 2, slept
    assert unknown > TRACES / 10, unknown


def test_a_source_that_never_fails_finds_every_idle_tenant() -> None:
    policy = DormancyPolicy(idle_days=7, never_active_days=7)
    trace = Trace(activities=[60], gaps=[], skew=0)
    choose = random.Random(1)
    outcomes = [
        decide(TENANT, signals(trace, choose, day * 24 * 60), policy, START + timedelta(days=day)).outcome
        for day in range(1, DAYS)
    ]
    assert outcomes.count(Outcome.HIBERNATE) == DAYS - 1 - 7
