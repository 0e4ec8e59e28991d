"""The fault matrix: each case is one kind of fault, played in rounds against tenants of its own.

A round plays changes of tenants while its fault strikes, and fails if one of them does not end as it should. Which
write a fault strikes at goes through all of them from round to round.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import product

from cli.api import Json
from shared.domain.slugs import namespace_name
from tests.faults import faults
from tests.faults.clock import SteppedClock
from tests.faults.scenarios import SCENARIOS, insist
from tests.support.builders import new_slug, signup_body
from tests.support.fault_proxy import FaultProxy
from tests.support.stack import ProxiedStack

SERVICES = ("kubernetes", "tables")
STEPS = (300, -300, 23 * 3600, -23 * 3600)  # seconds; under a day, after which idempotency keys are forgotten
FULL = "is full"
LONG_OUTAGE_SECONDS = 60.0
VICTIMS = ("host", "task-hub", "host and task-hub")
SHORT_KILLS = {
    ("host", "provision", "kubernetes", "before"),
    ("host", "delete", "tables", "after"),
    ("task-hub", "cancel", "tables", "before"),
    ("host and task-hub", "provision", "tables", "after"),
}
SHORT_REFUSALS = {("kubernetes", "503", 1.0), ("tables", "500", 0.3)}

type Fault = AbstractAsyncContextManager[None]
type Writes = Mapping[tuple[str, str], int]
"""How many writes a scenario makes to a service when nothing disturbs it."""


@dataclass(frozen=True)
class Field:
    """What a round is played on: the stack, its host's clock, and dice and a number, from 0, of the round's own."""

    stack: ProxiedStack
    clock: SteppedClock
    writes: Writes
    dice: random.Random
    number: int

    def proxy(self, service: str) -> FaultProxy:
        return {"kubernetes": self.stack.kubernetes, "tables": self.stack.tables}[service]


@dataclass(frozen=True)
class Case:
    """One row of the matrix; those `in_short` are part of every run of the tests."""

    name: str
    play: Callable[[Field], Awaitable[None]]
    in_short: bool = True


async def count_writes(stack: ProxiedStack) -> Writes:
    """Play every scenario undisturbed, and count its writes."""
    slugs = {name: [new_slug()] for name in SCENARIOS}
    await _prepare(stack, slugs)
    await _act(stack, slugs)
    await stack.at_rest()
    proxies = {"kubernetes": stack.kubernetes, "tables": stack.tables}
    return {
        (name, service): proxy.writes_of[slug] for name, [slug] in slugs.items() for service, proxy in proxies.items()
    }


def cases() -> Iterator[Case]:
    """Yield the whole matrix."""
    for strike in product(VICTIMS, SCENARIOS, SERVICES, ("before", "after")):
        victim, scenario, service, edge = strike
        name = f"{victim} killed {edge} a write to {service}, {scenario}"
        yield Case(name, _kill(*strike), in_short=strike in SHORT_KILLS)
    for outage in product(SERVICES, faults.REFUSALS, (0.1, 0.3, 1.0)):
        service, how, share = outage
        yield Case(f"{service}: {share:.0%} {how}", _refuse(*outage), in_short=outage in SHORT_REFUSALS)
    for service in SERVICES:
        yield Case(f"{service}: away for {LONG_OUTAGE_SECONDS:.0f} s", _be_away(service), in_short=False)
    for scenario in SCENARIOS:
        yield Case(f"answer lost after each write, {scenario}", _lose(scenario), in_short=False)
    for how in ("silent", "ended", "gone"):
        yield Case(f"watches {how}", _break_watches(how), in_short=how == "gone")
    yield Case("namespace deleted by hand", _delete_namespace)
    yield Case("foreign field manager", _interfere, in_short=False)
    yield Case("cluster full", _fill)
    yield Case("API server and etcd crash", _crash)
    yield Case("clock stepped", _step_clock)


async def _prepare(stack: ProxiedStack, slugs: Mapping[str, Sequence[str]]) -> None:
    for name, those in slugs.items():
        await asyncio.gather(*(SCENARIOS[name].prepare(stack, slug) for slug in those))
        if name == "delete":
            await stack.at_rest()  # so that none of the writes counted below is of what came before
    stack.reset()


async def _act(stack: ProxiedStack, slugs: Mapping[str, Sequence[str]], *, may_fail: bool = False) -> None:
    """Play scenarios to their end; raises AssertionError for one that ends as it must not."""
    acts = [(SCENARIOS[name], slug) for name, those in slugs.items() for slug in those]
    ended = await asyncio.gather(*(scenario.act(stack, slug) for scenario, slug in acts))
    wrong = [
        f"{operation['kind']} {operation['state']}: {operation['reason']}"
        for (scenario, _), operation in zip(acts, ended, strict=True)
        if operation["state"] not in scenario.ends | ({"failed"} if may_fail else set[str]())
    ]
    assert not wrong, wrong


async def _under(field: Field, fault: Fault, *, may_fail: bool = False) -> None:
    """Play all scenarios at once, under a fault that does not care which it hits."""
    slugs = {name: [new_slug()] for name in SCENARIOS}
    await _prepare(field.stack, slugs)
    async with fault:
        await _act(field.stack, slugs, may_fail=may_fail)


def _kill(victim: str, scenario: str, service: str, edge: str) -> Callable[[Field], Awaitable[None]]:
    async def play(field: Field) -> None:
        slug, number = new_slug(), _write(field, scenario, service)
        await _prepare(field.stack, {scenario: [slug]})
        # What a cancellation still has to write depends on how far the provisioning has come.
        must = scenario != "cancel"
        async with faults.kill(field.stack, field.proxy(service), victim, faults.Moment(slug, number, edge), must=must):
            await _act(field.stack, {scenario: [slug]})

    return play


def _refuse(service: str, how: str, share: float) -> Callable[[Field], Awaitable[None]]:
    async def play(field: Field) -> None:
        await _under(field, faults.refusals(field.proxy(service), how, share, field.dice))

    return play


def _be_away(service: str) -> Callable[[Field], Awaitable[None]]:
    """For longer than any budget; so a provisioning may fail, but neither a deletion nor the cleaning up."""

    async def play(field: Field) -> None:
        fault = faults.refusals(field.proxy(service), "resets", 1.0, field.dice, LONG_OUTAGE_SECONDS)
        await _under(field, fault, may_fail=True)

    return play


def _lose(scenario: str) -> Callable[[Field], Awaitable[None]]:
    async def play(field: Field) -> None:
        """One tenant for each write, all at once."""
        writes = [(service, number + 1) for service in SERVICES for number in range(field.writes[scenario, service])]
        lost = {str(new_slug()): write for write in writes}
        slugs = {scenario: list(lost)}
        await _prepare(field.stack, slugs)
        proxies = {service: field.proxy(service) for service in SERVICES}
        async with faults.lost_answers(proxies, lost, must=scenario != "cancel"):
            await _act(field.stack, slugs)

    return play


def _break_watches(how: str) -> Callable[[Field], Awaitable[None]]:
    async def play(field: Field) -> None:
        await _under(field, faults.broken_watches(field.stack.kubernetes, how))

    return play


async def _delete_namespace(field: Field) -> None:
    slug, number = new_slug(), _write(field, "provision", "kubernetes")
    command = ("delete", "namespace", namespace_name(slug), "--wait=false")
    async with faults.kubectl_at(field.stack, faults.Moment(slug, number, "after"), *command):
        await _act(field.stack, {"provision": [slug]}, may_fail=True)


async def _interfere(field: Field) -> None:
    """Somebody else applies an object of the tenant too, by force. berth goes on, and deletes all of it."""
    slug, number = new_slug(), _write(field, "provision", "kubernetes")
    namespace = namespace_name(slug)
    quota: Json = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tenant", "namespace": namespace, "labels": {"somebody": "was-here"}},
        "spec": {"hard": {"pods": "9"}},
    }
    command = ("apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-")
    moment = faults.Moment(slug, number, "after")
    async with faults.kubectl_at(field.stack, moment, *command, stdin=json.dumps(quota)):
        await _act(field.stack, {"provision": [slug]})
    await _act(field.stack, {"delete": [slug]})


async def _fill(field: Field) -> None:
    """Five want the two places that are left."""
    stack = field.stack
    [cluster] = await stack.operators.all("clusters")
    path = f"clusters/{cluster['name']}"
    await stack.operators.call("PATCH", path, {"capacity": cluster["allocated"] + 2})
    try:
        begun = await asyncio.gather(*(insist(stack, "POST", "tenants", signup_body(new_slug())) for _ in range(5)))
        ended = await asyncio.gather(*(stack.ended(operation) for operation in begun))
    finally:
        await stack.operators.call("PATCH", path, {"capacity": cluster["capacity"]})
    outcomes = sorted((operation["state"], FULL in operation["reason"]) for operation in ended)
    assert outcomes == [("failed", True)] * 3 + [("succeeded", False)] * 2, [each["reason"] for each in ended]


async def _crash(field: Field) -> None:
    await _under(field, _soon(field, field.stack.stack.control_plane.crash))


async def _step_clock(field: Field) -> None:
    step = STEPS[field.number % len(STEPS)]

    async def strike() -> None:
        field.clock.step(step)

    await _under(field, _soon(field, strike))


@asynccontextmanager
async def _soon(field: Field, strike: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Let something happen within the first second."""

    async def after_a_moment() -> None:
        await asyncio.sleep(field.dice.uniform(0, 1))
        await strike()

    striking = asyncio.create_task(after_a_moment())
    try:
        yield
    finally:
        await striking


def _write(field: Field, scenario: str, service: str) -> int:
    """Return the write to strike at in this round: all of them, one after another."""
    return 1 + field.number % field.writes[scenario, service]
