"""`./berth test faults --rounds N --seed S`: run the whole fault matrix and print the results.

After each round all invariants of cli/invariants.py must hold, no tenant may have cost more than a limit of requests,
and the host's log may have no unexpected exception. A round whose fault hit no request is run again, at another write
and with other random numbers; after some tries it is reported as not struck.
"""

import argparse
import asyncio
import random
import re
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from local.clock import new_clock
from tests.faults import sweep
from tests.faults.cases import Case, Round, cases, count_writes
from tests.faults.faults import DidNotStrikeError
from tests.support.stack import ProxiedStack, proxied_stack

SETTLE_SECONDS = 60.0  # and the redelivery, with which what a killed worker left undone may be done
# Without a fault, a provisioning makes about 16 requests to Kubernetes and 9 writes to the tables. Each may be retried
# about ten times within its total timeout of 30 s, and recovery may start the operation again.
MAX_REQUESTS = 300
ATTEMPT_STEP = 7  # from a write that was not made to another one
TRIES = 3  # of a round whose fault hits nothing
FAIL_AFTER_SECONDS = 40  # much longer than any fault here, without the redelivery
ROW = "{:84}{:>7}{:>7}{:>12}{:>11}{:>9}"
KILLED = re.compile(r"\S+ ERROR +host +worker process \d+ ended with code -9\b")  # as some cases do
ENVIRONMENT = {
    "BERTH_KUBERNETES_ATTEMPT_TIMEOUT": "2",
    "BERTH_TABLES_ATTEMPT_TIMEOUT": "2",
    **sweep.SETTINGS,
}


@dataclass(frozen=True)
class Result:
    """Whether the fault of a round struck, the violations after it, the most requests of one tenant to one service,
    the seconds that it took, and what the host logged meanwhile.
    """

    struck: bool
    violations: Sequence[str]
    max_requests: int
    seconds: float
    log: str


@asynccontextmanager
async def first_round(seed: int, *, workers: int = 1, redelivery: float = 0.0) -> AsyncGenerator[Round]:
    """Run a stack and yield the round with the number 0."""
    with tempfile.TemporaryDirectory() as directory:
        clock = new_clock(Path(directory) / "clock")
        environment = {
            **ENVIRONMENT,
            **clock.environment,
            "BERTH_PROVISIONING_FAIL_AFTER": str(FAIL_AFTER_SECONDS + round(3 * redelivery)),
        }
        async with proxied_stack(environment, workers=workers, redelivery=redelivery) as held:
            yield Round(held, clock, await count_writes(held), random.Random(seed), 0, redelivery)


async def run_case(case: Case, current: Round) -> Result:
    """Run one round of a case, again if its fault hits nothing, and check the stack afterwards."""
    result = await _try_case(case, current)
    for attempt in range(1, TRIES):
        if result.struck or result.violations:
            break
        result = await _try_case(case, replace(current, number=current.number + attempt * ATTEMPT_STEP))
    return result


async def _try_case(case: Case, current: Round) -> Result:
    berth = current.stack
    began = time.monotonic()
    errors, logged = len(_errors(berth)), len(_log(berth))
    berth.reset()
    violations: list[str] = []
    struck = True
    try:
        await case.run(current)
    except DidNotStrikeError:
        struck = False
    except Exception as error:
        where = " > ".join(frame.name for frame in traceback.extract_tb(error.__traceback__))
        violations.append(f"{type(error).__name__} in {where}: {error}")
    berth.kubernetes.pass_everything()
    berth.tables.pass_everything()
    current.clock.step(timedelta())
    violations += await berth.violations_after(seconds=SETTLE_SECONDS + current.redelivery)
    largest = 0
    for name, requests in (("Kubernetes", berth.kubernetes.requests_of), ("the tables", berth.tables.writes_of)):
        for slug, count in requests.items():
            largest = max(largest, count if slug else 0)
            if count > MAX_REQUESTS:
                violations.append(f"{slug or 'watching and listing'} took {count} requests to {name}")
    violations += _errors(berth)[errors:]
    return Result(struck, violations, largest, time.monotonic() - began, _log(berth)[logged:])


def _log(berth: ProxiedStack) -> str:
    return berth.stack.processes.log("host").read_text()


def _errors(berth: ProxiedStack) -> list[str]:
    """Return the errors in the host's log and the exceptions of activities: expected errors would be outcomes."""
    records = re.split(r"^(?=\d\d:\d\d:\d\d)", _log(berth), flags=re.MULTILINE)
    errors = [record.strip() for record in records if re.match(r"\S+ ERROR |.* activity .* raised ", record)]
    return [error for error in errors if not KILLED.match(error)]


async def main() -> int:
    """Run the matrix, print the table, and return the exit code: 0 only without a violation."""
    parser = argparse.ArgumentParser(prog="./berth test faults", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=1, help="rounds of each case (1); each injects the fault at another write"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="run only the cases whose names contain TEXT")
    parser.add_argument("--workers", type=int, default=1, help="processes that run the app (1); some cases need 2")
    parser.add_argument(
        "--redelivery", type=float, default=0.0, metavar="SECONDS", help="as of ./berth up (0); stopped workers need 1"
    )
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in case.name and case.workers <= options.workers]
    if options.workers > 1 and options.redelivery < 1:
        parser.error("several workers need --redelivery 1 or more: without it, a stopped worker keeps its work")
    everything: list[Result] = []
    print(ROW.format("case", "rounds", "struck", "violations", "requests*", "seconds"))
    async with first_round(options.seed, workers=options.workers, redelivery=options.redelivery) as start:
        for case in chosen:
            results = [await run_case(case, each) for each in _rounds(case, start, options.rounds, options.seed)]
            print(_row(case.name, results), flush=True)
            for result in results:
                if result.violations:
                    print(textwrap.indent("\n".join([*result.violations, "the host's log:", result.log]), "    "))
            everything += results
    print(_row(f"\n{len(chosen)} cases", everything) if everything else "no case has such a name")
    print("* the most requests of one tenant to Kubernetes or the tables in a round")
    return 1 if any(result.violations for result in everything) else 0


def _rounds(case: Case, start: Round, count: int, seed: int) -> Iterator[Round]:
    """Yield the rounds of a case, the same ones whichever other cases are run."""
    first = random.Random(f"{seed} {case.name}").randrange(1000)
    for number in range(first, first + count):
        yield replace(start, number=number, source=random.Random(f"{seed} {case.name} {number}"))


def _row(name: str, results: Sequence[Result]) -> str:
    struck = sum(result.struck for result in results)
    violations = sum(len(result.violations) for result in results)
    largest, seconds = max(result.max_requests for result in results), sum(result.seconds for result in results)
    return ROW.format(name, len(results), struck, violations, largest, f"{seconds:.0f}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
