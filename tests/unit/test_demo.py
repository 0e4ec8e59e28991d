"""The demo's tenants, the night of its sweep, and what has to be in the report at its end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.api import Json
from cli.demo.costs import TIMERS, compare
from cli.demo.fleet import MIN_TENANTS, Fleet
from cli.demo.report import Report
from cli.demo.weeks import DEFAULT_SHARE, MAX_SHARE, WEEK, settings, sweep_night
from local.host.timers import next_time
from local.stack import APP_SETTINGS
from shared.settings import SweepSettings
from tests.support.builders import PLANS, PRICES
from tests.support.registered import registered_functions


@given(st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants it so
def test_the_sweep_is_the_first_after_two_weeks(now: datetime) -> None:
    night = sweep_night(now)
    assert 2 * WEEK + timedelta(hours=1) <= night - now < 2 * WEEK + timedelta(hours=25)
    assert next_time(settings(night)["BERTH_SWEEP_SCHEDULE"], now) == night


def test_two_weeks_are_what_a_new_trial_has() -> None:
    policy = PLANS["trial"].dormancy
    assert timedelta(days=policy.never_active_days) == 2 * WEEK
    assert timedelta(days=policy.idle_days) == WEEK
    assert PLANS["standard"].dormancy.exempt
    assert SweepSettings(schedule="*").max_share == DEFAULT_SHARE


@pytest.mark.parametrize("count", [MIN_TENANTS, 6, 7, 25, 100, 1000])
def test_each_tenant_of_the_demo_has_one_part(count: int) -> None:
    fleet = Fleet(count)
    assert [*fleet.busy, fleet.paid, *fleet.idle, fleet.deleted] == fleet.slugs
    assert fleet.busy
    assert len(fleet.idle) >= 2
    weights = {name: plan.weight for name, plan in PLANS.items()}
    awake = weights["trial"] * (len(fleet.busy) + len(fleet.idle)) + weights["standard"]
    assert weights["trial"] * len(fleet.idle) <= MAX_SHARE * awake


def costs_of_the_demo() -> Json:
    """What is reported at the end of a demo of 25 tenants: 8 are used, 1 pays, 2 of 15 were woken."""
    ended = {"provision": 25, "hibernate": 15, "wake": 2, "delete": 1, "sweep": 1}
    return {
        "fleet": {"awake": 11, "asleep": 13},
        "by_plan": {"unpriced": []},
        "latency": {"items": [{"kind": kind, "succeeded": count} for kind, count in ended.items()]},
    }


def test_the_report_of_the_demo_is_compared() -> None:
    report = Report(costs=costs_of_the_demo())
    compare(report, Fleet(25))
    assert report.failures == []


@pytest.mark.parametrize(
    ("part", "wrong", "sentence"),
    [
        ("fleet", {"awake": 11, "asleep": 12}, "(11, 12) tenants are counted, not (11, 13)"),
        ("by_plan", {"unpriced": ["vm:x"]}, "there is no price for ['vm:x']"),
        ("latency", {"items": []}, "the report of latency has {}, not {'provision': 25"),
    ],
)
def test_a_report_that_is_wrong_fails_the_demo(part: str, wrong: Json, sentence: str) -> None:
    report = Report(costs=costs_of_the_demo() | {part: wrong})
    compare(report, Fleet(25))
    [failure] = report.failures
    assert failure.startswith(sentence)


def test_the_timers_of_the_report_are_there() -> None:
    assert set(TIMERS) <= set(registered_functions())


def test_the_stack_has_prices() -> None:
    assert APP_SETTINGS["BERTH_COSTS_PRICE_REGION"] in PRICES.book.regions
