"""`./berth sweep`: starts a sweep over HTTP, follows it, and shows what it decided."""

import argparse
import asyncio
import json

from rich.table import Table

from cli.api import Api, Json
from cli.output import console
from cli.running import connect

POLL_SECONDS = 1.0
HOW_TO_STOP = "the sweep goes on: ./berth sweep joins it, ./berth sweep --off ends it and keeps sweeps off"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to use another berth than the running stack."
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only decide, and put nobody to sleep")
    what.add_argument("--off", action="store_true", help="switch sweeps off for good, and end the one that runs")
    what.add_argument("--on", action="store_true", help="switch sweeps on again")
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace) -> int:
    """Start or join a sweep, or switch sweeps on or off; return 1 for a sweep that was refused or stopped."""
    async with connect(operator=True) as api:
        if options.on or options.off:
            return _print_switch(await api.call("PATCH", "sweeps", {"enabled": options.on}), as_json=options.json)
        sweep = await _follow(api, await api.call("POST", "sweeps", {"dry_run": options.dry_run}), options)
        decisions = await api.all(f"sweeps/{sweep['id']}/decisions")
    if options.json:
        print(json.dumps(sweep | {"decisions": decisions}, indent=2))
    else:
        console().print(_table(decisions), f"\n{_result(sweep)}")
    return 0 if sweep["state"] == "done" else 1


async def _follow(api: Api, sweep: Json, options: argparse.Namespace) -> Json:
    out = console(stderr=options.json)
    out.print(f"sweep {sweep['id']}{', a dry run' if sweep['dry_run'] else ''}")
    last = ""
    try:
        while True:
            line = _progress(sweep)
            if line != last:
                out.print(line)
                last = line
            if sweep["ended_at"] is not None:
                return sweep
            await asyncio.sleep(POLL_SECONDS)
            sweep = await api.call("GET", f"sweeps/{sweep['id']}")
    except asyncio.CancelledError as error:
        error.add_note(HOW_TO_STOP)
        raise


def _progress(sweep: Json) -> str:
    line = f"{sweep['state']:8}  looked at {sweep['looked_at']}, {sweep['hibernate']} dormant"
    actions = ("to_do", "begun", "hibernated", "kept", "turned_round", "failed")
    done = ", ".join(f"{sweep[each]} {each.replace('_', ' ')}" for each in actions if sweep[each])
    return f"{line}: {done}" if done else line


def _result(sweep: Json) -> str:
    saves = f"it {'would save' if sweep['dry_run'] else 'saves'} ${sweep['saves']:.2f} a month"
    return f"{sweep['state']}: {sweep['reason'] or saves}"


def _print_switch(switch: Json, *, as_json: bool) -> int:
    print(json.dumps(switch) if as_json else f"sweeps are {'on' if switch['enabled'] else 'off'}")
    return 0


def _table(decisions: list[Json]) -> Table:
    table = Table("tenant", "plan", "outcome", "action", "$ a month", "why", box=None)
    for each in decisions:
        action = "" if each["action"] == "none" else each["action"]
        why = f"{each['reason']}; {each['note']}" if each["note"] else each["reason"]
        saves = f"{each['saves']:.2f}" if each["saves"] else ""
        table.add_row(each["tenant"], each["plan"], each["outcome"], action, saves, why)
    return table
