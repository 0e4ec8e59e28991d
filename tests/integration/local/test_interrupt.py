"""A command that is interrupted prints one line, and leaves no process and no directory."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.polling import until

ROOT = Path(__file__).parents[3]


def stack_of(command: int) -> tuple[Path, list[psutil.Process]]:
    """Return the directory of the stack that a command runs, and all processes."""
    children = psutil.Process(command).children(recursive=True)
    [janitor] = [each for each in children if "local.janitor" in each.cmdline()]
    return Path(janitor.cmdline()[-1]), children


@pytest.mark.parametrize(("number", "phase"), [(signal.SIGINT, b"starting"), (signal.SIGTERM, b"signing up")])
async def test_an_interrupted_demo_prints_one_line(number: int, phase: bytes) -> None:
    arguments = ["-m", "cli", "demo", "--tenants", "5"]
    demo = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert demo.stdout is not None
    async with asyncio.timeout(60):
        while phase not in await demo.stdout.readline():
            pass

    async def started() -> bool:
        return len(psutil.Process(demo.pid).children()) > 2

    await until(started)
    directory, processes = stack_of(demo.pid)
    os.kill(demo.pid, number)
    async with asyncio.timeout(10):
        _, errors = await demo.communicate()
    assert (demo.returncode, errors) == (130, b"berth: interrupted\n")

    async def gone() -> bool:
        return not directory.exists() and not any(each.is_running() for each in processes)

    await until(gone)
