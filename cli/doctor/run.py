"""`./berth doctor`: checks a berth and says what is missing; what comes by itself is waited for."""

import argparse
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

from rich.table import Table

from cli.api import Api
from cli.deploy.azure import Azure
from cli.deploy.commands import Commands, SystemCommands
from cli.deploy.deployment import deployment
from cli.deploy.run import key_of_app
from cli.deploy.waiting import NotYetError, Waiting
from cli.doctor.app import check_app
from cli.doctor.azure import check_azure
from cli.doctor.check import Check, State, are_well
from cli.output import console
from cli.running import connect

type Look = Callable[[], Awaitable[Sequence[Check]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to check another berth than the running stack."
    parser.add_argument(
        "--azure", action="store_true", help="check the deployment that azd knows, and ask Azure too; needs az"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for what comes by itself, such as a role (default: %(default)g)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 for a warning, too")
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace, commands: Commands | None = None) -> int:
    """Check all, print the result, and return 1 if something is missing."""
    out = console(stderr=options.json)
    waiting = Waiting(options.wait, say=out.print)
    if options.azure:
        commands = commands or SystemCommands()
        found = await deployment(commands)
        azure = Azure(commands, found, waiting)
        key = await key_of_app(azure)
        at_once = Azure(commands, found, Waiting(0, say=out.print))

        async def look() -> Sequence[Check]:
            async with Api(found.app_url, key) as api:
                return [*await check_azure(at_once, found), *await check_app(api)]

    else:

        async def look() -> Sequence[Check]:
            async with connect(operator=True) as api:
                return await check_app(api)

    checks = await settled(look, waiting)
    if options.json:
        print(json.dumps([asdict(each) for each in checks], indent=2))
    else:
        out.print(table(checks))
    return 0 if are_well(checks, strict=options.strict) else 1


async def settled(look: Look, waiting: Waiting) -> Sequence[Check]:
    """Return the checks once none of them waits any more, or those of the deadline."""
    checks: Sequence[Check] = ()

    async def attempt() -> None:
        nonlocal checks
        checks = await look()
        if late := [f"{each.part}: {each.text}" for each in checks if each.state is State.WAITS]:
            raise NotYetError("; ".join(late))

    with contextlib.suppress(NotYetError):  # each says so itself
        await waiting.until(attempt)
    return checks


def table(checks: Sequence[Check]) -> Table:
    """Return the checks for the terminal."""
    shown = Table("part", "state", "", box=None)
    for each in checks:
        shown.add_row(each.part, each.state, each.text)
    return shown
