"""What comes out when one policy is played, for each kind of storage."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from cli.simulate.fleet import LargestSweep, NodePool, largest_sweep, operation_of, placed, seen_nodes
from cli.simulate.meter import Group, Sum, UsedDay, metered, used_days
from cli.simulate.play import PAID, TRIAL, Rules, play, uses_of
from cli.simulate.population import DAY, START, Habits, population
from cli.simulate.storage import DISK, Storage, storages, with_operations
from shared.adapters.assets import load_assets
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.domain.assets import Assets, Overhead, SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.costs import ZERO, day_bounds, overhead_cost, price_region
from shared.domain.lifecycle import OperationKind
from shared.domain.plans import Plans
from shared.domain.policy import DormancyPolicy
from shared.domain.prices import HOURS_A_MONTH
from shared.domain.uses import Transition
from shared.settings import CostSettings

type Policy = int | None
"""Idle days after which a trial is put to sleep; None is never."""

MEASURED_DAYS = 30  # the last ones: by then the fleet has both new customers and old ones


@dataclass(frozen=True, slots=True)
class Game:
    """What is played under all policies alike."""

    tenants: int
    days: int
    seed: int
    habits: Habits = field(default_factory=Habits)
    used_share: float = 0.25
    min_nodes: int = 3
    cluster_tenants: int = 5000
    region: str = "westeurope"

    @property
    def measured(self) -> int:
        """How many days costs are told of."""
        return min(MEASURED_DAYS, self.days)

    @property
    def end(self) -> datetime:
        """The moment after the last."""
        return START + self.days * DAY

    @property
    def measured_from(self) -> datetime:
        """When the days begin of which costs are told."""
        return self.end - self.measured * DAY


@dataclass(frozen=True, slots=True)
class Count:
    """How many customers there were at the end of a day, and the nodes that their clusters had then."""

    day: date
    signed_up: int
    awake: int
    asleep: int
    deleted: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy with one kind of storage.

    Attributes:
        idle_days: The policy.
        storage: The kind of storage.
        assumed: What is assumed of that.
        groups: What customers cost in the days that are measured.
        unshared: What no customer bears, because none had a pod in a cluster or none was there.
        of_berth: What berth itself cost in these days, by price.
        of_clusters: What each cluster costs besides its nodes, all together, by price.
        operations: How many operations there were in these days, by kind.
        largest_sweep: How large the largest sweeps in these days were.
        counts: The customers on each day.
        unpriced: Prices that the book does not have.
    """

    idle_days: Policy
    storage: str
    assumed: str
    groups: Mapping[Group, Sum]
    unshared: Decimal
    of_berth: Mapping[str, Decimal]
    of_clusters: Mapping[str, Decimal]
    operations: Mapping[OperationKind, int]
    largest_sweep: LargestSweep
    counts: Sequence[Count]
    unpriced: frozenset[str]


@dataclass(frozen=True, slots=True)
class Played:
    """What happened under one policy: all transitions, what was used on each day, and the transitions by cluster."""

    idle_days: Policy
    log: Sequence[Transition]
    used: Sequence[UsedDay]
    of_clusters: Mapping[ClusterName, Sequence[Transition]]


def policy_of(plans: Plans, idle_days: Policy) -> DormancyPolicy:
    """Return the policy of trials with so many idle days; a new instance gets as many more as in the plan."""
    shipped = plans[TRIAL].dormancy
    if idle_days is None:
        return replace(shipped, exempt=True)
    never_active = round(idle_days * shipped.never_active_days / shipped.idle_days)
    return replace(shipped, idle_days=idle_days, never_active_days=max(1, never_active))


def play_policy(game: Game, idle_days: Policy) -> Sequence[Outcome]:
    """Play one policy, and return what comes out with each kind of storage."""
    plans, assets = load_plans(), load_assets()
    customers = population(game.tenants, game.days, game.seed, game.habits)
    clusters = placed(customers, game.cluster_tenants)
    uses = {name: uses_of(plans, name, game.region) for name in set(clusters)}
    rules = Rules({TRIAL: policy_of(plans, idle_days), PAID: plans[PAID].dormancy}, game.end)
    logs = [play(customer, uses[name], rules) for customer, name in zip(customers, clusters, strict=True)]
    used = list(used_days([each.kind for each in customers], logs, game.days))
    of_clusters = defaultdict[ClusterName, list[Transition]](list)
    for name, log in zip(clusters, logs, strict=True):
        of_clusters[name] += log
    log = _in_order(each for log in logs for each in log)
    played = Played(idle_days, log, used, {name: _in_order(each) for name, each in of_clusters.items()})
    sweep = largest_sweep(log, plans, game.measured_from)
    reference = assets.machines[assets.reference]
    return [
        _outcome(
            game, played, storage, NodePool(assets.reference, reference, game.min_nodes, storage.name == DISK), sweep
        )
        for storage in storages(plans, assets, load_prices().book, game.used_share).values()
    ]


def _in_order(log: Iterable[Transition]) -> Sequence[Transition]:
    return sorted(log, key=lambda each: each.at)


def _outcome(game: Game, played: Played, storage: Storage, pool: NodePool, sweep: LargestSweep) -> Outcome:
    nodes = {
        name: seen_nodes(name, log, pool, day_bounds(log[0].at.date())[0], game.end)
        for name, log in played.of_clusters.items()
    }
    kinds = (operation_of(each) for each in played.log if each.at >= game.measured_from)
    operations = Counter(each for each in kinds if each is not None)
    assets, settings = _assets(game, storage, played, operations.total()), CostSettings()
    days = list(metered(played.used, nodes, game.region, assets, storage.book, settings))
    measured = days[-game.measured :]
    groups: dict[Group, Sum] = {}
    for day in measured:
        for group, each in day.groups.items():
            groups.setdefault(group, Sum()).add(each.costs, each.awake, each.asleep)
    region = price_region(storage.book, game.region, settings.price_region)

    def by_price(items: Sequence[Overhead], since: Sequence[date]) -> Mapping[str, Decimal]:
        """Return what each item costs in the measured days if one is there from each of some days on."""
        found: dict[str, Decimal] = {}
        for item in items:
            only = replace(assets, of_all=[item])
            costs = (
                overhead_cost(only, storage.book, region, *day_bounds(day.day), of_all=True)[0]
                for day in measured
                for first in since
                if first <= day.day
            )
            found[item.price] = sum(costs, ZERO)
        return found

    return Outcome(
        idle_days=played.idle_days,
        storage=storage.name,
        assumed=storage.assumed,
        groups=groups,
        unshared=sum((each.unshared for each in measured), ZERO),
        of_berth=by_price(assets.of_all, [START.date()]),
        of_clusters=by_price(assets.of_each_cluster, [each[0].at.date() for each in nodes.values()]),
        operations={kind: operations[kind] for kind in OperationKind},
        largest_sweep=sweep,
        counts=_counts(played, nodes),
        unpriced=frozenset[str]().union(*(each.unpriced for each in days)),
    )


def _assets(game: Game, storage: Storage, played: Played, operations: int) -> Assets:
    """Return what costs money besides volumes, with what the operations of the measured days add."""
    a_month = Decimal(HOURS_A_MONTH) / (24 * game.measured)
    measured = played.used[-game.measured :]
    awake, asleep = sum(each.awake for each in measured), sum(each.asleep for each in measured)
    return with_operations(storage.assets, operations * a_month, awake * a_month, asleep * a_month)


def _counts(played: Played, nodes: Mapping[ClusterName, Sequence[SeenNodes]]) -> Sequence[Count]:
    signed_up = Counter(each.at.date() for each in played.log if each.before is None)
    deleted = Counter(each.at.date() for each in played.log if each.after is None)
    found, before = list[Count](), Count(START.date(), 0, 0, 0, 0, 0)
    for used in played.used:
        end = day_bounds(used.day)[1]
        last = [seen[-1] for each in nodes.values() if (seen := [at for at in each if at.at < end])]
        before = Count(
            day=used.day,
            signed_up=before.signed_up + signed_up[used.day],
            awake=used.awake,
            asleep=used.asleep,
            deleted=before.deleted + deleted[used.day],
            nodes=sum(each.count for seen in last for each in seen.nodes),
        )
        found.append(before)
    return found
