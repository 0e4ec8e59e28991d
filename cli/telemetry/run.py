"""The command: reads the stand-in of the running stack, or a file that one has recorded."""

import argparse
import gzip
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import httpx

from cli.api import Json
from cli.arguments import at_least
from cli.output import console
from cli.running import TargetError, running
from cli.telemetry.items import about, chosen, items, measured, of_metrics, of_operations
from cli.telemetry.views import logs, metrics, requests, traces

LIMITS = {"requests": 20, "traces": 1, "logs": 50}
QUERIES = "docs/monitoring.md has the queries for it"
GZIP = b"\x1f\x8b"  # how such a file begins
NOTHING = "nothing was sent that fits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = f"On Azure, ask Application Insights; {QUERIES}."
    parser.add_argument(
        "what", nargs="?", choices=(*LIMITS, "metrics"), default="requests", help="what to show (default: requests)"
    )
    parser.add_argument(
        "--tenant",
        metavar="SLUG",
        default="",
        help="only what is about this tenant; of traces that of its last operation",
    )
    parser.add_argument("--operation", metavar="ID", default="", help="only what is about this operation")
    parser.add_argument("--trace", metavar="ID", default="", help="only this trace; the first characters are enough")
    parser.add_argument(
        "--limit", type=at_least(1), metavar="N", help="the last N (default: 20 requests, 1 trace, 50 log records)"
    )
    parser.add_argument(
        "--file", type=Path, help="read a file that ./berth demo --telemetry or local.telemetry has recorded"
    )
    parser.add_argument("--json", action="store_true", help="print the envelopes of what is shown as JSON")


async def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    if options.what == "metrics" and (options.tenant or options.operation or options.trace or options.limit):
        options.fail(
            "all metrics are shown, and none is about a tenant: leave out --tenant, --operation, --trace, --limit"
        )
    envelopes = _recorded(options.file) if options.file else await _fetch()
    if options.what == "metrics":
        return _metrics(envelopes, as_json=options.json)
    found = about(items(envelopes), tenant=options.tenant, operation=options.operation, trace=options.trace)
    if options.what == "traces" and (options.tenant or options.operation):
        found = of_operations(found, tenant=options.tenant, operation=options.operation)
    shown = chosen(options.what, found, options.limit or LIMITS[options.what])
    if options.json:
        print(json.dumps([each.envelope for each in shown], indent=2))
        return 0
    out = console()
    if not shown:
        out.print(NOTHING)
    elif options.what == "traces":
        out.print(*traces(shown), sep="\n")
    elif options.what == "logs":
        out.print(logs(shown).cut_to(out.width).table)
    else:
        out.print(requests(shown, found).table)
    return 0


def _metrics(envelopes: Sequence[Json], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(of_metrics(envelopes), indent=2))
        return 0
    grid = metrics(measured(envelopes))
    console().print(grid.table if grid.rows else NOTHING)
    return 0


def _recorded(file: Path) -> Sequence[Json]:
    try:
        content = file.read_bytes()
        text = (gzip.decompress(content) if content.startswith(GZIP) else content).decode()
        found: list[Json] = [json.loads(line) for line in text.splitlines()]
        items(found)
    except OSError as error:
        raise TargetError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
        raise TargetError(f"{file} is no recording of telemetry, which has an envelope as JSON on each line") from error
    return found


async def _fetch() -> Sequence[Json]:
    if os.environ.get("BERTH_URL"):
        raise TargetError(
            f"BERTH_URL is set: that berth sends its telemetry to Application Insights, and {QUERIES}; unset BERTH_URL "
            "and BERTH_KEY to see the telemetry of the running stack"
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
