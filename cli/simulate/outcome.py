"""What comes out when one policy is played, for each kind of storage."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from cli.simulate.fleet import NodePool, placed, seen_nodes
from cli.simulate.meter import Day, Fleet, Group, Sum, metered
from cli.simulate.play import PAID, TRIAL, Rules, play, uses_of
from cli.simulate.population import DAY, START, Habits, population
from cli.simulate.storage import DISK, Storage, storages, with_operations
from shared.adapters.assets import load_assets
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.domain.assets import Assets, Overhead
from shared.domain.clusters import ClusterName
from shared.domain.costs import ZERO, day_bounds, overhead_cost, price_region
from shared.domain.plans import Plans
from shared.domain.policy import DormancyPolicy
from shared.domain.prices import HOURS_A_MONTH
from shared.domain.uses import Transition, spans
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
        most_in_a_night: How many the largest sweep of all days put to sleep.
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
    operations: Mapping[str, int]
    most_in_a_night: int
    counts: Sequence[Count]
    unpriced: frozenset[str]


def policy_of(plans: Plans, idle_days: Policy) -> DormancyPolicy:
    """Return the policy of trials with so many idle days; a new instance gets as many more as in the plan."""
    shipped = plans[TRIAL].dormancy
    if idle_days is None:
        return replace(shipped, exempt=True)
    never_active = round(idle_days * shipped.never_active_days / shipped.idle_days)
    return replace(shipped, idle_days=idle_days, never_active_days=max(1, never_active))


def play_policy(game: Game, idle_days: Policy) -> Sequence[Outcome]:
    """Play one policy."""
    plans, assets = load_plans(), load_assets()
    customers = population(game.tenants, game.days, game.seed, game.habits)
    end = START + game.days * DAY
    clusters = placed(customers, game.cluster_tenants)
    uses = {name: uses_of(plans, name, game.region) for name in set(clusters)}
    rules = Rules({TRIAL: policy_of(plans, idle_days), PAID: plans[PAID].dormancy}, end)
    logs = [play(customer, uses[name], rules) for customer, name in zip(customers, clusters, strict=True)]
    of_clusters = defaultdict[ClusterName, list[Transition]](list)
    for name, log in zip(clusters, logs, strict=True):
        of_clusters[name] += log
    outcomes: list[Outcome] = []
    for storage in storages(plans, assets, load_prices().book, game.used_share).values():
        pool = NodePool(assets.reference, assets.machines[assets.reference], game.min_nodes, storage.name == DISK)
        nodes = {}
        for name, log in of_clusters.items():
            first = log[0].at.replace(hour=0, minute=0)
            nodes[name] = seen_nodes(name, sorted(log, key=lambda each: each.at), pool, first, end)
        fleet = Fleet([each.kind for each in customers], logs, nodes, game.region)
        outcomes.append(_outcome(game, idle_days, storage, fleet))
    return outcomes


def _outcome(game: Game, idle_days: Policy, storage: Storage, fleet: Fleet) -> Outcome:
    began = START + (game.days - game.measured) * DAY
    operations = Counter(_kind(each) for log in fleet.logs for each in log if each.at >= began)
    operations.pop("", None)
    nights = Counter(each.at for log in fleet.logs for each in log if _kind(each) == "hibernate")
    assets = _assets(game, storage, fleet, sum(operations.values()))
    settings = CostSettings()
    days = list(metered(fleet, game.days, assets, storage.book, settings))
    measured = days[-game.measured :]
    groups: dict[Group, Sum] = {}
    for day in measured:
        for group, each in day.groups.items():
            groups.setdefault(group, Sum()).add(each.costs, each.awake, each.asleep)
    region = price_region(storage.book, game.region, settings.price_region)

    def by_price(items: Sequence[Overhead], since: Sequence[date]) -> Mapping[str, Decimal]:
        """Return what each item costs in the measured days, since so many days each."""
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
        idle_days=idle_days,
        storage=storage.name,
        assumed=storage.assumed,
        groups=groups,
        unshared=sum((each.unshared for each in measured), ZERO),
        of_berth=by_price(assets.of_all, [START.date()]),
        of_clusters=by_price(assets.of_each_cluster, [each[0].at.date() for each in fleet.nodes.values()]),
        operations=dict(sorted(operations.items())),
        most_in_a_night=max(nights.values(), default=0),
        counts=_counts(fleet, days),
        unpriced=frozenset[str]().union(*(each.unpriced for each in days)),
    )


def _kind(transition: Transition) -> str:
    """Return the kind of the operation that ended with a transition; another plan alone is none."""
    before, after = transition.before, transition.after
    if before is None or after is None:
        return "provision" if before is None else "delete"
    if before.awake == after.awake:
        return ""
    return "wake" if after.awake else "hibernate"


def _assets(game: Game, storage: Storage, fleet: Fleet, operations: int) -> Assets:
    """Return what costs money besides volumes, with what the operations of the measured days add."""
    end = START + game.days * DAY
    lasted = {True: timedelta(0), False: timedelta(0)}
    for log in fleet.logs:
        for span in spans(None, log, end - game.measured * DAY, end):
            lasted[span.use.awake] += span.end - span.start
    a_month = Decimal(HOURS_A_MONTH) / (24 * game.measured)
    days = {awake: Decimal(each // timedelta(hours=1)) / 24 * a_month for awake, each in lasted.items()}
    return with_operations(storage.assets, operations * a_month, days[True], days[False])


def _counts(fleet: Fleet, days: Sequence[Day]) -> Sequence[Count]:
    signed_up = Counter(log[0].at.date() for log in fleet.logs)
    deleted = Counter(each.at.date() for log in fleet.logs for each in log if each.after is None)
    found: list[Count] = []
    for day in days:
        end = day_bounds(day.day)[1]
        nodes = 0
        for seen in fleet.nodes.values():
            last = [each for each in seen if each.at < end][-1:]
            nodes += sum(each.count for at in last for each in at.nodes)
        before = found[-1] if found else Count(day.day, 0, 0, 0, 0, 0)
        found.append(
            Count(
                day.day,
                before.signed_up + signed_up[day.day],
                day.awake,
                day.asleep,
                before.deleted + deleted[day.day],
                nodes,
            )
        )
    return found
