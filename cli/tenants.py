"""`./berth tenants`: the callers' requests, with output as tables or as JSON."""

import argparse
import asyncio
import json
from typing import Any

from rich.live import Live
from rich.table import Table

from cli.api import Api, Json
from cli.output import console
from cli.running import connect

WATCH_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY to use another berth than the running stack."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    slug = "the name of the tenant in its address, such as acme"
    create = add("create", "sign up a tenant and follow its operation")
    create.add_argument("slug", help=slug)
    create.add_argument("--plan", default="trial", help="trial, standard or business (default: %(default)s)")
    create.add_argument("--region", default="local", help="the region of a cluster (default: %(default)s)")
    create.add_argument("--email", default="owner@example.com", help="default: %(default)s")
    create.add_argument("--display-name", default="", help="default: the slug")
    create.add_argument("--version", default="", help="the tag of the image (default: the one that berth is set to)")
    add("list", "list all tenants")
    add("show", "show one tenant and its last operation").add_argument("slug", help=slug)
    add("watch", "show all tenants and refresh the list every second")
    retry = add("retry", "provision a failed tenant again and follow its operation")
    retry.add_argument("slug", help=slug)
    retry.add_argument("--version", default="", help="the tag of the image (default: the one that failed)")
    cancel = add(
        "cancel",
        "cancel a tenant's operation and follow it: after a provisioning the tenant is failed and can be retried, "
        "after a hibernation it is active, after a wake it sleeps",
    )
    cancel.add_argument("slug", help=slug)
    add("sleep", "put a tenant to sleep and follow its operation; its data stays").add_argument("slug", help=slug)
    add("wake", "wake a tenant that sleeps and follow its operation").add_argument("slug", help=slug)
    add("delete", "delete a tenant and follow its operation").add_argument("slug", help=slug)
    policy = add(
        "policy",
        "show when a tenant counts as dormant; with options, set it. What is not given is then as the plan says",
    )
    policy.add_argument("slug", help=slug)
    policy.add_argument("--idle-days", type=int, metavar="DAYS", help="days without activity, then it is hibernated")
    policy.add_argument("--never-active-days", type=int, metavar="DAYS", help="days that a new instance has at least")
    policy.add_argument("--exempt", choices=("yes", "no"), help="yes: it is never hibernated")
    policy.add_argument("--keep-awake-until", metavar="TIME", help="such as 2026-03-01T12:00:00Z")
    policy.add_argument("--as-plan", action="store_true", help="set nothing for this tenant alone")
    forget = add(
        "forget",
        "forget the instance of a tenant on a cluster that will not come back, and end its operation; for operators",
    )
    forget.add_argument("slug", help=slug)
    forget.add_argument("--reason", required=True, help="why, for the audit trail")
    for action in actions.choices.values():
        action.set_defaults(fail=action.error)
        action.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace) -> int:
    """Run one action and return the exit code: 1 if the operation did not end as asked."""
    async with connect(operator=options.action == "forget") as api:
        match options.action:
            case "create":
                operation = await _change(api, options.slug, "POST", "tenants", _signup(options))
                return await _follow(api, operation, as_json=options.json)
            case "retry":
                body = {"version": options.version} if options.version else None
                operation = await _change(api, options.slug, "POST", f"tenants/{options.slug}/retry", body)
                return await _follow(api, operation, as_json=options.json)
            case "sleep" | "wake" as action:
                begun = await _change(api, options.slug, "POST", f"tenants/{options.slug}/{action}")
                if "steps" in begun:
                    # A hibernation that is turned round by a wake ends cancelled.
                    wanted = "cancelled" if begun["cancel_requested"] else "succeeded"
                    return await _follow(api, begun, as_json=options.json, wanted=wanted)
                _print_one(begun, as_json=options.json)
            case "delete":
                operation = await _change(api, options.slug, "DELETE", f"tenants/{options.slug}")
                return await _follow(api, operation, as_json=options.json)
            case "cancel":
                tenant = await api.call("GET", f"tenants/{options.slug}")
                operation = await _change(api, options.slug, "POST", f"operations/{tenant['operation']}/cancel")
                return await _follow(api, operation, as_json=options.json, wanted="cancelled")
            case "forget":
                body = {"reason": options.reason}
                tenant = await _change(api, options.slug, "POST", f"tenants/{options.slug}/forget", body)
                _print_one(tenant, as_json=options.json)
            case "show":
                await _show(api, options.slug, as_json=options.json)
            case "policy":
                await _policy(api, options)
            case "watch":
                await _watch(api, as_json=options.json)
            case _:
                _print(await api.all("tenants"), as_json=options.json)
    return 0


def _signup(options: argparse.Namespace) -> Json:
    body = {
        "slug": options.slug,
        "plan": options.plan,
        "region": options.region,
        "email": options.email,
        "display_name": options.display_name or options.slug,
    }
    return body | ({"version": options.version} if options.version else {})


async def _change(api: Api, slug: str, method: str, path: str, body: Json | None = None) -> Json:
    try:
        return await api.call(method, path, body)
    except asyncio.CancelledError as error:
        error.add_note(f"the request may have been received: see ./berth tenants show {slug}")
        raise


async def _follow(api: Api, operation: Json, *, as_json: bool, wanted: str = "succeeded") -> int:
    out = console(stderr=as_json)
    out.print(f"operation {operation['id']}")
    last = ""
    try:
        async for each in api.follow(operation):
            operation = each
            line = _progress(each)
            if line != last:
                out.print(line)
                last = line
    except asyncio.CancelledError as error:
        error.add_note(_goes_on(operation))
        raise
    if operation["reason"] not in ("", operation["state"]):
        out.print(operation["reason"])
    if as_json:
        print(json.dumps(operation, indent=2))
    elif operation["kept_volumes"]:
        out.print(f"kept by the cluster, for an operator to delete: {', '.join(operation['kept_volumes'])}")
    return 0 if operation["state"] == wanted else 1


def _progress(operation: Json) -> str:
    line = f"{operation['percent']:3} %  {operation['state']}"
    running_step = next((step for step in operation["steps"] if step["state"] == "running"), None)
    if running_step:
        position = f", position {operation['queue_position']}" if operation["queue_position"] else ""
        line += f"  {running_step['name']}: {running_step['message']}{position}"
    return line


def _goes_on(operation: Json) -> str:
    """Say what happens to an operation that is no longer followed, and which commands are for it."""
    slug = operation["tenant"]
    text = f"the operation goes on: follow it with ./berth tenants show {slug}"
    if operation["cancel_requested"]:
        return f"{text}; it is being cancelled"
    if operation["kind"] == "delete":
        return f"{text}; a deletion cannot be cancelled"
    return f"{text}, end it with ./berth tenants cancel {slug}"


async def _show(api: Api, slug: str, *, as_json: bool) -> None:
    tenant = await api.call("GET", f"tenants/{slug}")
    operation = await api.call("GET", f"operations/{tenant['operation']}")
    if as_json:
        print(json.dumps(tenant | {"operation": operation}, indent=2))
        return
    fields = Table(show_header=False, box=None)
    for name, value in tenant.items():
        if name not in ("links", "observed", "policy", "activity", "dormancy"):
            fields.add_row(name, str(value or ""))
    if tenant["observed"]:
        fields.add_row("observed", f"{tenant['observed']['message']} at {tenant['observed']['at']}")
    for each in tenant["activity"]:
        if each["last_activity_at"]:
            fields.add_row("last activity", f"{each['last_activity_at']} ({each['source']})")
    if tenant["dormancy"]:
        fields.add_row("dormancy", f"{tenant['dormancy']['decision']}: {tenant['dormancy']['reason']}")
        fields.add_row("due", str(tenant["dormancy"]["due_at"] or "never"))
    steps = Table("step", "state", "seconds", "message", box=None)
    for step in operation["steps"]:
        seconds = "" if step["seconds"] is None else f"{step['seconds']:.2f}"
        message = "" if step["state"] == "done" else step["message"]  # which says what it was about to do
        steps.add_row(step["name"], step["state"], seconds, message)
    result = f"{operation['kind']}: {operation['state']}"
    if operation["reason"] not in ("", operation["state"]):
        result += f": {operation['reason']}"
    console().print(fields, f"\n{result}\n", steps)


async def _policy(api: Api, options: argparse.Namespace) -> None:
    body = {
        "idle_days": options.idle_days,
        "never_active_days": options.never_active_days,
        "exempt": options.exempt and options.exempt == "yes",
        "keep_awake_until": options.keep_awake_until,
    }
    given = {name: value for name, value in body.items() if value is not None}
    if given and options.as_plan:
        options.fail("--as-plan goes with no other option")
    if given or options.as_plan:
        tenant = await api.call("PUT", f"tenants/{options.slug}/policy", given)
    else:
        tenant = await api.call("GET", f"tenants/{options.slug}")
    policy = tenant["policy"]
    if options.json:
        print(json.dumps(policy, indent=2))
    elif policy is None:
        console().print(f"there is no plan {tenant['plan']} any more: {options.slug} has no policy")
    else:
        table = Table("policy", "value", "from", box=None)
        for name in body:
            table.add_row(name, _policy_value(policy[name]), "tenant" if name in policy["overridden"] else "plan")
        console().print(table)


def _policy_value(value: bool | int | str | None) -> str:
    if value is None:
        return "not set"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


async def _watch(api: Api, *, as_json: bool) -> None:
    with Live(console=console(), refresh_per_second=4) as live:
        while True:
            tenants = await api.all("tenants")
            if as_json:
                print(json.dumps(tenants))
            else:
                live.update(_table(tenants))
            await asyncio.sleep(WATCH_SECONDS)


def _print(tenants: list[Json], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(tenants, indent=2))
    else:
        console().print(_table(tenants))


def _print_one(tenant: Json, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(tenant, indent=2))
    else:
        console().print(_table([tenant]))


def _table(tenants: list[dict[str, Any]]) -> Table:
    table = Table("tenant", "state", "plan", "cluster", "version", "observed", box=None)
    for each in sorted(tenants, key=lambda tenant: tenant["slug"]):
        observed = each["observed"]
        message = f"{observed['message']} ({observed['at'][11:19]})" if observed else ""
        if each["state"] == "failed":
            message = f"see ./berth tenants show {each['slug']}"
        table.add_row(each["slug"], each["state"], each["plan"], each["cluster"], each["version"], message)
    return table
