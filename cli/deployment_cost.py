"""What a deployment costs a month, with no, few and many tenants: the table of docs/deploy.md.

`python -m cli.deployment_cost` writes it anew. Prices are those of shared/prices.yaml in westeurope, the overhead is
that of shared/assets.yaml; what else is assumed stands beside each row.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from cli.monitoring.alerts import monthly_price, read_rules
from shared.adapters.assets import load_assets
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.domain.prices import DAYS_A_MONTH, HOURS_A_MONTH, PriceId

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/deploy.md"
BEGIN, END = "<!-- costs: python -m cli.deployment_cost -->\n", "<!-- end of costs -->\n"
REGION, MOMENT = "westeurope", datetime(2026, 11, 25, tzinfo=UTC)
ENTRY = json.loads((ROOT / "infra/clusters/primary.json").read_text())
AWAKE = Decimal("0.47")
"""The share of tenants that are awake, as `./berth simulate` finds it with 7 idle days."""
GATEWAY_PODS = 2
SERIES = 4
"""Counters of a tenant on each pod of the gateway: one for each status code that it responds with."""
MEMORY_GB = 2
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
QUEUES, POLLING_SECONDS = 2, 2
"""The task hub's work items and its one partition, asked so often by an instance that always runs (host.json)."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A number of trial tenants, and what a deployment for so many has."""

    tenants: int
    tier: str
    system_nodes: int
    always_ready: int

    @property
    def awake(self) -> int:
        """How many of them are awake."""
        return math.ceil(self.tenants * AWAKE)

    @property
    def places(self) -> int:
        """How many disks a node takes."""
        return load_assets().machines[ENTRY["tenants"]["size"]].disks

    @property
    def nodes(self) -> int:
        """How many nodes that takes: a disk for each tenant that is awake, and one node for the gateway at least."""
        return max(ENTRY["tenants"]["min"], math.ceil(self.awake / self.places))


FLEETS = (
    Fleet(0, ENTRY["tier"], ENTRY["system"]["count"], 0),
    Fleet(100, "Standard", 2, 1),
    Fleet(1000, "Standard", 2, 1),
)


def rows(fleet: Fleet) -> Iterator[tuple[str, Decimal]]:
    """Yield what a fleet consists of, and what each costs a month."""
    assets, disk = load_assets(), load_plans()["trial"].size
    nodes = fleet.system_nodes + fleet.nodes
    yield "cluster's control plane: tier Free, from 100 tenants on Standard", held(f"aks:{fleet.tier.lower()}:uptime")
    yield "nodes for AKS itself: 1, from 100 tenants on 2", held(_machine("system"), fleet.system_nodes)
    yield f"nodes for tenants, {fleet.places} disks each", held(_machine("tenants"), fleet.nodes)
    yield "the nodes' own disks", held("disk:Premium_LRS:P6", nodes)
    yield "tenants' disks", held(assets.disk_price(disk.storage_class, disk.volume_gib), fleet.tenants)
    yield (
        "load balancer, and 2 public addresses",
        held("load-balancer:first-five-rules") + held("public-ip:Standard", 2),
    )
    yield "DNS zone", held("dns:zone")
    yield "the app: timers, requests, operations", _app(fleet)
    yield "the app: instances that always run, from 100 tenants on 1 `http` and 1 `durable`", _always_ready(fleet)
    yield "tables", held("tables:Standard_LRS:data", 5) + counted("tables:Standard_LRS:operations", _operations(fleet))
    yield "logs, 2 GB for each 1,000 tenants", counted("logs:analytics", 2 * max(1, fleet.tenants // 1000))
    yield "alert rules", monthly_price(read_rules())
    yield "metrics of the gateway", counted("metrics:prometheus", _samples(fleet))


def held(price: str, quantity: int = 1) -> Decimal:
    """Return what so many of something cost that is charged by time."""
    return load_prices().book.at(PriceId(price), REGION, MOMENT).a_month * quantity


def counted(price: str, count: Decimal | int) -> Decimal:
    """Return what a number of something costs, less what is free each month."""
    found = load_prices().book.at(PriceId(price), REGION, MOMENT)
    return found.cost_of_number(max(Decimal(0), Decimal(count) - found.free))


def timer_runs() -> int:
    """Return how often timers run in a month, as functions/timers.py and infra/functions.bicep say."""
    schedules = dict(re.findall(r"(BERTH_\w+_SCHEDULE): '([^']+)'", (ROOT / "infra/functions.bicep").read_text()))
    named = re.findall(r'schedule="%?([^"%]+)%?"', (ROOT / "functions/timers.py").read_text())
    return sum(_runs_a_day(schedules.get(each, each)) for each in named) * DAYS_A_MONTH


def page(before: str) -> str:
    """Return the page with its table made anew."""
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    names = [name for name, _ in rows(FLEETS[0])]
    amounts = [[amount for _, amount in rows(fleet)] for fleet in FLEETS]
    totals = [sum(each, Decimal(0)) for each in amounts]
    table = [
        ("US dollars a month", *(f"{fleet.tenants:,} tenants" for fleet in FLEETS)),
        ("---", *("---:" for _ in FLEETS)),
        *((name, *(f"{each:,.2f}" for each in cells)) for name, *cells in zip(names, *amounts, strict=True)),
        ("**all**", *(f"**{each:,.2f}**" for each in totals)),
        ("a tenant", *(_each(total, fleet) for total, fleet in zip(totals, FLEETS, strict=True))),
    ]
    return head + BEGIN + "".join(f"| {' | '.join(cells)} |\n" for cells in table) + END + tail


def _each(total: Decimal, fleet: Fleet) -> str:
    return f"{total / fleet.tenants:,.2f}" if fleet.tenants else "-"


def _machine(pool: str) -> str:
    return f"vm:{ENTRY[pool]['size']}:linux"


def _app(fleet: Fleet) -> Decimal:
    """Timers alone are billed for a second at least; with tenants it is what assets.yaml says."""
    overhead = {each.price: each.quantity for each in load_assets().of_all}
    time, executions = PriceId("flex:on-demand:time"), PriceId("flex:on-demand:executions")
    idle = Decimal(timer_runs())
    seconds, number = (overhead[time], overhead[executions]) if fleet.tenants else (idle * MEMORY_GB, idle)
    return counted(time, seconds) + counted(executions, number)


def _always_ready(fleet: Fleet) -> Decimal:
    each = counted("flex:always-ready:time", MEMORY_GB * SECONDS_A_MONTH)
    polls = QUEUES * SECONDS_A_MONTH // POLLING_SECONDS * fleet.always_ready
    return 2 * fleet.always_ready * each + counted("queues:Standard_LRS:operations", polls)


def _operations(fleet: Fleet) -> Decimal:
    """What assets.yaml has for a fleet of a hundred, and so many more for each further one."""
    overhead = {each.price: each.quantity for each in load_assets().of_all}
    return overhead[PriceId("tables:Standard_LRS:operations")] * max(1, fleet.tenants // 100)


def _samples(fleet: Fleet) -> int:
    return GATEWAY_PODS * (1 + SERIES * (1 + fleet.awake)) * 60 * HOURS_A_MONTH


def _runs_a_day(schedule: str) -> int:
    _, minute, hour, *_ = schedule.split()
    return _times(minute, 60) * _times(hour, 24)


def _times(field: str, of: int) -> int:
    if field == "*":
        return of
    return of // int(field.removeprefix("*/")) if field.startswith("*/") else 1


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
