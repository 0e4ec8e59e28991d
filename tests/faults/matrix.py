"""`./berth test faults --rounds N --seed S`: run the whole fault matrix and print the results.

After each round all invariants of cli/invariants.py must hold, no tenant may have cost more than a limit of requests,
and the host's log may have no unexpected exception.
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

from tests.faults.cases import Case, Round, cases, count_writes
from tests.faults.clock import SteppedClock
from tests.support.stack import ProxiedStack, proxied_stack

SETTLE_SECONDS = 60.0
# Without a fault, a provisioning makes about 13 requests to Kubernetes and 9 writes to the tables. Each may be retried
# about ten times within its total timeout of 30 s, and recovery may start the operation again.
MAX_REQUESTS = 300
ROW = "{:62}{:>7}{:>12}{:>11}{:>9}"
ENVIRONMENT = {
    "BERTH_PROVISIONING_FAIL_AFTER": "40",  # much longer than any fault here
    "BERTH_KUBERNETES_ATTEMPT_TIMEOUT": "2",
    "BERTH_TABLES_ATTEMPT_TIMEOUT": "2",
}


@dataclass(frozen=True)
class Result:
    """The violations after one round, the most requests of one tenant to one service, and the seconds that it took."""

    violations: Sequence[str]
    max_requests: int
    seconds: float


@asynccontextmanager
async def first_round(seed: int) -> AsyncGenerator[Round]:
    """Run a stack and yield the round with the number 0."""
    with tempfile.TemporaryDirectory() as directory:
        clock = SteppedClock(Path(directory) / "clock")
        async with proxied_stack({**ENVIRONMENT, **clock.environment}) as held:
            yield Round(held, clock, await count_writes(held), random.Random(seed), 0)


async def run_case(case: Case, current: Round) -> Result:
    """Run one round of a case and check the stack afterwards."""
    berth = current.stack
    began = time.monotonic()
    errors = len(_errors(berth))
    berth.reset()
    violations: list[str] = []
    try:
        await case.run(current)
    except Exception as error:
        violations.append(f"{type(error).__name__}: {error}")
    berth.kubernetes.pass_everything()
    berth.tables.pass_everything()
    current.clock.step(0)
    violations += await berth.violations_after(seconds=SETTLE_SECONDS)
    largest = 0
    for name, requests in (("Kubernetes", berth.kubernetes.requests_of), ("the tables", berth.tables.writes_of)):
        for slug, count in requests.items():
            largest = max(largest, count if slug else 0)
            if count > MAX_REQUESTS:
                violations.append(f"{slug or 'watching and listing'} took {count} requests to {name}")
    violations += _errors(berth)[errors:]
    return Result(violations, largest, time.monotonic() - began)


def _errors(berth: ProxiedStack) -> list[str]:
    """Return the errors in the host's log and the exceptions of activities: expected errors would be outcomes."""
    records = re.split(r"^(?=\d\d:\d\d:\d\d)", berth.stack.processes.log("host").read_text(), flags=re.MULTILINE)
    return [record.strip() for record in records if re.match(r"\S+ ERROR |.* activity .* raised ", record)]


async def main() -> int:
    """Run the matrix, print the table, and return the exit code: 0 only without a violation."""
    parser = argparse.ArgumentParser(prog="./berth test faults", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=1, help="rounds of each case (1); each injects the fault at another write"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="run only the cases whose names contain TEXT")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in case.name]
    all_violations: list[str] = []
    print(ROW.format("case", "rounds", "violations", "requests*", "seconds"))
    async with first_round(options.seed) as start:
        for case in chosen:
            results = [await run_case(case, replace(start, number=number)) for number in range(options.rounds)]
            violations = [violation for result in results for violation in result.violations]
            largest, seconds = max(result.max_requests for result in results), sum(result.seconds for result in results)
            print(ROW.format(case.name, options.rounds, len(violations), largest, f"{seconds:.0f}"), flush=True)
            for violation in violations:
                print(f"    {violation}")
            all_violations += violations
    print(f"\n{len(chosen)} cases, {len(chosen) * options.rounds} rounds, {len(all_violations)} violations")
    print("* the most requests of one tenant to Kubernetes or the tables in a round")
    return 1 if all_violations else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
