"""The demo's tenants, and the night of its sweep."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.demo.fleet import MIN_TENANTS, Fleet
from cli.demo.weeks import DEFAULT_SHARE, MAX_SHARE, WEEK, settings, sweep_night
from local.host.timers import next_time
from shared.settings import SweepSettings
from tests.support.builders import PLANS


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
