"""`./berth activity`: report that a tenant is used, as a product or an agent does."""

import argparse
import json

from cli.output import console
from cli.running import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY to use another berth than the running stack."
    parser.add_argument("slug", help="the name of the tenant in its address, such as acme")
    parser.add_argument("--at", metavar="TIME", help="when it was used, such as 2026-03-01T12:00:00Z (default: now)")
    parser.add_argument("--source", help="the name of who saw it (default: heartbeat)")
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace) -> int:
    """Send the report and return the exit code."""
    body = {name: value for name, value in (("at", options.at), ("source", options.source)) if value}
    async with connect() as api:
        result = await api.call("POST", f"tenants/{options.slug}/activity", body or None)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        console().print(
            "recorded" if result["recorded"] else "nothing new: activity of that time, or later, is recorded already"
        )
    return 0
