"""Faults, each a context manager that injects it into whatever runs within."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from local.kubernetes.control_plane import kubectl
from tests.support.fault_proxy import Exchange, FaultProxy, Hook, never
from tests.support.stack import ProxiedStack

OUTAGE_SECONDS = 3.0
RESPONSES: Mapping[str, tuple[int, Mapping[str, str]]] = {
    "429": (429, {"Retry-After": "1"}),
    "500": (500, {}),
    "503": (503, {}),
}
ERRORS = (*RESPONSES, "resets", "time-outs")


class DidNotStrikeError(Exception):
    """The fault hit no request, so that the round says nothing."""


@dataclass(frozen=True)
class WriteMoment:
    """The moment before or after a tenant's n-th write to a service."""

    slug: str
    number: int
    edge: str

    def is_now(self, exchange: Exchange) -> bool:
        return (exchange.slug, exchange.number) == (self.slug, self.number)


@asynccontextmanager
async def failed_requests(
    proxy: FaultProxy, how: str, share: float, source: random.Random, seconds: float = OUTAGE_SECONDS
) -> AsyncGenerator[None]:
    """Fail a share of all requests for some seconds."""
    failed = 0

    async def hook(exchange: Exchange) -> web.Response | None:
        nonlocal failed
        if source.random() >= share:
            return None
        failed += 1
        if how == "resets":
            raise ConnectionError
        if how == "time-outs":
            return await never(exchange)
        status, headers = RESPONSES[how]
        return web.Response(status=status, headers=headers, text="overloaded")

    async with _for_seconds(proxy, hook, seconds):
        yield
    if not failed:
        raise DidNotStrikeError("no request failed")


@asynccontextmanager
async def broken_watches(proxy: FaultProxy, how: str) -> AsyncGenerator[None]:
    """Drop the open watches; for some seconds new ones get no events, end at once, or get 410 Gone."""

    async def hook(exchange: Exchange) -> web.Response | None:
        if not exchange.is_watch:
            return None
        if how == "without events":
            return await never(exchange)
        if how == "ended":
            await asyncio.sleep(0.05)
            return web.Response(text="")
        return web.json_response({"kind": "Status", "code": 410, "message": "too old resource version"}, status=410)

    proxy.drop_watches()
    async with _for_seconds(proxy, hook, OUTAGE_SECONDS):
        yield


@asynccontextmanager
async def kill(stack: ProxiedStack, proxy: FaultProxy, part_names: str, moment: WriteMoment) -> AsyncGenerator[None]:
    """Kill one part of the stack or both; the stack restarts them."""
    killed = asyncio.Event()

    async def hook(exchange: Exchange) -> None:
        if moment.is_now(exchange) and not killed.is_set():
            killed.set()
            for part in part_names.split(" and "):
                stack.stack.processes.kill(part)
            if part_names.startswith("host"):
                raise ConnectionError  # the write is not made, or its response is lost

    setattr(proxy, moment.edge, hook)
    yield
    _expect_strike(killed, moment)


@asynccontextmanager
async def killed_worker(stack: ProxiedStack, proxy: FaultProxy, moment: WriteMoment) -> AsyncGenerator[None]:
    """Kill the worker process that makes a write; the host starts another one."""
    killed = asyncio.Event()

    async def hook(exchange: Exchange) -> None:
        if moment.is_now(exchange) and not killed.is_set():
            killed.set()
            os.kill(stack.worker_at(exchange.port), signal.SIGKILL)
            raise ConnectionError

    setattr(proxy, moment.edge, hook)
    yield
    _expect_strike(killed, moment)


class StoppedWorker:
    """A worker that is stopped before or after a write. A write before which it was stopped arrives when it goes on.

    Attributes:
        reached: Set when it has been stopped.
    """

    def __init__(self, stack: ProxiedStack, moment: WriteMoment) -> None:
        self.reached = asyncio.Event()
        self._stack = stack
        self._moment = moment
        self._goes_on = asyncio.Event()
        self._process = 0

    async def hook(self, exchange: Exchange) -> None:
        """Stop the worker when it makes the write, and hold the write or its response until it goes on."""
        if self._moment.is_now(exchange) and not self.reached.is_set():
            self._process = self._stack.worker_at(exchange.port)
            os.kill(self._process, signal.SIGSTOP)
            self.reached.set()
            await self._goes_on.wait()

    async def go_on(self) -> None:
        """Let it go on, and wait until it has done all that another worker was given meanwhile."""
        if self.reached.is_set():
            self._goes_on.set()
            os.kill(self._process, signal.SIGCONT)
            await self._stack.late_work_done(self._process)

    async def go_on_after(self, seconds: float) -> None:
        """Let it go on when it has been stopped for so long."""
        await self.reached.wait()
        await asyncio.sleep(seconds)
        await self.go_on()


@asynccontextmanager
async def stopped_worker(
    stack: ProxiedStack, proxy: FaultProxy, moment: WriteMoment, *, at_most: float
) -> AsyncGenerator[StoppedWorker]:
    """Stop the worker that makes a write until the end of what runs within, but at most for so many seconds."""
    stopped = StoppedWorker(stack, moment)
    setattr(proxy, moment.edge, stopped.hook)
    limit = asyncio.create_task(stopped.go_on_after(at_most))
    try:
        yield stopped
    finally:
        await stopped.go_on()
        limit.cancel()
    _expect_strike(stopped.reached, moment)


@asynccontextmanager
async def lost_responses(
    proxies: Mapping[str, FaultProxy], writes: Mapping[str, tuple[str, int]]
) -> AsyncGenerator[None]:
    """Make each tenant's write of the given service and number, but lose its response."""
    lost: set[str] = set()

    def hook_for(service: str) -> Hook:
        async def hook(exchange: Exchange) -> None:
            if writes.get(exchange.slug) == (service, exchange.number):
                lost.add(exchange.slug)
                raise ConnectionError

        return hook

    for service, proxy in proxies.items():
        proxy.after = hook_for(service)
    yield
    if not lost:
        raise DidNotStrikeError("none of the writes was made")


@asynccontextmanager
async def kubectl_at(
    stack: ProxiedStack, moment: WriteMoment, *arguments: str, stdin: str = ""
) -> AsyncGenerator[None]:
    """Run kubectl as the administrator, before or after a tenant's write to Kubernetes.

    NAMESPACE in the arguments and in `stdin` stands for the name of the tenant's namespace.
    """
    done = asyncio.Event()

    async def hook(exchange: Exchange) -> None:
        if moment.is_now(exchange) and not done.is_set():
            done.set()
            plane = stack.stack.control_plane
            found = await kubectl(plane, "get", "namespaces", "-l", f"berth.dev/slug={moment.slug}", "-o", "name")
            name = found.strip().removeprefix("namespace/")
            command = [each.replace("NAMESPACE", name) for each in arguments]
            await kubectl(plane, *command, stdin=stdin.replace("NAMESPACE", name))

    setattr(stack.kubernetes, moment.edge, hook)
    yield
    _expect_strike(done, moment)


def _expect_strike(struck: asyncio.Event, moment: WriteMoment) -> None:
    if not struck.is_set():
        raise DidNotStrikeError(f"there was no write {moment.number}")


@asynccontextmanager
async def _for_seconds(proxy: FaultProxy, hook: Hook, seconds: float) -> AsyncGenerator[None]:
    proxy.before = hook
    loop = asyncio.get_running_loop()
    end = loop.call_later(seconds, proxy.pass_everything)
    try:
        yield
    finally:
        end.cancel()
