"""One worker process: its start, the channel to it, and its end."""

import asyncio
import contextlib
import itertools
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.host import tracing
from local.host.app import Function
from local.worker import protos
from local.worker.channel import receive, send

STOP_SECONDS = 2.0
OBSERVE_SECONDS = 0.1  # between two looks whether the process runs
COMMAND = (sys.executable, "-m", "local.worker")
_ENDED = "the worker process ended"


class WorkerLostError(Exception):
    """The process ended before it responded. It is unknown whether the function ran."""


class AppRefusedError(Exception):
    """The worker library does not load the app; the message says why."""


class FunctionFailedError(Exception):
    """A function raised, or returned what its binding cannot carry.

    Attributes:
        kind: The name of the error's class in the app.
        trace: The app's traceback.
    """

    def __init__(self, message: str, trace: str) -> None:
        self.kind, _, text = message.partition(": ")
        self.trace = trace
        super().__init__(text)


class Worker:
    """A process that runs the app, once it is started.

    Args:
        directory: The app's.
        command: The program; it gets the descriptor of its socket and the directory as arguments.
        environment: Its environment variables, or None for this process's own.

    Attributes:
        lost: Whether it has ended, or is about to.
    """

    def __init__(
        self, directory: Path, command: Sequence[str] = COMMAND, environment: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._command = command
        self._environment = environment
        self._pending: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._process: asyncio.subprocess.Process | None = None
        self._ran = 0.0  # when it was last seen to run, on the event loop's clock
        self.lost = False

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _listening: asyncio.Task[None]
    _observing: asyncio.Task[None]

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def runs(self) -> bool:
        """Whether the process is there and not stopped by a signal."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        except OSError:
            return False
        return state.split()[0] not in "TtXZ"

    async def silence(self, seconds: float) -> None:
        """Return when the process has been stopped or gone for so long; 0 waits for its end alone."""
        if not seconds:
            await asyncio.wait([self._listening])
            return
        left = seconds
        while left > 0:
            await asyncio.sleep(left)
            left = self._see() + seconds - asyncio.get_running_loop().time()

    async def start(self) -> list[Function]:
        """Start the process, let it load the app, and return the app's functions.

        Raises:
            AppRefusedError, WorkerLostError: It does not load the app, or ended over it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            command = (*self._command, str(theirs.fileno()), str(self._directory))
            # In the host's process group, so that whoever kills the host's group has the workers too. Standard input is
            # the lifeline of which local.worker tells; only this process holds its other end, as Python's descriptors
            # are not inherited.
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                cwd=self._directory,
                env=self._environment,
            )
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._listening = asyncio.create_task(self._listen())
        self._observing = asyncio.create_task(self._observe())
        started = await self._request(worker_init_request={"function_app_directory": str(self._directory)})
        if started.result.status != protos.StatusResult.Success:
            raise AppRefusedError(started.result.exception.message)
        described = await self._request(functions_metadata_request={"function_app_directory": str(self._directory)})
        return [Function.of(each) for each in described.function_metadata_results]

    async def invoke(self, function_id: str, data: Mapping[str, Any]) -> Any:
        """Call a function with TypedData for each of its inputs, and return the TypedData that it returns.

        The function runs in the trace of the current span.

        Raises:
            FunctionFailedError: It raised, or the library could not decode or encode something.
            WorkerLostError: The process ended meanwhile.
        """
        response = await self._request(
            invocation_request={
                "invocation_id": str(uuid4()),
                "function_id": function_id,
                "input_data": [protos.ParameterBinding(name=name, data=value) for name, value in data.items()],
                "trace_context": _trace_context(),
            }
        )
        if response.result.status != protos.StatusResult.Success:
            raise FunctionFailedError(response.result.exception.message, response.result.exception.stack_trace)
        return response.return_value

    async def ended(self) -> int:
        """Wait until the process has ended, by itself or by force, and return its exit code."""
        await asyncio.wait([self._listening])
        return await self.stop()

    async def stop(self) -> int:
        """End the process, if it was started, and return its exit code."""
        self.lost = True
        if self._process is None:
            return 0
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                return await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()

    def _see(self) -> float:
        if self.runs:
            self._ran = asyncio.get_running_loop().time()
        return self._ran

    async def _observe(self) -> None:
        while not self.lost:
            self._see()
            await asyncio.sleep(OBSERVE_SECONDS)

    async def _request(self, **content: Any) -> Any:
        number = str(next(self._numbers))
        if self.lost:
            raise WorkerLostError(_ENDED)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            with contextlib.suppress(ConnectionError):  # the listener fails all pending requests
                await send(self._writer, protos.StreamingMessage(request_id=number, **content))
            response = await future
        finally:
            del self._pending[number]
        return getattr(response, response.WhichOneof("content"))

    async def _listen(self) -> None:
        while (response := await receive(self._reader)) is not None:
            if (future := self._pending.get(response.request_id)) is not None and not future.done():
                future.set_result(response)
        self.lost = True
        self._writer.close()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(WorkerLostError(_ENDED))


def _trace_context() -> Any:
    carrier = tracing.headers()
    return protos.RpcTraceContext(
        trace_parent=carrier.get("traceparent", ""), trace_state=carrier.get("tracestate", "")
    )
