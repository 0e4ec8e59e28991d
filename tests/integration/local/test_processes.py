"""No process and no directory is left, whichever process is killed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from local.janitor import start_time
from local.ports import Ports, bind
from local.processes import Processes, StackError

ROOT = Path(__file__).parents[3]
SCHEDULES = ("BERTH_RECOVERY_SCHEDULE", "BERTH_SWEEP_SCHEDULE")  # which the host reads
SCRIPT = """
import asyncio
from local.processes import Processes
from local.signals import interrupt_on_signals

async def main():
    processes = Processes()
    async def ready(): return True
    for name in ("one", "two"):
        await processes.start(name, ["sleep", "600"], ready=ready)
    print(processes.directory, processes._janitor.pid, *processes.pids().values(), flush=True)
    try:
        await asyncio.sleep(600)
    finally:
        await processes.close()

interrupt_on_signals()
asyncio.run(main())
"""
AS_A_SCRIPT_DOES = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # with `&`: SIGINT is ignored from the start
SLEEPER = """
import os, pathlib, time

def test_sleep():
    pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
    time.sleep(600)
"""


async def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not, which a killed child of an ended parent may stay."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


async def gone(directory: str, pids: list[int]) -> bool:
    return not Path(directory).exists() and not any([await alive(pid) for pid in pids])


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("supervisor", signal.SIGKILL),
        ("supervisor", signal.SIGINT),
        ("supervisor", signal.SIGTERM),
        ("janitor", signal.SIGKILL),
        ("child", signal.SIGKILL),
    ],
)
async def test_no_process_or_directory_is_left(victim: str, number: int) -> None:
    supervisor = await asyncio.create_subprocess_exec(
        *AS_A_SCRIPT_DOES,
        sys.executable,
        "-c",
        SCRIPT,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert supervisor.stdout is not None
    directory, janitor, *children = (await supervisor.stdout.readline()).decode().split()
    assert Path(directory).exists()
    os.kill({"supervisor": supervisor.pid, "janitor": int(janitor), "child": int(children[0])}[victim], number)
    if victim != "supervisor":
        supervisor.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        await supervisor.wait()
        while not await gone(directory, [int(janitor), *map(int, children)]):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_command_in_a_script_can_be_stopped(tmp_path: Path, number: int) -> None:
    (tmp_path / "test_sleep.py").write_text(SLEEPER)
    started = tmp_path / "pid"
    arguments = ["-m", "cli", "test", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    command = await asyncio.create_subprocess_exec(
        *AS_A_SCRIPT_DOES, sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        while not (started.exists() and started.read_text()):
            await asyncio.sleep(0.05)
    command.send_signal(number)
    async with asyncio.timeout(10):
        assert await command.wait() == 130
        while await alive(int(started.read_text())):
            await asyncio.sleep(0.05)


async def test_a_process_that_ends_early_shows_its_log() -> None:
    processes = Processes()

    async def never_ready() -> bool:
        return False

    try:
        with pytest.raises(StackError) as ended:
            await processes.start("liar", ["sh", "-c", "echo echoed words; exit 3"], ready=never_ready)
        assert str(ended.value) == (
            "liar ended with code 3: remove the cause that its log names, and start it again. "
            "The last lines of its log:\n    echoed words"
        )
        assert processes.dead() == ["liar"]
        with pytest.raises(StackError, match=r"^late was not ready within 0.2 s: start it again when the machine is"):
            await processes.start("late", ["sleep", "600"], ready=never_ready, seconds=0.2)
    finally:
        await processes.close()
    assert not processes.directory.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["local.host", "--app", str(ROOT), "--task-hub", "127.0.0.1:9", "--port", "PORT"],
        [
            *("local.gateway", "--kubeconfig", "none", "--certificate", "none", "--key", "none", "--https-port", "0"),
            *("--http-port", "0", "--metrics-port", "PORT", "--name", "tenants", "--namespace", "gateway"),
        ],
    ],
    ids=["host", "gateway"],
)
async def test_a_taken_port_is_named_with_what_to_do(command: list[str]) -> None:
    processes, ports = Processes(), Ports()

    async def never_ready() -> bool:
        return False

    try:
        with bind(ports.take()) as taken:
            taken.listen()
            port = str(taken.getsockname()[1])
            arguments = [port if each == "PORT" else each for each in command]
            environment = {"PYTHONPATH": str(ROOT)} | dict.fromkeys(SCHEDULES, "0 0 0 1 1 *")
            with pytest.raises(StackError) as failed:
                await processes.start(
                    "part", [sys.executable, "-m", *arguments], ready=never_ready, environment=environment
                )
        first, *log = str(failed.value).splitlines()
        text = f"port {port} is used by another program: end that program, or choose another port"
        assert first == f"part ended: {text}. The last lines of its log:"
        assert log == [f"    error: {text}"]
    finally:
        await processes.close()
        ports.release()


async def test_two_stacks_never_share_a_port() -> None:
    one, other = Ports(), Ports()
    try:
        taken = [ports.take() for _ in range(50) for ports in (one, other)]
        assert len(set(taken)) == 100
    finally:
        one.release()
        other.release()


def test_start_times_identify_processes() -> None:
    assert start_time(os.getpid()) == start_time(os.getpid()) != ""
    assert start_time(1 << 30) == ""
