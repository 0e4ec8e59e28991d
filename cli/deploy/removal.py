"""What happens before `azd down`: tenants' data first, after asking, then what azd would leave behind."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from cli.api import Api, Json, ProblemError
from cli.confirming import confirm_by_typing
from cli.deploy.azure import Azure
from cli.deploy.commands import CommandError, Commands
from cli.deploy.deployment import DeployedCluster, Deployment
from cli.deploy.kubernetes import connected
from cli.deploy.waiting import Waiting

AT_ONCE = 10  # deletions that are followed together
SHOWN = 20  # tenants that are named
POLL_SECONDS = 1.0
UNASKED = "run ./berth deploy down --yes first, then azd down"
STAYS = """What azd down leaves costs nothing: the vaults with their secrets for 7 days, the logs for 14, unless it gets
--purge. Remove the name servers of the domain where it is registered: else whoever makes such a zone next has it."""


class RemovalError(Exception):
    """Something stays."""


async def tenants_of(api: Api) -> Sequence[Json] | None:
    """Return the tenants that have data or may get some; None if the app does not say."""
    try:
        return [each for each in await api.all("tenants") if each["state"] != "deleted"]
    except (httpx.HTTPError, ProblemError):
        return None


def question(found: Deployment, tenants: Sequence[Json] | None) -> str:
    """Return what goes, as text for whoever has to confirm it."""
    clusters = ", ".join(each.name for each in found.clusters)
    if tenants is None:
        who = "The app does not respond, so it is not known which tenants there are"
    else:
        names = ", ".join(each["slug"] for each in tenants[:SHOWN])
        more = f" and {len(tenants) - SHOWN} more" if len(tenants) > SHOWN else ""
        who = f"{len(tenants)} tenants: {names}{more}"
    back = (
        "azd asks again afterwards; a no there brings none of it back. ./berth clusters uncordon lets signups in again."
    )
    return f"{who}. All data of the tenants on {clusters} is deleted now, for good. {back}\n{STAYS}"


def confirm(found: Deployment, tenants: Sequence[Json] | None, ask: Callable[[str], str]) -> None:
    """Return if nothing can be lost, or once somebody has typed the environment's name; raises NotConfirmedError."""
    if tenants is None or tenants:
        confirm_by_typing(found.environment, question(found, tenants), ask, unasked=UNASKED)


async def remove(
    api: Api, tenants: Sequence[Json] | None, commands: Commands, azure: Azure, found: Deployment, waiting: Waiting
) -> None:
    """Delete all tenants, and what is in no resource group that azd deletes.

    Raises:
        RemovalError: A tenant is still there; the message names each.
    """
    if tenants is not None:
        await _delete_tenants(api, tenants, waiting.say)
    for cluster in found.clusters:
        try:
            for volume in await _volumes_elsewhere(commands, azure, cluster, waiting):
                waiting.say(f"{cluster.name}: not of berth's, and it stays and costs money: {volume}")
            await azure.disallow_pull(cluster)
            await azure.stop_metrics(cluster)
        except CommandError as error:
            if "NotFound" not in str(error):
                raise
            waiting.say(f"{cluster.name}: it is gone already")
    if await azure.remove_budget():
        waiting.say("removed the budget")


async def _delete_tenants(api: Api, tenants: Sequence[Json], say: Callable[[str], None]) -> None:
    """Cordon the clusters, so that no tenant comes, and delete all."""
    for cluster in await api.all("clusters"):
        await api.call("PATCH", f"clusters/{cluster['name']}", {"state": "cordoned"})
    slots, left = asyncio.Semaphore(AT_ONCE), list[str]()

    async def delete(slug: str) -> None:
        async with slots:
            try:
                operation = await api.call("DELETE", f"tenants/{slug}")
                async for each in api.follow(operation, every=POLL_SECONDS):
                    operation = each
            except ProblemError as error:
                left.append(f"{slug}: {error}")
                return
        if operation["state"] == "succeeded":
            say(f"deleted {slug}")
        else:
            left.append(f"{slug}: {operation['reason']}")

    await asyncio.gather(*(delete(each["slug"]) for each in tenants))
    if left:
        raise RemovalError("these tenants are still there:\n" + "\n".join(left))


async def _volumes_elsewhere(
    commands: Commands, azure: Azure, cluster: DeployedCluster, waiting: Waiting
) -> Sequence[str]:
    """Return the volumes of a cluster that are in another resource group than its nodes': these stay without it."""
    async with connected(azure, commands, cluster, waiting) as kubectl:
        found = await kubectl.get("persistentvolumes")
    handles = [_handle(each) for each in (found or {}).get("items", ())]
    return [each for each in handles if each and f"{cluster.resource_group}-nodes".lower() not in each.lower()]


def _handle(volume: Mapping[str, Any]) -> str:
    return str(volume["spec"].get("csi", {}).get("volumeHandle", ""))
