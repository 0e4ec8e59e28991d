"""The clock of the host and its task hub is moved: their timers fire as Azure's do after a pause."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import pytest

from local.clock import MovableClock, new_clock
from local.ports import Ports
from local.processes import Processes
from tests.integration.host.hosts import Host, sample_host


@dataclass
class Moved:
    host: Host
    clock: MovableClock

    def move(self, hour: int, minute: int, second: int = 0) -> None:
        """Move to the next time of the day that is that."""
        now = self.clock.now()
        to = datetime.combine(now, time(hour, minute, second), UTC)
        self.clock.move(to if to > now else to + timedelta(days=1))


@pytest.fixture
async def moved(processes: Processes, ports: Ports) -> AsyncIterator[Moved]:
    clock = new_clock(processes.directory / "moved-clock")
    async with sample_host(processes, ports, "moved", workers=1, settings=clock.environment) as host:
        yield Moved(host, clock)


async def test_a_timer_fires_in_time(moved: Moved) -> None:
    moved.move(2, 29, 59)
    await moved.host.noted("nightly False")
    moved.move(2, 39, 59)
    await moved.host.noted("unmonitored False")
    moved.move(2, 49, 59)
    await moved.host.noted("frequent False")


async def test_many_missed_times_are_made_up_for_once(moved: Moved) -> None:
    moved.move(12, 0)
    moved.clock.move(timedelta(days=8))
    await moved.host.noted("nightly True")
    moved.move(2, 29, 59)
    await moved.host.noted("nightly False")
    assert moved.host.count("nightly True") == 1


async def test_what_azure_does_not_monitor_is_not_made_up_for(moved: Moved) -> None:
    moved.move(2, 45)
    moved.clock.move(timedelta(days=8, minutes=30))
    await moved.host.noted("nightly True")
    moved.move(2, 39, 59)
    await moved.host.noted("unmonitored False")
    moved.move(2, 49, 59)
    await moved.host.noted("frequent False")
    assert not moved.host.count("unmonitored True")
    assert not moved.host.count("frequent True")


async def test_a_durable_timer_fires(moved: Moved) -> None:
    instance = await moved.host.start("asking", "wait")  # for 30 s
    moved.clock.move(timedelta(seconds=31))
    assert await moved.host.result(instance, seconds=10) == "COMPLETED nobody answered"
