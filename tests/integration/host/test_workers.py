"""The processes that run the app: work is spread over them, and their death costs no durable work."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import psutil
import pytest

from local.ports import Ports
from local.processes import Processes, StackError
from tests.integration.host.hosts import ROOT, Host, sample_host
from tests.support.polling import until

WORKERS = 2


@pytest.fixture(scope="module")
async def host(processes: Processes, ports: Ports) -> AsyncIterator[Host]:
    async with sample_host(processes, ports, "spread", workers=WORKERS) as held:
        yield held


async def serving(host: Host) -> Counter[int]:
    """Which processes response six requests, and how many each."""
    return Counter([int((await host.http.get("v1/process")).text) for _ in range(6)])


async def all_serve(host: Host) -> bool:
    return len(host.workers()) == len(await serving(host)) == WORKERS


async def test_requests_go_to_the_workers_in_turn(host: Host) -> None:
    await until(lambda: all_serve(host))
    assert await serving(host) == dict.fromkeys(host.workers(), 6 // WORKERS)


async def test_a_request_of_a_dead_worker_is_a_502(host: Host) -> None:
    before = set(host.workers())
    assert (await host.http.get("v1/die")).status_code == 502
    assert (await host.http.get("v1/process")).status_code == 200
    await until(lambda: all_serve(host))
    assert len(before & set(host.workers())) == WORKERS - 1


@pytest.mark.parametrize(
    ("orchestration", "responses"), [("dying", 1), ("calling_the_dying", 3), ("asking_the_dying", 1)]
)
async def test_work_of_a_dead_worker_is_delivered_again(host: Host, orchestration: str, responses: int) -> None:
    text = token_hex(4)
    instance = await host.start(orchestration, text)
    assert await host.result(instance) == f"COMPLETED {','.join([text] * responses)}"
    assert host.count(f"died {text}") == 1


async def test_work_waits_for_a_worker_while_there_is_none(host: Host) -> None:
    text = token_hex(4)
    instance = await host.start("slow", text)
    await host.noted(f"begin {text}")
    for pid in host.workers():
        os.kill(pid, signal.SIGKILL)
    assert await host.result(instance) == f"COMPLETED {text}"
    assert (host.count(f"begin {text}"), host.count(f"end {text}")) == (2, 1)
    await until(lambda: all_serve(host))


async def test_workers_end_with_their_host_though_one_stalls(host: Host) -> None:
    text = token_hex(4)
    stalled = asyncio.create_task(host.http.get(f"v1/stall/{text}"))
    await host.noted(f"stall {text}")
    workers = host.workers()
    os.kill(host.processes.pids()["spread-host"], signal.SIGKILL)  # alone, not its process group

    async def gone() -> bool:
        return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in workers)

    await until(gone)
    await asyncio.gather(stalled, return_exceptions=True)
    await host.processes.restart("spread-host")
    await until(lambda: all_serve(host))


async def test_an_app_that_azure_refuses_is_refused_here(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "function_app.py").write_text(
        "import azure.durable_functions as df\n"
        "app = df.DFApp()\n"
        "@app.activity_trigger(input_name='work')\n"
        "def apply(work: dict[str, str]) -> str: ...\n"
    )
    processes = Processes()
    command = [sys.executable, "-m", "local.host", "--app", str(tmp_path), "--port", "9", "--task-hub", "127.0.0.1:9"]

    async def never() -> bool:
        return False

    try:
        with pytest.raises(StackError, match="cannot load the apply function: binding work has invalid non-type"):
            await processes.start("refused", command, ready=never, environment={"PYTHONPATH": str(ROOT)})
    finally:
        await processes.close()
