"""`./berth clusters`: the operators' requests, with output as a table or as JSON."""

import argparse
import json
import sys
from pathlib import Path

from rich.table import Table

from cli.api import Json
from cli.confirming import confirm_by_typing
from cli.output import console
from cli.running import connect

CAPACITY = "the sum of plan weights that fit on it: trial 1, standard 2, business 8"

INSTANCES = "how many tenants fit on it, awake or asleep, because each has a volume"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to use another berth than the running stack."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    name = "the cluster's name"

    add("list", "list all clusters with their allocation")
    _add_registration(add("register", "register a cluster, or replace its whole registration"))
    add("cordon", "place no new tenants on a cluster; its tenants stay").add_argument("name", help=name)
    add("uncordon", "place new tenants on a cluster again").add_argument("name", help=name)
    resize = add(
        "resize",
        "change a cluster's capacity, in plan weights; if it is below the allocation, the tenants stay and new ones "
        "are placed only when enough tenants have been removed",
    )
    resize.add_argument("name", help=name)
    resize.add_argument("capacity", type=int, help=CAPACITY)
    resize.add_argument("--max-instances", type=int, help=f"{INSTANCES} (default: as it is)")
    remove = add(
        "remove",
        "remove a cordoned cluster from berth, once no tenant and no namespace is left on it; the cluster itself stays",
    )
    remove.add_argument("name", help=name)
    remove.add_argument("--yes", action="store_true", help="do not ask")
    for action in actions.choices.values():
        action.set_defaults(fail=action.error)
        action.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace) -> int:
    """Run one action, print its clusters, and return the exit code."""
    if options.action == "remove" and not options.yes:
        confirm_by_typing(options.name, f"berth forgets the cluster {options.name}.", input, unasked="give --yes")
    async with connect(operator=True) as api:
        match options.action:
            case "register":
                clusters = [await api.call("PUT", f"clusters/{options.name}", _registration(options))]
            case "cordon":
                clusters = [await api.call("PATCH", f"clusters/{options.name}", {"state": "cordoned"})]
            case "uncordon":
                clusters = [await api.call("PATCH", f"clusters/{options.name}", {"state": "open"})]
            case "resize":
                body = {"capacity": options.capacity, **_max_instances(options)}
                clusters = [await api.call("PATCH", f"clusters/{options.name}", body)]
            case "remove":
                clusters = [await api.call("DELETE", f"clusters/{options.name}")]
            case _:
                clusters = await api.all("clusters")
    if options.json:
        print(json.dumps(clusters if options.action == "list" else clusters[0], indent=2))
    else:
        console().print(f"removed {options.name}" if options.action == "remove" else _table(clusters))
        if options.action == "register":
            for warning in clusters[0]["warnings"]:
                print(f"warning: {warning}", file=sys.stderr)
    return 0


def _add_registration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the cluster's name")
    parser.add_argument("--region", required=True, help="the region whose tenants it takes")
    parser.add_argument("--capacity", type=int, required=True, help=CAPACITY)
    parser.add_argument("--state", choices=("open", "cordoned"), help="default: as it is; a new cluster is open")
    parser.add_argument("--domain", required=True, help="each tenant on it has the address https://SLUG.DOMAIN")
    parser.add_argument(
        "--gateway",
        type=_gateway,
        required=True,
        metavar="NAMESPACE/NAME[/LISTENER]",
        help="the gateway that tenants' routes join, or one of its listeners",
    )
    parser.add_argument(
        "--gateway-pods", metavar="NAMESPACE", help="where the gateway's pods run; default: in its own namespace"
    )
    parser.add_argument("--max-instances", type=int, help=f"{INSTANCES} (default: no limit)")
    access = parser.add_mutually_exclusive_group(required=True)
    access.add_argument("--context", help="connect with this context of berth's kubeconfig file")
    access.add_argument("--server", metavar="URL", help="connect to this AKS API server with berth's own identity")
    parser.add_argument(
        "--ca-file", type=_text, metavar="PEM", help="the certificate authority of the server, in PEM form"
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {error}") from error


def _gateway(text: str) -> Json:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise argparse.ArgumentTypeError(f"{text} is not of the form NAMESPACE/NAME or NAMESPACE/NAME/LISTENER")
    return dict(zip(("namespace", "name", "listener"), parts, strict=False))


def _registration(options: argparse.Namespace) -> Json:
    if bool(options.server) != bool(options.ca_file):
        options.fail("--server and --ca-file need each other: give both or neither")
    if options.context:
        access = {"kubeconfig_context": options.context}
    else:
        access = {"server": options.server, "ca_pem": options.ca_file}
    state = {"state": options.state} if options.state else {}
    pods = {"pods_namespace": options.gateway_pods} if options.gateway_pods else {}
    body = {
        "region": options.region,
        "capacity": options.capacity,
        "access": access,
        "domain": options.domain,
        "gateway": options.gateway | pods,
    }
    return body | state | _max_instances(options)


def _max_instances(options: argparse.Namespace) -> Json:
    return {} if options.max_instances is None else {"max_instances": options.max_instances}


def _table(clusters: list[Json]) -> Table:
    columns = ("name", "region", "state", "capacity", "allocated", "free", "starting", "waiting", "waking", "instances")
    table = Table(*columns, "max instances", "responds", box=None)
    for each in sorted(clusters, key=lambda cluster: cluster["name"]):
        breaker = each["breaker"]
        limit = each["max_instances"]
        table.add_row(
            *(str(each[column]) for column in columns),
            "no limit" if limit is None else str(limit),
            f"not since {breaker['since']}" if breaker else "yes",
        )
    return table
