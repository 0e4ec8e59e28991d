"""The report of a simulation: what customers cost a month, whether the goals are met, and how it was computed."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from cli.simulate.meter import Group, Sum
from cli.simulate.outcome import Game, Outcome, Policy
from cli.simulate.play import TRIAL
from cli.simulate.population import DAY, FOUR_WEEKS, START, Kind
from cli.simulate.storage import DISK, METERED, OPERATION
from shared.adapters.assets import load_assets
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.domain.costs import ZERO
from shared.domain.prices import HOURS_A_MONTH
from shared.settings import CostSettings, SweepSettings

GOALS = {"low_use": 5.0, "asleep": 1.0, "control_plane": 0.05}  # dollars a month
DIGITS = 6  # of dollars in JSON


def as_json(game: Game, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the report. `cost_per_month` is that of the plan as it is, with disks."""
    shipped = load_plans()[TRIAL].dormancy.idle_days
    disks = [each for each in outcomes if each.storage == DISK]
    (as_it_is,) = [each for each in disks if each.idle_days == shipped]
    never = {each.storage: _per_customer(each) for each in outcomes if each.idle_days is None}
    return {
        "tenants": game.tenants,
        "days": game.days,
        "seed": game.seed,
        "region": game.region,
        "first_day": START.date().isoformat(),
        "measured_days": game.measured,
        "price_book": load_prices().book.version,
        "population": list(game.habits.in_words),
        "rules": _rules(game),
        "storages": {each.storage: each.assumed for each in outcomes},
        "cost_per_month": {**_cost_per_month(as_it_is, game), "idle_days": shipped, "storage": DISK, "goals": GOALS},
        "goals_met_by": _goals_met(outcomes, game),
        "runs": [_run(each, never.get(each.storage), game) for each in outcomes],
        "warnings": _warnings(outcomes),
    }


def policy_name(idle_days: Policy) -> str:
    """Return the name of a policy."""
    return "never" if idle_days is None else str(idle_days)


def _run(outcome: Outcome, never: Decimal | None, game: Game) -> dict[str, Any]:
    all_of_them, measured = _sum(outcome, lambda _: True), _cost_per_month(outcome, game)
    mean = _per_customer(outcome)
    return {
        "idle_days": outcome.idle_days,
        "storage": outcome.storage,
        "cost_per_month": measured,
        "customer": _dollars(mean),
        "saved_by_sleep": None if never is None else _dollars(never - mean),
        "by_kind": {kind: _dollars(_a_month(_sum(outcome, lambda each, kind=kind: each[0] is kind))) for kind in Kind},
        "components": {
            name: _dollars(cost / all_of_them.hours * HOURS_A_MONTH) for name, cost in sorted(all_of_them.costs.items())
        },
        "awake_share": round(float(all_of_them.awake / all_of_them.hours), 4),
        "unshared": _dollars(outcome.unshared),
        "operations": outcome.operations,
        "largest_sweep": {
            "tenants": outcome.largest_sweep.tenants,
            "share": round(outcome.largest_sweep.share, 4),
        },
        "days": [
            {
                "day": each.day.isoformat(),
                "signed_up": each.signed_up,
                "awake": each.awake,
                "asleep": each.asleep,
                "deleted": each.deleted,
                "nodes": each.nodes,
            }
            for each in outcome.counts
        ],
    }


def _cost_per_month(outcome: Outcome, game: Game) -> dict[str, Any]:
    """Return the three costs with which the goals are compared, and how each was computed."""
    low_use = _sum(outcome, lambda each: each[0] is Kind.LOW_USE)
    asleep = _sum(outcome, lambda each: each[1] == TRIAL and each[2])
    hours = _sum(outcome, lambda _: True).hours
    of_berth, of_clusters = sum(outcome.of_berth.values(), ZERO), sum(outcome.of_clusters.values(), ZERO)
    return {
        "low_use": _dollars(_a_month(low_use)),
        "asleep": _dollars(_a_month(asleep)),
        "control_plane": _dollars(of_berth / hours * HOURS_A_MONTH),
        "clusters": _dollars(of_clusters / hours * HOURS_A_MONTH),
        "how": {
            "low_use": f"customers with low use, that is a trial that is used on {game.habits.low_use_days} of "
            f"{FOUR_WEEKS} days, awake or asleep, with all their shares: {_in_words(low_use)}",
            "asleep": f"all days on which a trial was asleep from 00:00 to 24:00, of any customer: {_in_words(asleep)}",
            "control_plane": "berth itself, the overhead of all clusters together, for each customer awake or asleep: "
            f"{_division(of_berth, hours)}. It is {_items(outcome.of_berth)}",
            "clusters": "what each cluster costs besides its nodes, such as AKS's control plane, for each customer "
            f"awake or asleep: {_division(of_clusters, hours)}. It is {_items(outcome.of_clusters)}",
        },
    }


def _goals_met(outcomes: Sequence[Outcome], game: Game) -> dict[str, list[str]]:
    """Return under which policies and storages each goal is met."""
    costs = [(f"{policy_name(each.idle_days)} with {each.storage}", _cost_per_month(each, game)) for each in outcomes]
    return {
        goal: [name for name, cost in costs if cost[goal] is not None and cost[goal] < most]
        for goal, most in GOALS.items()
    }


def _rules(game: Game) -> list[str]:
    assets, settings = load_assets(), CostSettings()
    machine = assets.machines[assets.reference]
    operation = ", ".join(f"{each.normalize():f} of {name}" for name, each in OPERATION.items())
    plan = load_plans()[TRIAL].dormancy
    return [
        f"costs are those of the last {game.measured} of {game.days} days, until "
        f"{(START + game.days * DAY).date()}, for {HOURS_A_MONTH} hours of a customer",
        "who sleeps is decided by berth's rule every night at 02:30 UTC; with other idle days, a new instance is given "
        f"{plan.never_active_days / plan.idle_days:g} times as many before it may sleep, as in the plan. "
        "Who opens the address of a tenant that sleeps wakes it. Operations take no time",
        f"nodes are {assets.reference} ({machine.cpu_millicores / 1000:g} cores, {machine.memory_mib / 1024:g} GiB, "
        f"{machine.disks} disks), in each hour as many as the most that are awake in it need, at least {game.min_nodes}"
        f" a cluster; a cluster has at most {game.cluster_tenants} tenants. What AKS keeps of a node is not counted",
        f"idle is shared {settings.share_idle}, overhead {settings.share_overhead}",
        "berth itself is the overhead `all` of shared/assets.yaml and, on top of that, for each operation at most "
        f"{operation}, and {METERED[True]} table requests a day for each tenant awake, {METERED[False]} asleep",
    ]


def _warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what a reader has to know: sweeps that would be refused, and costs that nobody bears."""
    sweeps, found = SweepSettings(schedule="0 30 2 * * *"), list[str]()
    for each in outcomes:
        largest, limits = each.largest_sweep, list[str]()
        if largest.tenants > sweeps.max_tenants:
            limits.append(f"{largest.tenants} tenants (BERTH_SWEEP_MAX_TENANTS is {sweeps.max_tenants})")
        if largest.share > sweeps.max_share:
            limits.append(f"{largest.share:.1%} of what is awake (BERTH_SWEEP_MAX_SHARE is {sweeps.max_share:g})")
        if limits and each.storage == DISK:
            found.append(
                f"with {policy_name(each.idle_days)} idle days, sweeps put up to {' and '.join(limits)} to sleep in "
                "one night: raise that, or they refuse, and nobody sleeps"
            )
        if each.unshared:
            found.append(
                f"with {policy_name(each.idle_days)} idle days and {each.storage}, nobody was awake for a while: "
                f"${each.unshared:.2f} in all are in the cost of no customer"
            )
    return found


def _sum(outcome: Outcome, counts: Callable[[Group], bool]) -> Sum:
    found = Sum()
    for group, each in sorted(outcome.groups.items()):
        if counts(group):
            found.add(each.costs, each.awake, each.asleep)
    return found


def _per_customer(outcome: Outcome) -> Decimal:
    found = _a_month(_sum(outcome, lambda _: True))
    assert found is not None  # somebody has signed up
    return found


def _a_month(of: Sum) -> Decimal | None:
    return of.total / of.hours * HOURS_A_MONTH if of.hours else None


def _dollars(cost: Decimal | None) -> float | None:
    return None if cost is None else round(float(cost), DIGITS)


def _in_words(of: Sum) -> str:
    if not of.hours:
        return "there was none"
    parts = " + ".join(f"{name} {cost:.2f}" for name, cost in sorted(of.costs.items()))
    return f"{_division(of.total, of.hours)}. It is {parts}; awake for {of.awake / of.hours:.1%} of the time"


def _division(cost: Decimal, hours: Decimal) -> str:
    return f"${cost:.2f} / {hours:.0f} customer-hours * {HOURS_A_MONTH} h = ${cost / hours * HOURS_A_MONTH:.4f}"


def _items(costs: Mapping[str, Decimal]) -> str:
    return " + ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
