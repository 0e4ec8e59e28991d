"""`./berth deploy cluster`, `app` and `down`: the hooks of azd, which can be run again by hand at any time."""

import argparse
from collections.abc import Mapping

from cli.amounts import money
from cli.api import Api, ProblemError
from cli.confirming import confirm_by_typing
from cli.deploy.azure import Azure
from cli.deploy.commands import CommandError, Commands, SystemCommands
from cli.deploy.deployment import Deployment, NothingDeployedError, deployment
from cli.deploy.kubernetes import connected
from cli.deploy.objects import apply_objects
from cli.deploy.register import register, wait_for_app, wait_for_host, wait_for_secrets
from cli.deploy.removal import UNASKED, confirm, remove, tenants_of
from cli.deploy.smoke import Smoke, smoke
from cli.deploy.waiting import NotYetError, Waiting
from cli.output import console

UNTRUSTED = "no browser trusts its certificate yet, which berth has made itself: import yours, as docs/deploy.md says"
SMALL = 6  # digits of what a minute costs
NO_KEY = "none"  # for requests that need none, and where there is none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    parser.epilog = (
        "Needs az, kubectl and kubelogin, and a sign-in with `az login`. azd gives its hooks the values of its "
        "environment; else they are asked of azd."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(fail=action.error)
        action.add_argument(
            "--wait",
            type=float,
            default=600.0,
            metavar="SECONDS",
            help="how long to wait for each thing that takes minutes, such as a role (default: %(default)g)",
        )
        return action

    add(
        "cluster", "make the app's secrets that are missing, and apply infra/kubernetes to each cluster (postprovision)"
    )
    add("app", "wait for the app, register its clusters, and try each region with a tenant (postdeploy)")
    down = add("down", "delete all tenants with their data, after asking, and what azd down would leave (predown)")
    down.add_argument("--yes", action="store_true", help="do not ask")


async def run(options: argparse.Namespace, commands: Commands | None = None) -> int:
    """Run one action and return the exit code."""
    commands, waiting = commands or SystemCommands(), Waiting(options.wait, say=console().print)
    try:
        found = await deployment(commands)
    except NothingDeployedError as error:
        if options.action != "down":
            raise
        # What stopped half-way has no tenants, but what was deployed from elsewhere does.
        if not options.yes:
            what = f"{error}. azd down deletes what there is, and tenants' data with it."
            confirm_by_typing("all", what, input, unasked=UNASKED)
        return 0
    azure = Azure(commands, found, waiting)
    if options.action == "cluster":
        await prepare(commands, azure, found, waiting)
    elif options.action == "app":
        await wait_for_secrets(azure, waiting)
        async with Api(found.app_url, NO_KEY) as api:
            await wait_for_host(api, waiting)
        async with Api(found.app_url, await _key_once_given(azure, waiting)) as api:
            await bring_into_service(api, commands, azure, found, waiting)
    else:
        async with Api(found.app_url, await key_of_app(azure)) as api:
            tenants = await tenants_of(api)
            if not options.yes:
                confirm(found, tenants, input)
            await remove(api, tenants, commands, azure, found, waiting)
    return 0


async def key_of_app(azure: Azure) -> str:
    """Return the app's key for operators, or none for an app that is gone or broken."""
    try:
        return await azure.master_key()
    except CommandError:  # the app does not respond either, and whoever runs the command is told that
        return NO_KEY


async def _key_once_given(azure: Azure, waiting: Waiting) -> str:
    """Return the app's key for operators. Its host gives it, and refuses that in many ways while it starts."""

    async def look() -> str:
        try:
            return await azure.master_key()
        except CommandError as error:
            raise NotYetError(f"the app does not give its key: {error}") from error

    return await waiting.until(look)


async def prepare(commands: Commands, azure: Azure, found: Deployment, waiting: Waiting) -> None:
    """Do what the app and its clusters need before the app is deployed. To do it again changes nothing.

    Raises:
        NotYetError: Something did not come in time.
        CommandError: Azure or an API server refuses something.
    """
    made = await azure.ensure_secrets()
    waiting.say(f"{found.vault}: made {', '.join(made)}" if made else f"{found.vault}: has all secrets")
    await azure.refresh_settings()
    for cluster in found.clusters:
        await azure.allow_pull(cluster)
        if await azure.certificate_issuer(cluster) is None:
            await azure.make_certificate(cluster)
        async with connected(azure, commands, cluster, waiting) as kubectl:
            await apply_objects(kubectl, found, cluster, waiting)
        if await azure.certificate_issuer(cluster) == "Self":
            waiting.say(f"{cluster.name}: {UNTRUSTED}")


async def bring_into_service(
    api: Api, commands: Commands, azure: Azure, found: Deployment, waiting: Waiting
) -> Mapping[str, Smoke]:
    """Register all clusters and try each region; return what each took, by region. To do it again changes nothing.

    Raises:
        NotYetError: Something did not come in time.
        SmokeError: A region does not work.
        ProblemError: The app refuses something.
    """
    await wait_for_app(api, waiting)
    for cluster in found.clusters:
        async with connected(azure, commands, cluster, waiting) as kubectl:
            authority = await kubectl.authority()
        registered = await register(api, cluster, authority, waiting)
        waiting.say(f"{cluster.name}: registered for {cluster.region}, capacity {cluster.capacity}")
        for warning in registered["warnings"]:
            waiting.say(f"{cluster.name}: warning: {warning}")
    tried: dict[str, Smoke] = {}
    for region in sorted({each.region for each in found.clusters}):
        try:
            tried[region] = took = await smoke(api, region, waiting.say)
        except ProblemError as error:
            if not error.problem.get("type", "").endswith("/no-room"):
                raise
            waiting.say(f"{region}: not tried, because every cluster is cordoned or full: {error}")
            continue
        rates = f"a month awake {money(took.awake)}, asleep {money(took.asleep)}"
        waiting.say(
            f"{region}: that cost {money(took.cost, SMALL)} {took.currency}; {rates}, without its share of all else"
        )
    return tried
