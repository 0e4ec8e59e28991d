"""The app's workers: as many as the host is told, work spread over them in turn, and a new one for each that dies."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.host import tracing
from local.host.app import Function
from local.host.worker import AppRefusedError, Worker, WorkerLostError

RESTART_SECONDS = 1.0  # between two attempts to start a worker
LOOK_SECONDS = 0.1  # between two looks whether a worker that was stopped goes on

logger = logging.getLogger("host")


class Workers:
    """Runs the app; use it as an async context manager.

    Args:
        directory: The app's.
        count: How many processes, as Azure's FUNCTIONS_WORKER_PROCESS_COUNT.
        inputs: What an input binding is given, as TypedData by the binding's type.

    Raises:
        AppRefusedError, WorkerLostError: The app cannot be loaded.
    """

    functions: list[Function]

    def __init__(self, directory: Path, count: int, inputs: Mapping[str, Any]) -> None:
        self._directory = directory
        self._count = count
        self._inputs = inputs
        self._ready: deque[Worker] = deque()  # the next one first
        self._some = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        workers = [Worker(self._directory) for _ in range(self._count)]
        started = await asyncio.gather(*(worker.start() for worker in workers), return_exceptions=True)
        for functions in started:
            if isinstance(functions, BaseException):
                await asyncio.gather(*(worker.stop() for worker in workers))
                raise functions
            self.functions = functions  # the same in each
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in workers]
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.wait(self._keepers)

    def of_kind(self, kind: str) -> list[Function]:
        """Return the functions with that trigger."""
        return [function for function in self.functions if function.kind == kind]

    async def take(self) -> Worker:
        """Return the worker whose turn it is, once there is one. A stopped one gets no new work."""
        while (worker := self._next()) is None:
            self._some.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), LOOK_SECONDS)
        return worker

    async def invoke(self, function: Function, data: Any, worker: Worker | None = None) -> Any:
        """Call a function.

        Args:
            function: What to call.
            data: What its trigger is given, as TypedData.
            worker: Which worker calls it; by default the one whose turn it is.

        Returns:
            What it returned, as TypedData.

        Raises:
            FunctionFailedError, WorkerLostError: As `Worker.invoke`.
        """
        worker = worker or await self.take()
        tracing.describe(function, f"worker-{worker.pid}")  # each stands for an instance of the app
        given = {each["name"]: self._inputs[each["type"]] for each in function.inputs if each["type"] in self._inputs}
        return await worker.invoke(function.id, {**given, function.trigger["name"]: data})

    def _next(self) -> Worker | None:
        for _ in self._ready.copy():
            self._ready.rotate(-1)
            if not self._ready[-1].lost and self._ready[-1].runs:
                return self._ready[-1]
        return None

    async def _keep(self, worker: Worker) -> None:
        """Have a worker until cancelled: this one, and when it dies another."""
        try:
            while True:
                self._ready.append(worker)
                self._some.set()
                code = await worker.ended()
                self._ready.remove(worker)
                logger.error("worker process %d ended with code %d", worker.pid, code)
                while True:
                    worker = Worker(self._directory)
                    try:
                        await worker.start()
                        break
                    except (AppRefusedError, WorkerLostError) as error:
                        logger.error("the new worker did not start: %s", error)  # noqa: TRY400 - no bug here
                        await worker.stop()
                    await asyncio.sleep(RESTART_SECONDS)
                logger.info("worker process %d started in its place", worker.pid)
        finally:
            with contextlib.suppress(ValueError):
                self._ready.remove(worker)
            await worker.stop()
