"""The processes of a stack: start them, watch them, and always end them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.janitor import start_time

STOP_SECONDS = 8.0
TAIL_LINES = 12
ERROR = "error: "  # before the last line of a process that says itself what happened and what to do

type Ready = Callable[[], Awaitable[bool]]


class StackError(Exception):
    """A part of the stack did not start, or ended. The message says what to do, and has the end of the part's log."""


@dataclass
class Service:
    """One process and how to restart it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes]
    ready: Ready
    seconds: float
    stopping: bool = False


class Processes:
    """Runs processes in a temporary directory; both are removed at the end, even if this process is killed.

    Attributes:
        directory: Where the processes keep their data: in /dev/shm if it has 2 GB free, for speed.
    """

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private directory in it
        has_room = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
        self.directory = Path(tempfile.mkdtemp(prefix="berth-", dir=memory if has_room else None))
        (self.directory / "logs").mkdir()
        self._services: dict[str, Service] = {}
        read_end, self._pipe = os.pipe()
        os.set_inheritable(self._pipe, False)
        command = [sys.executable, "-S", "-m", "local.janitor", str(self.directory)]
        root = Path(__file__).parent.parent
        self._janitor = subprocess.Popen(command, stdin=read_end, start_new_session=True, cwd=root)
        os.close(read_end)

    def log(self, name: str) -> Path:
        """Return the file that a service writes its output to."""
        return self.directory / "logs" / f"{name}.log"

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: Ready,
        environment: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> None:
        """Start a process and wait until it is ready; raises StackError if it ends or takes longer than `seconds`."""
        environment = {**os.environ, **(environment or {})}
        process = self._spawn(name, command, environment)
        service = Service(name, command, environment, self.log(name), process, ready, seconds)
        self._services[name] = service
        await self._until_ready(service)

    async def restart(self, name: str) -> None:
        """Restart a service that was stopped or has ended; raises StackError as `start` does."""
        service = self._services[name]
        await self.stop(name)
        service.stopping = False
        service.process = self._spawn(name, service.command, service.environment)
        await self._until_ready(service)

    async def crash(self, names: Sequence[str]) -> None:
        """Kill services at the same time, as a power failure would, and restart them in the order given."""
        for name in names:
            self._services[name].stopping = True
            self.kill(name)
        for name in names:
            await self.restart(name)

    def kill(self, name: str) -> None:
        """Kill a service to test a fault; it counts as having ended by itself."""
        os.killpg(self._services[name].process.pid, signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """Return the process id of each service."""
        return {name: service.process.pid for name, service in self._services.items()}

    def dead(self) -> list[str]:
        """Return the services that ended by themselves."""
        return [
            name
            for name, service in self._services.items()
            if not service.stopping and service.process.poll() is not None
        ]

    def failure(self, name: str) -> StackError:
        """Describe a service that ended or did not become ready: what happened, what to do, and the end of its log."""
        service = self._services[name]
        lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        code = service.process.poll()
        if code is None:
            what = f"{name} was not ready within {service.seconds:g} s"
            advice = "start it again when the machine is less busy; if that does not help, its log may say why"
        elif lines and lines[-1].startswith(ERROR):
            what, advice = f"{name} ended", lines[-1].removeprefix(ERROR)
        else:
            what, advice = f"{name} ended with code {code}", "remove the cause that its log names, and start it again"
        return StackError("\n    ".join([f"{what}: {advice}. The last lines of its log:", *lines]))

    async def stop(self, name: str) -> None:
        """Send SIGTERM to a service, and SIGKILL if it has not ended after 8 seconds."""
        service = self._services[name]
        service.stopping = True
        process = service.process
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                await asyncio.to_thread(process.wait)

    async def close(self) -> None:
        """End everything in the reverse order of its start, and remove the directory."""
        # The newest first, with SIGKILL: there is no data to keep, and an API server without its etcd would hang.
        for service in reversed(self._services.values()):
            service.stopping = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)
        for service in self._services.values():
            await asyncio.to_thread(service.process.wait)
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._pipe)
        await asyncio.to_thread(self._janitor.wait)

    def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            # In a session of its own, so that Ctrl-C in the terminal does not end the parts in a random order.
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with contextlib.suppress(BrokenPipeError):  # the janitor was killed; close() still cleans up
            os.write(self._pipe, f"{process.pid} {start_time(process.pid)}\n".encode())
        return process

    async def _until_ready(self, service: Service) -> None:
        deadline = time.monotonic() + service.seconds
        while not await service.ready():
            if service.process.poll() is not None or time.monotonic() > deadline:
                raise self.failure(service.name)
            await asyncio.sleep(0.05)
