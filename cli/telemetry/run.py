"""The command: reads the stand-in of the running stack, or a file that one has recorded."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import httpx

from cli.api import Json
from cli.output import console
from cli.running import TargetError, running
from cli.telemetry.items import about, items, points, trace_of
from cli.telemetry.views import logs, metrics, requests, traces

LIMITS = {"requests": 20, "traces": 1, "metrics": 1000, "logs": 50}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "On Azure, see Application Insights; docs/telemetry.md says what to ask it."
    parser.add_argument("what", nargs="?", choices=LIMITS, default="requests", help="what to show (default: requests)")
    parser.add_argument("--tenant", metavar="SLUG", default="", help="only traces that are about this tenant")
    parser.add_argument("--operation", metavar="ID", default="", help="only traces that are about this operation")
    parser.add_argument("--trace", metavar="ID", default="", help="only this trace; the first characters are enough")
    parser.add_argument("--limit", type=int, metavar="N", help="the last N (default: 20 requests, 1 trace, 50 records)")
    parser.add_argument("--file", type=Path, help="read the envelopes from a file that local.telemetry has recorded")
    parser.add_argument("--json", action="store_true", help="print the envelopes of the traces as JSON")


async def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    envelopes = _recorded(options.file) if options.file else await _fetch()
    found = about(items(envelopes), tenant=options.tenant, operation=options.operation, trace=options.trace)
    if options.json:
        chosen = {each.trace for each in found}
        asked = options.tenant or options.operation or options.trace
        print(json.dumps([each for each in envelopes if not asked or trace_of(each) in chosen], indent=2))
        return 0
    out, limit = console(), options.limit or LIMITS[options.what]
    if options.what == "metrics":
        grid = metrics(points(envelopes))
    elif options.what == "traces":
        trees = traces(found, limit)
        for tree in trees:
            out.print(tree)
        if not trees:
            out.print("nothing was sent that fits")
        return 0
    else:
        grid = (requests if options.what == "requests" else logs)(found, limit)
    out.print(grid.table if grid.rows else "nothing was sent that fits")
    return 0


def _recorded(file: Path) -> Sequence[Json]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


async def _fetch() -> Sequence[Json]:
    if os.environ.get("BERTH_URL"):
        raise TargetError(
            "BERTH_URL is set: that berth sends its telemetry to Application Insights, and docs/telemetry.md says what "
            "to ask it; unset BERTH_URL and BERTH_KEY to see the telemetry of the running stack"
        )
    url = running().telemetry
    if not url:
        raise TargetError("the running stack has no telemetry; ./berth up starts one that has")
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            response = (await http.get(f"{url}/envelopes")).raise_for_status()
    except httpx.HTTPError as error:
        raise TargetError(
            f"the stack's telemetry does not respond ({error}); ./berth logs telemetry may say why"
        ) from error
    return response.json()["items"]
