"""Work of a worker that was killed or stopped: it is locked for a while, then another worker gets it."""

import os
import signal
import time
from collections.abc import AsyncIterator
from secrets import token_hex

import pytest

from local.ports import Ports
from local.processes import Processes
from tests.integration.host.hosts import Host, sample_host
from tests.support.polling import until

REDELIVERY = 2.0


@pytest.fixture(scope="module")
async def shared_host(processes: Processes, ports: Ports) -> AsyncIterator[Host]:
    async with sample_host(processes, ports, "patient", workers=2, redelivery=REDELIVERY) as held:
        yield held


@pytest.fixture
async def host(shared_host: Host) -> AsyncIterator[Host]:
    """The host with both workers running, before a test and after it."""

    async def both_run() -> bool:
        return len(shared_host.workers()) == 2

    await until(both_run)
    yield shared_host
    for process in shared_host.workers():
        os.kill(process, signal.SIGCONT)


async def the_process(host: Host, line: str) -> int:
    """Return the process that wrote a line, once it has."""

    async def written() -> bool:
        return bool(host.processes_of(line))

    await until(written)
    return host.processes_of(line)[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_worker_gets_the_work_late(host: Host, number: int) -> None:
    text = token_hex(4)
    instance = await host.start("holding", text)
    first = await the_process(host, f"hold {text}")
    os.kill(first, number)
    began = time.monotonic()
    assert await host.result(await host.start("chain", "x")) == "COMPLETED xabcd"  # other work goes on
    assert time.monotonic() - began < REDELIVERY
    assert host.processes_of(f"hold {text}") == [first]
    result = await host.result(instance)
    assert time.monotonic() - began >= REDELIVERY
    [_, second] = host.processes_of(f"hold {text}")
    assert second != first
    assert result == f"COMPLETED {second}"


async def test_a_late_completion_has_effects_but_does_not_count(host: Host) -> None:
    text = token_hex(4)
    instance = await host.start("holding", text)
    first = await the_process(host, f"hold {text}")
    os.kill(first, signal.SIGSTOP)
    result = await host.result(instance)
    os.kill(first, signal.SIGCONT)
    await host.noted(f"held {text} {first}")
    assert await host.result(await host.start("chain", "x")) == "COMPLETED xabcd"
    assert await host.result(instance) == result != f"COMPLETED {first}"
    assert host.count(f"append {text}") == 1


async def test_a_short_stop_costs_nothing(host: Host) -> None:
    text = token_hex(4)
    instance = await host.start("holding", text)
    first = await the_process(host, f"hold {text}")
    os.kill(first, signal.SIGSTOP)
    assert await host.result(await host.start("chain", "x")) == "COMPLETED xabcd"
    os.kill(first, signal.SIGCONT)
    assert await host.result(instance) == f"COMPLETED {first}"
    assert host.processes_of(f"hold {text}") == [first]


async def test_a_late_turn_repeats_its_activities_only(host: Host) -> None:
    text = token_hex(4)
    instance = await host.start("stopping", text)
    first = await the_process(host, f"stop {text}")
    assert await host.result(await host.start("chain", "x")) == "COMPLETED xabcd"

    for times in (1, 2):

        async def appended(times: int = times) -> bool:
            return host.count(f"append {text}") == times

        await until(appended)
        os.kill(first, signal.SIGCONT)
    await host.http.post(f"v1/raise/{instance}", content="yes")
    assert await host.result(instance) == "COMPLETED yes"
    assert host.count(f"append {text}") == 2
