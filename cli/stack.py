"""Commands for the stack itself: up, down, status, logs."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from rich.table import Table

from cli.api import Api
from cli.clock import clock_of, shown
from cli.ops import new_link
from cli.output import console
from cli.running import NoStackError, announce, running, withdraw
from local.janitor import start_time
from local.processes import StackError
from local.stack import Stack

DOWN_SECONDS = 30


async def up(port: int, workers: int, redelivery: float, *, clock: bool) -> int:
    """Run the stack until Ctrl-C, SIGTERM, or until a part ends that cannot be started again."""
    try:
        running()
    except NoStackError:
        pass
    else:
        raise StackError("a stack is already running for this clone; stop it with ./berth down")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, ended.set)
    print(
        "starting: Azurite, task hub, telemetry, Kubernetes control plane, gateway, waiting room, Functions host …",
        flush=True,
    )
    async with Stack(port=port, workers=workers, redelivery=redelivery, clock=clock, telemetry=True) as stack:
        announce(stack)
        async with Api(stack.api_url, stack.master_key) as api:
            welcome(stack, await new_link(api))
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait([waiting, stack.failed], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        print("\nstopping …", flush=True)
        withdraw()
    if stack.failed.done():
        raise stack.failed.result()
    return 0


def down() -> int:
    """Stop the stack that runs in another terminal and wait until it has ended."""
    target = running()
    os.kill(target.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while start_time(target.pid) == target.started:
        if time.monotonic() > deadline:
            raise StackError(f"process {target.pid} has not ended after {DOWN_SECONDS} s; see ./berth status")
        time.sleep(0.1)
    print("stopped")
    return 0


async def status(*, as_json: bool) -> int:
    """Show the parts of the running stack and the dependency checks; 1 if it is not ready."""
    target = running()
    now, ahead = clock_of(target)
    async with Api(target.url, target.master_key) as api:
        health = await api.call("GET", "dependencies")
        clusters = await api.all("clusters") if health["checks"]["tables"] == "ok" else []
    if as_json:
        print(
            json.dumps(
                {
                    "url": target.url,
                    "parts": target.parts,
                    "workers": target.workers,
                    "clock_ahead_seconds": round(ahead.total_seconds()),
                    **health,
                    "clusters": clusters,
                },
                indent=2,
            )
        )
        return 0 if health["ready"] else 1
    table = Table("part", "pid", box=None)
    for name, pid in target.parts.items():
        table.add_row(name, str(pid))
    checks = Table("dependency", "status", box=None)
    for name, result in health["checks"].items():
        checks.add_row(name, result)
    out = console()
    out.print(f"API at {target.url}/api, worker processes: {target.workers}, files in {target.directory}")
    if ahead:
        out.print(f"clock: {shown(now, ahead)}")
    out.print()
    out.print(table, "", checks)
    for cluster in clusters:
        out.print(
            f"\ncluster {cluster['name']}: {cluster['allocated']} of {cluster['capacity']} plan weights allocated, "
            f"{cluster['starting']} starting, {cluster['waiting']} queued"
        )
        if cluster["breaker"]:
            out.print(f"  no new tenants since {cluster['breaker']['since']}: {cluster['breaker']['reason']}")
    return 0 if health["ready"] else 1


def logs(part: str, *, follow: bool) -> int:
    """Print a part's log; raises StackError with the names of all parts for an unknown one."""
    directory = Path(running().directory) / "logs"
    path = directory / f"{part}.log"
    if not path.exists():
        raise StackError(
            f"the stack has no part {part}; parts: {', '.join(sorted(each.stem for each in directory.iterdir()))}"
        )
    with path.open(encoding="utf-8", errors="replace") as log:
        while True:
            text = log.read()
            print(text, end="", flush=True)
            if not follow or not path.exists():
                return 0
            if not text:
                time.sleep(0.2)


def welcome(stack: Stack, ops_link: str) -> None:
    """Print how to reach a stack, a link to its ops pages, and a first request."""
    body = '{"slug":"first","plan":"trial","region":"local","email":"owner@example.com","display_name":"First"}'
    redelivery = f"redelivery     {stack.redelivery:g} s\n" if stack.redelivery else ""
    clock = "clock          can be moved: ./berth clock +8d\n" if stack.has_clock else ""
    print(
        f"""
API            {stack.api_url}/api
function key   {stack.function_key}
master key     {stack.master_key}
workers        {stack.workers}
{redelivery}{clock}
Sign up a tenant:
  curl -i {stack.api_url}/api/tenants -H 'x-functions-key: {stack.function_key}' \\
    -H 'Content-Type: application/json' -d '{body}'
Open its address:
  {stack.control_plane.gateway.curl(f"https://first.{stack.control_plane.gateway.domain}")}
Open the ops pages, with a link that works once and for 5 minutes (./berth ops prints another one):
  {ops_link}
Or sign one up as a customer of a portal would, and see each request and response:
  {stack.api_url}/api/sample/signup
Next: the commands under "Use it" in README.md. ./berth logs -f prints the log, ./berth telemetry what was measured.

Ctrl-C stops everything, and so does ./berth down in another terminal.""",
        flush=True,
    )
