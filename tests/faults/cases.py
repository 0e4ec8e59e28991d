"""The fault matrix: each case is one kind of fault, run in rounds with new tenants.

A round runs operations on tenants while it injects the fault, and fails if an operation ends in another state than
expected. A fault at a write is injected at another write in each round, until all of them were hit.

Cases that stop a worker need a second one, which is given the work of the first. They show what a worker does that goes
on with work that was completed elsewhere: while the operation still runs, after it, or after the tenant's next one.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import product

from cli.api import Json, ProblemError
from local.clock import MovableClock
from tests.faults import faults
from tests.faults.history import History
from tests.faults.requests import TIMEOUT_SECONDS, send_until_accepted
from tests.faults.scenarios import SCENARIOS, nothing, retry, start_endless_signup
from tests.support.builders import new_slug, signup_body
from tests.support.fault_proxy import FaultProxy
from tests.support.stack import ProxiedStack

SERVICES = ("kubernetes", "tables")
CLOCK_STEPS = (1 / 12, -1 / 12, 23, -23)  # hours; under a day, after which idempotency keys are forgotten
CONFLICT = 409
LONG_OUTAGE_SECONDS = 60.0
STRIKE_SECONDS = 10.0  # within which a signup makes any of its writes
FOR_A_WHILE, ENDED, NEXT_ENDED = "for a while", "until it ended", "until the next one ended"
CANCELLED = "provision and cancel"
# Each operation while a worker is stopped, and until when. The next one after a deletion would be refused.
STOPS = (
    *product(("provision", "cancel", "hibernate", "wake", "sweep"), (FOR_A_WHILE, ENDED, NEXT_ENDED)),
    *product(("delete",), (FOR_A_WHILE, ENDED)),
    (CANCELLED, NEXT_ENDED),
)
KILLED_PARTS = ("host", "task-hub", "host and task-hub")
SHORT_KILLS = {
    ("host", "provision", "kubernetes", "before"),
    ("host", "delete", "tables", "after"),
    ("host", "hibernate", "kubernetes", "after"),
    ("host", "sweep", "tables", "before"),
    ("task-hub", "wake", "tables", "before"),
    ("task-hub", "cancel", "tables", "before"),
    ("host and task-hub", "provision", "tables", "after"),
}
SHORT_KILLED_WORKERS = {("provision", "tables", "after")}
SHORT_STOPS = {("provision", NEXT_ENDED, "tables", "before"), ("hibernate", NEXT_ENDED, "kubernetes", "before")}
SHORT_ERRORS = {("kubernetes", "503", 1.0), ("tables", "500", 0.3)}

type Fault = AbstractAsyncContextManager[None]
type Writes = Mapping[tuple[str, str], int]
"""The number of writes that each scenario makes to each service without a fault."""


@dataclass(frozen=True)
class Round:
    """The environment of a round: the stack, the host's clock, random numbers, and a number that is another in each."""

    stack: ProxiedStack
    clock: MovableClock
    writes: Writes
    source: random.Random
    number: int
    redelivery: float = 0.0

    def proxy(self, service: str) -> FaultProxy:
        return {"kubernetes": self.stack.kubernetes, "tables": self.stack.tables}[service]


@dataclass(frozen=True)
class Case:
    """One row of the matrix; those `in_short` are part of every test run. It needs that many workers."""

    name: str
    run: Callable[[Round], Awaitable[None]]
    in_short: bool = True
    workers: int = 1


async def count_writes(stack: ProxiedStack) -> Writes:
    """Run every scenario without a fault, and count its writes."""
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
    for kill in product(KILLED_PARTS, SCENARIOS, SERVICES, ("before", "after")):
        part, scenario, service, edge = kill
        name = f"{part} killed {edge} a write to {service}, {scenario}"
        yield Case(name, _kill(*kill), in_short=kill in SHORT_KILLS)
    for killed in product(SCENARIOS, SERVICES, ("before", "after")):
        scenario, service, edge = killed
        name = f"worker killed {edge} a write to {service}, {scenario}"
        yield Case(name, _kill_worker(*killed), in_short=killed in SHORT_KILLED_WORKERS, workers=2)
    for (scenario, until), service, edge in product(STOPS, SERVICES, ("before", "after")):
        stop = (scenario, until, service, edge)
        name = f"worker stopped {edge} a write to {service}, {scenario}, {until}"
        yield Case(name, _stop_worker(*stop), in_short=stop in SHORT_STOPS, workers=2)
    for outage in product(SERVICES, faults.ERRORS, (0.1, 0.3, 1.0)):
        service, how, share = outage
        yield Case(f"{service}: {share:.0%} {how}", _fail_requests(*outage), in_short=outage in SHORT_ERRORS)
    for service in SERVICES:
        yield Case(f"{service}: unavailable for {LONG_OUTAGE_SECONDS:.0f} s", _be_unavailable(service), in_short=False)
    for scenario in SCENARIOS:
        yield Case(f"response lost after each write, {scenario}", _lose_responses(scenario), in_short=False)
    for how in ("without events", "ended", "gone"):
        yield Case(f"watches {how}", _break_watches(how), in_short=how == "gone")
    yield Case("namespace deleted by hand", _delete_namespace)
    yield Case("another field manager", _apply_as_other_manager, in_short=False)
    yield Case("cluster full", _fill_cluster)
    yield Case("API server and etcd crash", _crash)
    yield Case("clock stepped", _step_clock)
    yield Case("a random history", _random_history)


async def _prepare(stack: ProxiedStack, slugs: Mapping[str, Sequence[str]]) -> None:
    for name, group in slugs.items():
        await asyncio.gather(*(SCENARIOS[name].prepare(stack, slug) for slug in group))
        if SCENARIOS[name].prepare not in (nothing, start_endless_signup):
            await stack.at_rest()  # so that no write of the preparation is counted below
    stack.reset()


async def _act(stack: ProxiedStack, slugs: Mapping[str, Sequence[str]], *, may_fail: bool = False) -> None:
    """Run scenarios to their end; raises AssertionError for one that ends in another state than expected."""
    actions = [(SCENARIOS[name], slug) for name, group in slugs.items() for slug in group]
    ended = await asyncio.gather(*(scenario.act(stack, slug) for scenario, slug in actions))
    wrong = [
        f"{operation['kind']} {operation['state']}: {operation['reason']}"
        for (scenario, _), operation in zip(actions, ended, strict=True)
        if operation["state"] not in scenario.end_states | ({"failed"} if may_fail else set[str]())
    ]
    assert not wrong, wrong


async def _under(current: Round, fault: Fault, *, may_fail: bool = False, names: Iterable[str] = SCENARIOS) -> None:
    """Run scenarios concurrently, by default all, with a fault that can affect each of them."""
    slugs = {name: [new_slug()] for name in names}
    await _prepare(current.stack, slugs)
    async with fault:
        await _act(current.stack, slugs, may_fail=may_fail)


def _kill(part: str, scenario: str, service: str, edge: str) -> Callable[[Round], Awaitable[None]]:
    async def case(current: Round) -> None:
        slug, number = new_slug(), _write(current, scenario, service)
        await _prepare(current.stack, {scenario: [slug]})
        moment = faults.WriteMoment(slug, number, edge)
        async with faults.kill(current.stack, current.proxy(service), part, moment):
            await _act(current.stack, {scenario: [slug]})
        if len(part.split(" and ")) > 1 and scenario in ("hibernate", "sweep"):
            # Nobody is left who would give its share back, until reconciliation does or its next operation has ended.
            await _act(current.stack, {"wake": [slug]})

    return case


def _kill_worker(scenario: str, service: str, edge: str) -> Callable[[Round], Awaitable[None]]:
    async def case(current: Round) -> None:
        slug, number = new_slug(), _write(current, scenario, service)
        await _prepare(current.stack, {scenario: [slug]})
        moment = faults.WriteMoment(slug, number, edge)
        async with faults.killed_worker(current.stack, current.proxy(service), moment):
            await _act(current.stack, {scenario: [slug]})

    return case


def _stop_worker(scenario: str, until: str, service: str, edge: str) -> Callable[[Round], Awaitable[None]]:
    is_cancelled = scenario == CANCELLED

    async def case(current: Round) -> None:
        first = "provision" if is_cancelled else scenario
        slug, number = new_slug(), _write(current, first, service)
        if is_cancelled and current.number % 2 == 0:
            number = 1  # to Kubernetes, it is the namespace: a late one makes it again, others then find it gone
        await _prepare(current.stack, {first: [slug]})
        moment = faults.WriteMoment(slug, number, edge)
        # Longer than the redelivery. A write in a request is not work that the task hub could give to another worker.
        at_most = current.redelivery + 1 if until == FOR_A_WHILE else 2 * current.redelivery + 10
        async with faults.stopped_worker(current.stack, current.proxy(service), moment, at_most=at_most) as stopped:
            if is_cancelled:
                await _cancel_at(current.stack, slug, stopped)
            else:
                await _act(current.stack, {scenario: [slug]})
            if until == NEXT_ENDED:
                await _act_next(current.stack, slug, scenario)

    return case


async def _cancel_at(stack: ProxiedStack, slug: str, stopped: faults.StoppedWorker) -> None:
    """Sign up, and cancel when the worker has been stopped; the provisioning may have ended by then."""
    signing_up = asyncio.create_task(send_until_accepted(stack, "POST", "tenants", signup_body(slug)))
    waiting = asyncio.create_task(stopped.reached.wait())
    await asyncio.wait([waiting], timeout=STRIKE_SECONDS)
    waiting.cancel()
    operation = await signing_up
    try:
        await send_until_accepted(stack, "POST", f"operations/{operation['id']}/cancel")
    except ProblemError as error:
        if error.status != CONFLICT:
            raise
    ended = await stack.ended(operation, seconds=TIMEOUT_SECONDS)
    assert ended["state"] in ("cancelled", "succeeded"), ended["reason"]


async def _act_next(stack: ProxiedStack, slug: str, scenario: str) -> None:
    """Wake a tenant that sleeps, put a woken one to sleep, delete any other, or provision a cancelled one again."""
    tenant = await send_until_accepted(stack, "GET", f"tenants/{slug}")
    if tenant["state"] == "hibernated":
        await _act(stack, {"wake": [slug]})
    elif tenant["state"] == "active":
        await _act(stack, {"hibernate" if scenario == "wake" else "delete": [slug]})
    else:
        operation = await retry(stack, slug)
        assert operation["state"] == "succeeded", f"retry {operation['state']}: {operation['reason']}"


def _fail_requests(service: str, how: str, share: float) -> Callable[[Round], Awaitable[None]]:
    async def case(current: Round) -> None:
        await _under(current, faults.failed_requests(current.proxy(service), how, share, current.source))

    return case


def _be_unavailable(service: str) -> Callable[[Round], Awaitable[None]]:
    """For longer than any total timeout, so that a provisioning may fail, but no deletion and no compensation."""

    async def case(current: Round) -> None:
        fault = faults.failed_requests(current.proxy(service), "resets", 1.0, current.source, LONG_OUTAGE_SECONDS)
        await _under(current, fault, may_fail=True)

    return case


def _lose_responses(scenario: str) -> Callable[[Round], Awaitable[None]]:
    async def case(current: Round) -> None:
        """One tenant for each write, all concurrently."""
        writes = [(service, number + 1) for service in SERVICES for number in range(current.writes[scenario, service])]
        lost = {str(new_slug()): write for write in writes}
        slugs = {scenario: list(lost)}
        await _prepare(current.stack, slugs)
        proxies = {service: current.proxy(service) for service in SERVICES}
        async with faults.lost_responses(proxies, lost):
            await _act(current.stack, slugs)

    return case


def _break_watches(how: str) -> Callable[[Round], Awaitable[None]]:
    async def case(current: Round) -> None:
        await _under(current, faults.broken_watches(current.stack.kubernetes, how))

    return case


async def _delete_namespace(current: Round) -> None:
    slug, number = new_slug(), _write(current, "provision", "kubernetes")
    command = ("delete", "namespace", "NAMESPACE", "--wait=false")
    async with faults.kubectl_at(current.stack, faults.WriteMoment(slug, number, "after"), *command):
        await _act(current.stack, {"provision": [slug]}, may_fail=True)


async def _apply_as_other_manager(current: Round) -> None:
    """Another field manager forces its values onto an object of the tenant. berth still provisions and deletes it."""
    slug, number = new_slug(), _write(current, "provision", "kubernetes")
    quota: Json = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tenant", "namespace": "NAMESPACE", "labels": {"example.com/owner": "other"}},
        "spec": {"hard": {"pods": "9"}},
    }
    command = ("apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-")
    moment = faults.WriteMoment(slug, number, "after")
    async with faults.kubectl_at(current.stack, moment, *command, stdin=json.dumps(quota)):
        await _act(current.stack, {"provision": [slug]})
    await _act(current.stack, {"delete": [slug]})


async def _fill_cluster(current: Round) -> None:
    """Five signups for the last two units of capacity."""
    stack = current.stack
    [cluster] = await stack.operators.all("clusters")
    path = f"clusters/{cluster['name']}"
    await stack.operators.call("PATCH", path, {"capacity": cluster["allocated"] + 2})
    try:
        answers = await asyncio.gather(
            *(send_until_accepted(stack, "POST", "tenants", signup_body(new_slug())) for _ in range(5)),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, ProblemError)]
        begun = [answer for answer in answers if not isinstance(answer, BaseException)]
        ended = await asyncio.gather(*(stack.ended(operation) for operation in begun))
    finally:
        await stack.operators.call("PATCH", path, {"capacity": cluster["capacity"]})
    assert [each.problem["type"] for each in refused] == ["/api/problems/no-room"] * 3
    assert [each["state"] for each in ended] == ["succeeded"] * 2


async def _crash(current: Round) -> None:
    await _under(current, _soon(current, current.stack.stack.control_plane.crash))


async def _step_clock(current: Round) -> None:
    step = timedelta(hours=CLOCK_STEPS[current.number % len(CLOCK_STEPS)])

    async def step_clock() -> None:
        current.clock.step(step)

    # A sweep is refused then, or the tenant is not due yet, by the clock that was set.
    await _under(current, _soon(current, step_clock), names=[name for name in SCENARIOS if name != "sweep"])


async def _random_history(current: Round) -> None:
    """Some seconds of everything; another history in each round, and the same again with the same seed."""
    await History(current.stack, current.source).run()


@asynccontextmanager
async def _soon(current: Round, inject: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Inject a fault at a random moment of the first second."""

    async def after_a_moment() -> None:
        await asyncio.sleep(current.source.uniform(0, 1))
        await inject()

    injecting = asyncio.create_task(after_a_moment())
    try:
        yield
    finally:
        await injecting


def _write(current: Round, scenario: str, service: str) -> int:
    """Return the number of the write for this round's fault: the next one in each round."""
    return 1 + current.number % current.writes[scenario, service]
