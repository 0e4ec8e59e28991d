"""`./berth test faults --rounds N --seed S`: play the fault matrix at length and print what came of it.

After each round the stack must be whole again: every operation ended, one complete bundle and one place for each tenant
or nothing at all, capacity that adds up, nothing without an owner, no storm of requests, no unexpected exception.
"""

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.cases import Case, Field, cases, count_writes
from tests.faults.clock import SteppedClock
from tests.support.stack import ProxiedStack, proxied_stack

REST_SECONDS = 60.0
# Undisturbed, a provisioning makes 13 requests to Kubernetes and 8 writes to the tables. Each may be repeated about ten
# times within its budget of 30 s, and the whole may be started anew by a reaper.
MOST_REQUESTS = 300
ROW = "{:62}{:>7}{:>12}{:>11}{:>9}"
ENVIRONMENT = {
    "BERTH_PROVISIONING_FAIL_AFTER": "40",  # well over what any fault here lasts
    "BERTH_KUBERNETES_ATTEMPT_TIMEOUT": "2",
    "BERTH_TABLES_ATTEMPT_TIMEOUT": "2",
}


@dataclass(frozen=True)
class Result:
    """What is wrong after one round, the most requests that one tenant cost one service, and how long it took."""

    violations: Sequence[str]
    most_requests: int
    seconds: float


@asynccontextmanager
async def playing_field(seed: int) -> AsyncGenerator[Field]:
    """Run a stack to play on."""
    with tempfile.TemporaryDirectory() as directory:
        clock = SteppedClock(Path(directory) / "clock")
        async with proxied_stack({**ENVIRONMENT, **clock.environment}) as held:
            yield Field(held, clock, await count_writes(held), random.Random(seed), 0)


async def play(case: Case, field: Field) -> Result:
    """Play one round of a case and look at what is left of it."""
    berth = field.stack
    began = time.monotonic()
    errors = len(_errors(berth))
    berth.reset()
    violations: list[str] = []
    try:
        await case.play(field)
    except Exception as error:
        violations.append(f"{type(error).__name__}: {error}")
    berth.kubernetes.pass_everything()
    berth.tables.pass_everything()
    field.clock.step(0)
    violations += await berth.violations_after(seconds=REST_SECONDS)
    most = 0
    for name, requests in (("Kubernetes", berth.kubernetes.requests_of), ("the tables", berth.tables.writes_of)):
        for slug, count in requests.items():
            most = max(most, count if slug else 0)
            if count > MOST_REQUESTS:
                violations.append(f"{slug or 'watching and listing'} cost {count} requests to {name}")
    violations += _errors(berth)[errors:]
    return Result(violations, most, time.monotonic() - began)


def _errors(berth: ProxiedStack) -> list[str]:
    """Return the errors in the host's log and the exceptions of activities, which translate what is to be expected."""
    records = re.split(r"^(?=\d\d:\d\d:\d\d)", berth.stack.processes.log("host").read_text(), flags=re.MULTILINE)
    return [record.strip() for record in records if re.match(r"\S+ ERROR |.* activity .* raised ", record)]


async def main() -> int:
    """Play, print the table, and return the exit code: 0 only without a violation."""
    parser = argparse.ArgumentParser(prog="./berth test faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of each case (1); a round strikes at another write")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance (1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="play just the cases whose names contain TEXT")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in case.name]
    wrong: list[str] = []
    print(ROW.format("case", "rounds", "violations", "requests*", "seconds"))
    async with playing_field(options.seed) as field:
        for case in chosen:
            results = [await play(case, replace(field, number=number)) for number in range(options.rounds)]
            violations = [violation for result in results for violation in result.violations]
            most, seconds = max(result.most_requests for result in results), sum(result.seconds for result in results)
            print(ROW.format(case.name, options.rounds, len(violations), most, f"{seconds:.0f}"), flush=True)
            for violation in violations:
                print(f"    {violation}")
            wrong += violations
    print(f"\n{len(chosen)} cases, {len(chosen) * options.rounds} rounds, {len(wrong)} violations")
    print("* the most that one tenant cost Kubernetes or the tables in a round")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
