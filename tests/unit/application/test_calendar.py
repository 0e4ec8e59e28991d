"""The calendar and the clocks: leap days, ends of years, summer time, time zones, and workers whose clocks differ.

Everything is in UTC, so that no day is longer than another and no moment comes twice.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ValidationError

from functions.http import requests
from local.host.timers import next_time
from shared.adapters.tables.keys import due_end, due_key
from shared.domain.dormancy import MARGIN, Outcome, Signal, Window, decide
from shared.domain.policy import DormancyPolicy
from shared.domain.sweeps import SweepState, manual_id, nightly_id, sweep_id_of
from tests.support.builders import new_tenant
from tests.support.sweeping import DAY, MINUTE, new_fleet

POLICY = DormancyPolicy(idle_days=7, never_active_days=14)
MOMENTS = [
    datetime(2028, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
    datetime(2028, 3, 1, tzinfo=UTC),
    datetime(2027, 2, 28, 23, 59, 59, tzinfo=UTC),  # no leap year
    datetime(2100, 2, 28, 12, tzinfo=UTC),  # nor is this
    datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),  # right before clocks go forward in Europe
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 02:30 in Berlin, which comes twice
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2026, 3, 8, 10, tzinfo=UTC),  # clocks go forward in California
    datetime(2026, 11, 1, 9, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),  # more seconds than 32 bits hold
]
ZONES = ("Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Asia/Kathmandu")
moments = pytest.mark.parametrize("moment", MOMENTS, ids=[f"{each:%Y-%m-%dT%H:%M:%S}" for each in MOMENTS])
SMALL, LARGE = (0, 1, 60, 240, 299), (301, 3600, 86_400, 366 * 86_400)  # seconds that clocks may differ, and may not


def signed(seconds: tuple[int, ...]) -> list[int]:
    return sorted({sign * each for each in seconds for sign in (1, -1)})


def outcome(used: datetime, now: datetime, *, began: datetime | None = None) -> Outcome:
    """Return what is decided about a tenant that a source has watched all the time."""
    tenant = new_tenant().succeed(used - 90 * DAY, quarantine=DAY)
    tenant = replace(tenant, active_since=began or tenant.active_since, state_since=began or tenant.state_since)
    signal = Signal("gateway", used, Window(used - 120 * DAY, now), required=True)
    return decide(tenant, [signal], POLICY, now).outcome


@moments
def test_idle_days_are_days_of_24_hours(moment: datetime) -> None:
    end = moment + timedelta(hours=7 * 24) + MARGIN
    assert outcome(moment, end - timedelta(microseconds=1)) is Outcome.KEEP
    assert outcome(moment, end) is Outcome.HIBERNATE


@moments
def test_a_young_instance_has_its_days(moment: datetime) -> None:
    used, end = moment - DAY, moment + timedelta(hours=14 * 24)
    assert outcome(used, end - timedelta(microseconds=1), began=moment) is Outcome.KEEP
    assert outcome(used, end, began=moment) is Outcome.HIBERNATE


@moments
def test_due_dates_sort_as_time_does(moment: datetime) -> None:
    at = [moment + number * MINUTE for number in range(-1500, 1500, 7)]
    keys = [due_key("acme", each) for each in at]
    assert keys == sorted(keys)
    assert due_key("zzz", moment) < due_end(moment) < due_key("0", moment + MINUTE)


@moments
@pytest.mark.parametrize("zone", ZONES)
def test_a_time_zone_changes_nothing(moment: datetime, zone: str) -> None:
    there = moment.astimezone(ZoneInfo(zone))
    assert due_key("acme", there) == due_key("acme", moment)
    assert due_end(there) == due_end(moment)
    assert nightly_id(there) == nightly_id(moment)
    assert outcome(there, there + 7 * DAY + MARGIN) is outcome(moment, moment + 7 * DAY + MARGIN)


@moments
def test_each_night_has_one_sweep(moment: datetime) -> None:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    nights = [midnight + number * DAY for number in range(-3, 4)]
    ids = [nightly_id(each) for each in nights]
    assert ids == sorted(set(ids))
    assert [nightly_id(each + DAY - timedelta(microseconds=1)) for each in nights] == ids
    assert all(sweep_id_of(each) == each for each in (*ids, manual_id(moment)))


@moments
def test_the_schedule_is_in_utc(moment: datetime) -> None:
    due = next_time("0 30 2 * * *", moment)
    following = [due]
    for _ in range(9):
        following.append(next_time("0 30 2 * * *", following[-1]))
    assert [each - due for each in following] == [number * DAY for number in range(10)]
    assert (due.hour, due.minute, due.utcoffset()) == (2, 30, timedelta(0))


@moments
async def test_a_sweep_over_midnight_is_joined(moment: datetime) -> None:
    fleet = await new_fleet(["acme"])
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    fleet.clock.step((midnight - fleet.clock.now()).total_seconds() - 0.5)
    await fleet.watch()
    await fleet.worker.sweeps.start_nightly(fleet.workflows)
    fleet.clock.advance(1)
    await fleet.worker.sweeps.start_nightly(fleet.workflows)
    assert set(fleet.workflows.sweeps) == {nightly_id(midnight - DAY)}
    fleet.clock.advance(60)
    assert (await fleet.run(await fleet.sweep(fleet.workflows.sweeps[0]))).state is SweepState.DONE


@pytest.mark.parametrize("seconds", signed(SMALL))
async def test_clocks_of_workers_may_differ_a_little(seconds: int) -> None:
    fleet = await new_fleet(["a", "b"], workers=2)
    await fleet.add("used", idle_days=7)  # by the margin it may sleep in 15 minutes
    fleet.workers[1].clock.ahead = timedelta(seconds=seconds)
    sweep = await fleet.run(await fleet.start(worker=0), worker=1)
    assert (sweep.state, sorted(fleet.begun)) == (SweepState.DONE, ["a", "b"])


@pytest.mark.parametrize("seconds", signed(LARGE))
@pytest.mark.parametrize("starts", [0, 1])
async def test_a_worker_with_another_time_sweeps_nobody(seconds: int, starts: int) -> None:
    fleet = await new_fleet(["acme"], workers=2)
    await fleet.add("used", idle_days=2)
    fleet.workers[1].clock.ahead = timedelta(seconds=seconds)
    sweep = await fleet.run(await fleet.start(worker=starts), worker=1)
    assert (sweep.state, fleet.begun) == (SweepState.REFUSED, [])


@pytest.mark.parametrize("seconds", signed(LARGE))
async def test_a_clock_that_jumps_between_calls_ends_it(seconds: int) -> None:
    fleet = await new_fleet(["a", "b", "c"], concurrency=1)
    await fleet.add("used", idle_days=2)
    sweep = await fleet.start()
    await fleet.worker.advance.run(sweep.id, fleet.workflows)
    begun = list(fleet.begun)
    fleet.worker.clock.ahead = timedelta(seconds=seconds)
    assert (await fleet.run(sweep)).state in (SweepState.REFUSED, SweepState.STOPPED)
    assert fleet.begun == begun


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (requests.ActivityReport, '{"at": "TIME"}'),
        (requests.ActivityBatch, '{"source": "gateway", "entries": [{"slug": "acme", "at": "TIME"}]}'),
        (
            requests.ActivityBatch,
            '{"source": "gateway", "watched": {"since": "TIME", "until": "2026-03-02T12:00:00Z"}}',
        ),
        (requests.PolicyOverride, '{"keep_awake_until": "TIME"}'),
    ],
)
@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "2026-03-01", "12:00", "2026-02-29T12:00:00Z"])
def test_a_time_without_a_zone_is_refused(model: type[BaseModel], body: str, text: str) -> None:
    with pytest.raises(ValidationError):
        model.model_validate_json(body.replace("TIME", text))
    model.model_validate_json(body.replace("TIME", "2026-03-01T12:00:00Z"))


def test_a_time_without_a_zone_is_never_compared() -> None:
    now = MOMENTS[0]
    with pytest.raises(TypeError):
        outcome(now, now.replace(tzinfo=None) + 8 * DAY)
    assert outcome(now, (now + 8 * DAY).astimezone(timezone(timedelta(hours=14)))) is Outcome.HIBERNATE
