"""`./berth simulate`: plays a population under several policies and kinds of storage."""

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from cli.output import console
from cli.simulate.outcome import Game, Outcome, Policy, play_policy
from cli.simulate.population import FOUR_WEEKS, Habits
from cli.simulate.report import as_json
from cli.simulate.tables import print_report
from shared.adapters.plans import load_plans

NEVER = "never"
POLICIES = "never,14,7,3,1"
MAX_DAYS = 3650


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    habits = Habits()
    parser.add_argument("--tenants", type=_number(1, 1_000_000), default=10_000, help="signups (default: 10000)")
    parser.add_argument("--days", type=_number(1, MAX_DAYS), default=90, help="days that are played (default: 90)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same result (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--policies",
        type=_policies,
        default=_policies(POLICIES),
        metavar="DAYS,…",
        help=f"days without use after which a trial is put to sleep; that of the plan is always there ({POLICIES})",
    )
    parser.add_argument(
        "--abandonment",
        type=_share,
        default=habits.abandonment,
        help=f"share of customers that leaves within days (default: {habits.abandonment})",
    )
    parser.add_argument(
        "--conversion",
        type=_share,
        default=habits.conversion,
        help=f"share that pays after the trial; all others have low use (default: {habits.conversion})",
    )
    parser.add_argument(
        "--low-use-days",
        type=_number(1, FOUR_WEEKS),
        default=habits.low_use_days,
        help=f"on how many days of four weeks a customer with low use comes (default: {habits.low_use_days})",
    )
    parser.add_argument(
        "--used-share", type=_share, default=0.25, help="which part of its volume a tenant uses (default: 0.25)"
    )
    parser.add_argument(
        "--min-nodes", type=_number(1, 1000), default=3, help="nodes of a cluster at least (default: 3, one a zone)"
    )
    parser.add_argument(
        "--cluster-tenants",
        type=_number(1, 100_000),
        default=5000,
        help="tenants of a cluster at most, awake or asleep (default: 5000, beside which ./berth bench wake measures)",
    )
    parser.add_argument("--region", default="westeurope", help="whose prices hold (default: westeurope)")


def run(options: argparse.Namespace) -> int:
    """Play, and print what it costs."""
    if options.abandonment + options.conversion > 1:
        options.fail("--abandonment and --conversion together must be at most 1")
    game = Game(
        tenants=options.tenants,
        days=options.days,
        seed=options.seed,
        habits=Habits(options.abandonment, options.conversion, options.low_use_days),
        used_share=options.used_share,
        min_nodes=options.min_nodes,
        cluster_tenants=options.cluster_tenants,
        region=options.region,
    )
    outcomes = simulate(game, options.policies)
    unpriced = sorted(frozenset[str]().union(*(each.unpriced for each in outcomes)))
    if unpriced:
        missing = f"{', '.join(unpriced)} in {options.region}"
        print(f"berth: there is no price of {missing}: enter it into shared/prices.yaml", file=sys.stderr)
        return 1
    report = as_json(game, outcomes)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_report(console(), report)
    print(f"simulated in {_cpu_seconds():.1f} s of CPU", file=sys.stderr)
    return 0


def simulate(game: Game, policies: Sequence[Policy]) -> Sequence[Outcome]:
    """Return what comes out under each policy, and that of the plan, for each kind of storage."""
    shipped = load_plans()["trial"].dormancy.idle_days
    played = sorted({*policies, shipped}, key=lambda each: (each is not None, -(each or 0)))
    workers = min(len(played), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # The fewest idle days first: these take longest.
        playing = [pool.submit(play_policy, game, each) for each in reversed(played)]
        return [each for found in reversed(playing) for each in found.result()]


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        found = int(text)
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}")
        return found

    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return share


def _policies(text: str) -> Sequence[Policy]:
    def read() -> Iterator[Policy]:
        for each in text.split(","):
            if each == NEVER:
                yield None
            elif each.isdecimal() and 1 <= int(each) <= MAX_DAYS:
                yield int(each)
            else:
                raise argparse.ArgumentTypeError(
                    f"{each!r} is neither {NEVER} nor a number of days from 1 to {MAX_DAYS}"
                )

    return list(read())
