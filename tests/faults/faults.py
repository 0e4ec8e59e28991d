"""Faults, each a context manager that strikes while something is done within it."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from local.kubernetes.control_plane import kubectl
from tests.support.fault_proxy import Exchange, FaultProxy, Hook, never
from tests.support.stack import ProxiedStack

OUTAGE_SECONDS = 3.0
ANSWERS: Mapping[str, tuple[int, Mapping[str, str]]] = {
    "429": (429, {"Retry-After": "1"}),
    "500": (500, {}),
    "503": (503, {}),
}
REFUSALS = (*ANSWERS, "resets", "time-outs")


@dataclass(frozen=True)
class Moment:
    """Before or after a tenant's write of that number to a service."""

    slug: str
    number: int
    edge: str

    def is_now(self, exchange: Exchange) -> bool:
        return (exchange.slug, exchange.number) == (self.slug, self.number)


@asynccontextmanager
async def refusals(
    proxy: FaultProxy, how: str, share: float, dice: random.Random, seconds: float = OUTAGE_SECONDS
) -> AsyncGenerator[None]:
    """Fail a share of all requests, for a while."""
    refused = 0

    async def hook(exchange: Exchange) -> web.Response | None:
        nonlocal refused
        if dice.random() >= share:
            return None
        refused += 1
        if how == "resets":
            raise ConnectionError
        if how == "time-outs":
            return await never(exchange)
        status, headers = ANSWERS[how]
        return web.Response(status=status, headers=headers, text="overloaded")

    async with _for_a_while(proxy, hook, seconds):
        yield
    assert refused, "nothing was refused"


@asynccontextmanager
async def broken_watches(proxy: FaultProxy, how: str) -> AsyncGenerator[None]:
    """Break off the open watches, and for a while let new ones say nothing, end at once, or be told 410 Gone."""

    async def hook(exchange: Exchange) -> web.Response | None:
        if not exchange.is_watch:
            return None
        if how == "silent":
            return await never(exchange)
        if how == "ended":
            await asyncio.sleep(0.05)
            return web.Response(text="")
        return web.json_response({"kind": "Status", "code": 410, "message": "too old resource version"}, status=410)

    proxy.drop_watches()
    async with _for_a_while(proxy, hook, OUTAGE_SECONDS):
        yield


@asynccontextmanager
async def kill(
    stack: ProxiedStack, proxy: FaultProxy, victim: str, moment: Moment, *, must: bool
) -> AsyncGenerator[None]:
    """Kill one part of the stack or both, which starts them again; if it `must`, the moment has to come."""
    struck = asyncio.Event()

    async def hook(exchange: Exchange) -> None:
        if moment.is_now(exchange) and not struck.is_set():
            struck.set()
            for part in victim.split(" and "):
                stack.stack.processes.kill(part)
            if victim.startswith("host"):
                raise ConnectionError  # a write that is still to come does not, and one that was made is not answered

    setattr(proxy, moment.edge, hook)
    yield
    assert struck.is_set() or not must, f"there was no write {moment.number} to strike at"


@asynccontextmanager
async def lost_answers(
    proxies: Mapping[str, FaultProxy], writes: Mapping[str, tuple[str, int]], *, must: bool
) -> AsyncGenerator[None]:
    """Do each tenant's write of the service and number given for it, and lose the answer."""
    lost: set[str] = set()

    def losing(service: str) -> Hook:
        async def hook(exchange: Exchange) -> None:
            if writes.get(exchange.slug) == (service, exchange.number):
                lost.add(exchange.slug)
                raise ConnectionError

        return hook

    for service, proxy in proxies.items():
        proxy.after = losing(service)
    yield
    missing = [write for slug, write in writes.items() if slug not in lost]
    assert not (missing and must), f"there was nothing to lose: {missing}"


@asynccontextmanager
async def kubectl_at(stack: ProxiedStack, moment: Moment, *arguments: str, stdin: str = "") -> AsyncGenerator[None]:
    """Run kubectl, as an administrator would, at a tenant's write to Kubernetes."""
    done = asyncio.Event()

    async def hook(exchange: Exchange) -> None:
        if moment.is_now(exchange) and not done.is_set():
            done.set()
            await kubectl(stack.stack.control_plane, *arguments, stdin=stdin)

    setattr(stack.kubernetes, moment.edge, hook)
    yield
    assert done.is_set(), f"there was no write {moment.number}"


@asynccontextmanager
async def _for_a_while(proxy: FaultProxy, hook: Hook, seconds: float) -> AsyncGenerator[None]:
    proxy.before = hook
    loop = asyncio.get_running_loop()
    end = loop.call_later(seconds, proxy.pass_everything)
    try:
        yield
    finally:
        end.cancel()
