"""What telemetry costs: rows and bytes of each action and of a month, and CPU time. `./berth bench telemetry`.

Measured on a stack that sends to the stand-in for Application Insights:

- volume: what one of each action sends, host and app together: every row of its trace, and the metrics that it adds to
  those of a minute in which nobody asks for anything. From that, a month of 1,000 tenants. Azure's host sends no log in
  the normal case, by host.json. It also sends metrics of its own, which the local one does not: docs/telemetry.md has
  what they cost and how to leave them out.
- CPU: seconds of the worker for each provisioning on a stack with telemetry and on one without, in turn, so that
  whatever else the machine does slows both down.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import mean, median

import httpx
import psutil

from cli.api import Api, Json
from local.kubernetes.control_plane import Options
from local.stack import Stack
from shared.adapters.prices import load_prices
from shared.domain.prices import PriceId
from tests.bench.goals import Goal, judged
from tests.bench.telemetry_volume import METRICS, MONTH, TENANTS, Volume, actions, dollars, month, series
from tests.bench.wake import middle
from tests.support.builders import new_slug, signup_body
from tests.support.kusto.envelopes import Envelope

MAX_DOLLARS = 5.0
MAX_CPU = 3.0  # percent
LOGS = PriceId("logs:analytics")
REGIONS = ("westeurope", "eastus")  # the first is that of the goal
SETTLED_SECONDS = 6.0  # after which everything that was recorded has been sent
IDLE_SECONDS = 70.0  # more than a minute, so that each timer of a minute has run
TIMERS = (
    *("recover", "find_lost_instances", "poll_activity", "reconcile", "meter_costs", "roll_up_latency"),
    *("refresh_prices", "purge_old_records", "sweep"),
)
EVERY_MINUTE = {"BERTH_RECOVERY_SCHEDULE": "0 * * * * *"}
OFTEN = {**EVERY_MINUTE, "OTEL_METRIC_EXPORT_INTERVAL": "2000"}
# As on Azure, where the exporter has its own defaults: 5 seconds for spans and logs, and a minute for metrics.
AS_ON_AZURE = {
    "BERTH_RECOVERY_SCHEDULE": "0 0 0 1 1 *",  # its work is no part of a provisioning
    "OTEL_BSP_SCHEDULE_DELAY": "5000",
    "OTEL_BLRP_SCHEDULE_DELAY": "5000",
    "OTEL_METRIC_EXPORT_INTERVAL": "60000",
}
WARM_UP = 5


class Bench:
    """A stack, and what it has sent."""

    def __init__(self, stack: Stack, api: Api, http: httpx.AsyncClient) -> None:
        self._stack = stack
        self._api = api
        self._http = http
        self._last = 0

    async def volumes(self, rounds: int) -> Mapping[str, Volume]:
        """Return what one of each action sends."""
        found: dict[str, list[Sequence[Envelope]]] = {}
        for name in TIMERS:
            found[name] = [await self._done(name, lambda name=name: self._fire(name))]
        for _ in range(rounds):
            slug, calls = new_slug(), self._calls()
            for name, call in calls.items():
                found.setdefault(name, []).append(await self._done(name, lambda call=call, slug=slug: call(slug)))
        await self._new()
        await asyncio.sleep(IDLE_SECONDS)
        idle = series(await self._new())
        volumes = {name: _volume(name, phases, idle) for name, phases in found.items()}
        return {**volumes, METRICS: Volume.of(idle.values())}

    def _calls(self) -> Mapping[str, Callable[[str], Awaitable[object]]]:
        api, domain = self._api, self._stack.control_plane.gateway.domain
        ended: list[Json] = []

        async def follow(operation: Json) -> None:
            ended[:] = [await _ended(api, operation)]

        async def sign_up(slug: str) -> None:
            await follow(await api.call("POST", "tenants", signup_body(slug)))

        async def change(method: str, path: str) -> None:
            await follow(await api.call(method, path))

        return {
            "provision": sign_up,
            "GET api/operations/{id}": lambda _: api.call("GET", f"operations/{ended[0]['id']}"),
            "GET api/tenants/{slug}": lambda slug: api.call("GET", f"tenants/{slug}"),
            "GET api/readyz": lambda _: api.call("GET", "readyz"),
            "hibernate": lambda slug: change("POST", f"tenants/{slug}/sleep"),
            "GET api/visits/{host}": lambda slug: api.call("GET", f"visits/{slug}.{domain}"),
            "wake": lambda slug: change("POST", f"tenants/{slug}/wake"),
            "delete": lambda slug: change("DELETE", f"tenants/{slug}"),
        }

    async def _done(self, name: str, act: Callable[[], Awaitable[object]]) -> Sequence[Envelope]:
        """Do something, and return what was sent of it and meanwhile."""
        await self._new()
        await act()
        sent: list[Envelope] = []
        async with asyncio.timeout(60):
            while name not in actions(sent):
                await asyncio.sleep(0.5)
                sent += await self._new()
        await asyncio.sleep(SETTLED_SECONDS)
        return [*sent, *await self._new()]

    async def _fire(self, name: str) -> None:
        url, headers = f"{self._stack.api_url}/admin/functions/{name}", {"x-functions-key": self._stack.master_key}
        (await self._http.post(url, json={}, headers=headers)).raise_for_status()

    async def _new(self) -> Sequence[Envelope]:
        response = await self._http.get(f"{self._stack.telemetry.url}/envelopes", params={"after": self._last})
        page = response.raise_for_status().json()
        self._last = page["last"]
        return page["items"]


def _volume(name: str, phases: Sequence[Sequence[Envelope]], idle: Mapping[str, Envelope]) -> Volume:
    """Return the mean of some phases: of the traces of this name, and of the metrics that are not those of idleness."""
    volumes: list[Volume] = []
    for sent in phases:
        traces = [Volume.of(each) for each in actions(sent)[name]]
        more = Volume.of(each for key, each in series(sent).items() if key not in idle)
        volumes.append(Volume().plus(_mean(traces)).plus(more))
    return _mean(volumes)


def _mean(volumes: Sequence[Volume]) -> Volume:
    total = Volume()
    for each in volumes:
        total = total.plus(each)
    return total.times(1 / len(volumes))


async def _ended(api: Api, operation: Json) -> Json:
    async for each in api.follow(operation, every=0.1):
        operation = each
    assert operation["state"] == "succeeded", operation["reason"]
    return operation


async def measure_volumes(rounds: int) -> Mapping[str, Volume]:
    """Return what one of each action sends, on a stack of its own."""
    options = Options(ready_seconds=0.0)
    async with (
        Stack(OFTEN, options=options, telemetry=True) as stack,
        Api(stack.api_url, stack.function_key) as api,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        return await Bench(stack, api, http).volumes(rounds)


async def measure_cpu(pairs: int, signups: int) -> Sequence[tuple[float, float]]:
    """Return the CPU seconds of a provisioning with telemetry and without, in turn."""
    options = Options(ready_seconds=0.0)
    done: list[tuple[float, float]] = []
    async with (
        Stack(AS_ON_AZURE, options=options, telemetry=True) as on,
        Stack(AS_ON_AZURE, options=options) as off,
    ):
        for stack in (on, off):
            await _cpu(stack, WARM_UP)
        for number in range(pairs):
            order = (on, off) if number % 2 == 0 else (off, on)
            seconds = {id(stack): await _cpu(stack, signups) for stack in order}
            done.append((seconds[id(on)], seconds[id(off)]))
            print(f"{number + 1:>8}{done[-1][0]:12.4f}{done[-1][1]:12.4f}{_more(*done[-1]):10.1f}", flush=True)
    return done


async def _cpu(stack: Stack, signups: int) -> float:
    """Return the CPU seconds of the workers for each of some signups, until everything is sent."""
    workers = psutil.Process(stack.processes.pids()["host"]).children()
    before = sum(sum(each.cpu_times()[:2]) for each in workers)
    async with Api(stack.api_url, stack.function_key) as api:
        for _ in range(signups):
            await _ended(api, await api.call("POST", "tenants", signup_body(new_slug())))
        await asyncio.sleep(SETTLED_SECONDS)
    return (sum(sum(each.cpu_times()[:2]) for each in workers) - before) / signups


def _more(with_it: float, without: float) -> float:
    return 100 * (with_it - without) / without


def goals(volumes: Mapping[str, Volume], pairs: Sequence[tuple[float, float]]) -> Sequence[Goal]:
    """Return what telemetry may cost, of what was measured."""
    found: list[Goal] = []
    if volumes:
        price = load_prices().book.at(LOGS, REGIONS[0], datetime.now(UTC))
        found.append(Goal(f"$ a month of {TENANTS} tenants", float(dollars(month(volumes), price)), MAX_DOLLARS))
    if pairs:
        dearer = median(_more(*each) for each in pairs)
        found.append(Goal("CPU of a provisioning, percent more", dearer, MAX_CPU))
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with the usage for a wrong one."""
    parser = argparse.ArgumentParser(
        prog="./berth bench telemetry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each action is measured; 0 is not at all (3)")
    parser.add_argument("--pairs", type=int, default=8, help="comparisons of CPU time; 0 is none (8)")
    parser.add_argument("--signups", type=int, default=40, help="tenants of each side of a comparison (40)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if options.signups < 1 or min(options.rounds, options.pairs) < 0:
        parser.error("--signups is at least 1, --rounds and --pairs at least 0")
    return options


async def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    options = parse(arguments)
    volumes: Mapping[str, Volume] = {}
    if options.rounds:
        volumes = await measure_volumes(options.rounds)
        _print(volumes)
    pairs: Sequence[tuple[float, float]] = ()
    if options.pairs:
        print(f"\n{'pair':>8}{'with, s':>12}{'without, s':>12}{'more, %':>10}", flush=True)
        pairs = await measure_cpu(options.pairs, options.signups)
        dearer = [_more(*each) for each in pairs]
        low, high = middle(dearer)
        print(
            f"CPU of a provisioning: {mean(each for each, _ in pairs):.4f} s with telemetry, "
            f"{mean(each for _, each in pairs):.4f} s without; median {median(dearer):.1f} % more, "
            f"95 % of it {low:.1f} to {high:.1f} %, from {min(dearer):.1f} to {max(dearer):.1f} %",
            flush=True,
        )
    return judged(goals(volumes, pairs), check=options.check)


def _print(volumes: Mapping[str, Volume]) -> None:
    whole = month(volumes)
    print(f"{'one':56}{'rows':>7}{'sent, B':>10}{'billed, B':>11}{'a month':>10}{'MB':>8}{'%':>6}  why")
    for each in MONTH:
        one = volumes[each.action]
        billed = one.billed * each.times
        print(
            f"{each.action:56}{one.rows:7.1f}{one.sent:10.0f}{one.billed:11.0f}{each.times:10.0f}"
            f"{billed / 1e6:8.1f}{100 * billed / whole.billed:6.1f}  {each.why}"
        )
    print(f"\na month of {TENANTS} tenants: {whole.rows / 1e6:.2f} million rows, {whole.billed / 1e9:.2f} GB billed")
    for region in REGIONS:
        price = load_prices().book.at(LOGS, region, datetime.now(UTC))
        print(f"  in {region} at {price.amount} $ a GB: {dollars(whole, price):.2f} $; {price.free} GB are free")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
