"""The `./berth` commands."""

import argparse
import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import httpx

from cli import activity, bill, clock, clusters, costs, kubectl, latency, ops, stack, sweep, tenants
from cli.api import ProblemError
from cli.arguments import at_least
from cli.bill import BillError
from cli.confirming import NotConfirmedError
from cli.demo.fleet import MIN_TENANTS
from cli.demo.run import demo
from cli.deploy import run as deploy
from cli.deploy.commands import CommandError
from cli.deploy.deployment import DeploymentError
from cli.deploy.removal import RemovalError
from cli.deploy.smoke import SmokeError
from cli.deploy.waiting import NotYetError
from cli.doctor import run as doctor
from cli.report import run as report
from cli.running import NoStackError, TargetError, running
from cli.simulate import run as simulate
from cli.telemetry import run as telemetry
from local.clock import ClockError
from local.processes import StackError
from local.signals import cancelled_on_signals, interrupt_on_signals
from local.stack import ROOT

CHECKS: dict[str, list[str]] = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    "types": ["pyright"],
    "import contracts": ["lint-imports"],
    "tests": [sys.executable, "-m", "pytest"],
}
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
# Besides the one without a name.
BENCHMARKS = ("burst", "ledgers", "pages", "scale", "sweep", "telemetry", "wake", "watch")
# More processes than the two cores of a small machine, because tests wait for Kubernetes most of the time.
# tests/support/scheduling.py has what each of them runs, and the order.
PARALLEL = ["-n", "4", "--dist", "loadscope", "--no-loadscope-reorder"]


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if arguments and arguments[0] == "kubectl":  # whose own options argparse must not see
        command = [*running().kubectl, *asyncio.run(kubectl.arguments(arguments[1:]))]
        os.execv(command[0], command)  # noqa: S606 - no shell wanted
    options, rest = _parser().parse_known_args(arguments)
    if options.command == "clock" and not options.to and rest:
        options.to = rest.pop(0)  # -1h, which is no option but cannot be done either
    if rest and options.command not in ("test", "bench"):
        options.fail(f"unknown arguments: {' '.join(rest)}")
    match options.command:
        case "demo":
            return _run(demo(options.tenants, options.html, recording=options.telemetry, as_json=options.json))
        case "up":
            return _run(stack.up(options.port, options.workers, options.redelivery, clock=options.clock))
        case "down":
            return stack.down()
        case "status":
            return _run(stack.status(as_json=options.json))
        case "ops":
            return _run(ops.run())
        case "clock":
            return clock.run(options)
        case "logs":
            return stack.logs(options.part, follow=options.follow)
        case "deploy":
            return _run(deploy.run(options))
        case "doctor":
            return _run(doctor.run(options))
        case "simulate":
            return simulate.run(options)
        case "tenants":
            return _run(tenants.run(options))
        case "activity":
            return _run(activity.run(options))
        case "clusters":
            return _run(clusters.run(options))
        case "sweep":
            return _run(sweep.run(options))
        case "bill":
            return _run(bill.run(options, bill.read(options)))
        case "costs":
            return _run(costs.run(options))
        case "latency":
            return _run(latency.run(options))
        case "telemetry":
            return _run(telemetry.run(options))
        case "report":
            return _run(report.run(options))
        case "test" if rest[:1] == ["faults"]:
            return _module("tests.faults.matrix", rest[1:])
        case "test":
            return check(rest)
        case "bench" if rest and rest[0] in BENCHMARKS:
            return _module(f"tests.bench.{rest[0]}", rest[1:])
        case "bench":
            return _module("tests.bench.provision", rest)
        case _:
            _parser().print_help()
            return 2


def check(pytest_arguments: Sequence[str]) -> int:
    """Run the formatter, the linters, the type checker and all tests; with arguments, only pytest with them."""
    for name, command in CHECKS.items():
        if pytest_arguments and name != "tests":
            continue
        print(f"== {name}", flush=True)
        arguments = pytest_arguments or (PARALLEL if name == "tests" else [])
        code = subprocess.run([*command, *arguments], cwd=ROOT, check=False).returncode
        if code:
            print(f"== {name} failed", file=sys.stderr)
            return code
    return 0


def _module(name: str, arguments: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=False).returncode


def _run(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(cancelled_on_signals(work))
    except asyncio.CancelledError as error:
        print("berth: interrupted", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./berth", description="berth on the embedded stack")
    parser.set_defaults(fail=parser.error)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(fail=command.error)  # so that an error prints the usage of the command
        return command

    show = add(
        "demo",
        "start a stack, sign up many tenants at the same time, let two weeks pass until most sleep, wake two, check "
        "Kubernetes and the tables, show what it cost and how long it took, stop",
    )
    show.add_argument(
        "--tenants",
        type=at_least(MIN_TENANTS),
        default=25,
        help=f"number of signups, at least {MIN_TENANTS} (default: 25)",
    )
    show.add_argument("--json", action="store_true", help="print the report as JSON")
    show.add_argument(
        "--html", type=report.file, metavar="FILE", help="where the page with charts goes (default: a temporary file)"
    )
    show.add_argument(
        "--telemetry",
        type=report.file,
        metavar="FILE",
        help="also write what the stack has sent to Application Insights: JSON lines, gzip",
    )
    up = add("up", "run the stack in the foreground until Ctrl-C")
    up.add_argument("--port", type=_port, default=0, help="port of the API (default: a free port)")
    up.add_argument("--workers", type=at_least(1), default=1, help="number of processes that run the app (default: 1)")
    up.add_argument(
        "--redelivery",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="after how long the durable work of a worker that was killed or stopped is given to another one "
        "(default: 0, at once when it was killed; on Azure it is 60, as host.json says)",
    )
    up.add_argument("--clock", action="store_true", help="let ./berth clock move the time of all its parts")
    add("down", "stop the stack that runs in another terminal")
    add("status", "show the parts of the running stack").add_argument("--json", action="store_true", help="print JSON")
    add("ops", "print a link that signs you in to the ops pages, once")
    clock.add_arguments(add("clock", "show the clock of the running stack, or move it forward, if `up` had --clock"))
    logs = add("logs", "print the log of a part of the running stack")
    logs.add_argument(
        "part", nargs="?", default="host", help="host (the default), azurite, task-hub, local-apiserver …"
    )
    logs.add_argument("-f", "--follow", action="store_true", help="print new lines as they come")
    simulate.add_arguments(
        add("simulate", "play a made-up population for months, and show what customers cost under several policies")
    )
    tenants.add_arguments(
        add(
            "tenants",
            "create, list, show, watch, retry, cancel, wake, delete and forget tenants, put them to sleep, and set "
            "their policies, over HTTP",
        )
    )
    activity.add_arguments(add("activity", "report over HTTP that a tenant is used"))
    clusters.add_arguments(add("clusters", "list, register, cordon, resize and remove clusters, as an operator"))
    sweep.add_arguments(add("sweep", "put dormant tenants to sleep now, as the nightly sweep does, and show why"))
    bill.add_arguments(add("bill", "import Azure's bill, and show how far the cost ledger is off it, as an operator"))
    costs.add_arguments(add("costs", "show what the fleet or one tenant cost, against the goal, as an operator"))
    latency.add_arguments(add("latency", "show how long operations took, with quantiles from the daily roll-ups"))
    report.add_arguments(
        add("report", "show the fleet, its costs, its latency and the last sweep, and write a page with charts")
    )
    doctor.add_arguments(add("doctor", "check the app, what it depends on and each cluster, and say what is missing"))
    deploy.add_arguments(
        add("deploy", "what the hooks of azd run on Azure: prepare clusters, bring the app into service, delete all")
    )
    telemetry.add_arguments(
        add("telemetry", "show the requests, traces, metrics or log records that the running stack has sent")
    )
    add("kubectl", "run kubectl on the running stack, as its administrator; `--tenant SLUG` first: in its namespace")
    add(
        "test",
        "run formatter, linters, type checker, import contracts and all tests; with ARGUMENTS, only pytest; "
        "`test faults --rounds N --seed S` runs the whole fault matrix",
    )
    add(
        "bench",
        "measure provisioning and compare it with kubectl and with Kubernetes alone; `bench burst --signups N` sends N "
        "signups at the same time; `bench watch --pods N` measures what waiting costs on a cluster with N other pods; "
        "`bench scale --tenants N` what a request and the minute timer cost beside N tenants; "
        "`bench sweep` what a sweep costs; `bench wake` how long a wake takes; `bench ledgers` what metering and "
        "reports cost; `bench telemetry` what telemetry costs; `bench pages` how soon the ops pages are painted. These "
        "eight take `--check`, which exits with 1 when a goal is missed",
    )
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds, at least 0")
    return seconds


if __name__ == "__main__":
    try:
        interrupt_on_signals()
        sys.exit(main(sys.argv[1:]))
    except (StackError, NoStackError, TargetError, ClockError, ProblemError, BillError, NotConfirmedError) as error:
        sys.exit(f"berth: {error}")
    except (CommandError, DeploymentError, NotYetError, RemovalError, SmokeError) as error:
        sys.exit(f"berth: {error}")
    except httpx.HTTPError as error:
        sys.exit(f"berth: the API does not respond: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
