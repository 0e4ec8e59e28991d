"""Each part of a timer tells whether it was done, held up or broke off; only what nobody expects has a stack trace."""

import inspect
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from functions import timers
from shared.errors import BerthError, Permanent, Transient
from shared.settings import ActivitySettings
from shared.telemetry import metrics
from tests.support.builders import new_settings
from tests.support.recorded_telemetry import RecordedTelemetry, recorded_telemetry
from tests.support.registered import registered_functions
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer


@pytest.fixture
def told() -> Iterator[RecordedTelemetry]:
    with recorded_telemetry() as recorded:
        yield recorded


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = await new_world()
    monkeypatch.setattr(timers, "container", lambda: WorldContainer(made))
    return made


def parts(told: RecordedTelemetry) -> dict[str, str]:
    """Return how each part ended, each once."""
    found = [each for metric, _, each in told.measured if metric == metrics.TIMER_RUNS]
    assert len({each["part"] for each in found}) == len(found)
    return {each["part"]: each["outcome"] for each in found}


async def fire(name: str) -> None:
    """Fire a timer, without the task hub's client."""
    function: Any = inspect.unwrap(registered_functions()[name].get_user_function())
    await function(*(None for _ in inspect.signature(function).parameters))


async def test_what_is_done(world: World, told: RecordedTelemetry) -> None:
    for name in ("recover", "find_lost_instances", "reconcile", "poll_activity", "meter_costs", "roll_up_latency"):
        await fire(name)
    await fire("purge_old_records")
    await fire("sweep")
    found = parts(told)
    assert set(found.values()) == {"done"}
    assert {"checking the clusters", "slot repair", "recovery", "metering", "starting the sweep", "purging"} <= set(
        found
    )


async def test_what_is_held_up(world: World, told: RecordedTelemetry, caplog: pytest.LogCaptureFixture) -> None:
    world.worker.faults.away = lambda name: Transient("away") if name == "query tenants" else None
    await fire("recover")
    assert parts(told) == {"checking the clusters": "done", "reading the open operations": "held-up"}
    [line] = [each for each in caplog.records if each.getMessage().startswith("reading")]
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


@pytest.mark.parametrize(
    ("error", "has_trace"), [(Permanent("the rows are refused"), False), (RuntimeError("on purpose"), True)]
)
async def test_what_breaks_off(
    world: World, told: RecordedTelemetry, caplog: pytest.LogCaptureFixture, error: Exception, *, has_trace: bool
) -> None:
    def away(_: str) -> BerthError | None:
        raise error

    world.worker.faults.away = away
    await fire("roll_up_latency")
    assert parts(told) == {"rolling up latency": "broke-off"}
    [line] = [each for each in caplog.records if each.getMessage().startswith("rolling")]
    assert (line.levelno, bool(line.exc_info)) == (logging.ERROR, has_trace)


async def test_a_sweep_that_cannot_start_tonight(
    monkeypatch: pytest.MonkeyPatch, told: RecordedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    activity = ActivitySettings(required_sources="prometheus")
    world = await new_world(settings=new_settings().model_copy(update={"activity": activity}))
    monkeypatch.setattr(timers, "container", lambda: WorldContainer(world))
    monkeypatch.setattr(timers, "SWEEP_PAUSE", 0.0)
    world.worker.faults.away = lambda name: Transient("away") if "sweep" in name else None
    await fire("sweep")
    assert parts(told) == {"starting the sweep": "held-up"}
    lines = [
        each.getMessage().partition(" cause")[0].strip() for each in caplog.records if each.name == timers.__name__
    ]
    assert lines == ["sweep not started yet"] * 5 + ["no sweep tonight", "starting the sweep held up"]
