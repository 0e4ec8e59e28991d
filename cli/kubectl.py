"""`./berth kubectl [--tenant SLUG] ...`: kubectl on the running stack."""

from collections.abc import Sequence

from cli.running import connect
from local.processes import StackError

TENANT = "--tenant"


async def arguments(given: Sequence[str]) -> list[str]:
    """Return kubectl's arguments, with the namespace of the tenant that `--tenant SLUG` at the beginning names.

    Raises:
        StackError: The tenant has no namespace, or the slug is missing.
        ProblemError: There is no such tenant.
    """
    if given[:1] != [TENANT]:
        return list(given)
    if len(given) < 2:
        raise StackError("give the tenant's slug after --tenant")
    slug = given[1]
    async with connect() as api:
        tenant = await api.call("GET", f"tenants/{slug}")
    if not tenant["instance"]:
        raise StackError(f"{slug} is {tenant['state']} and has no namespace")
    return ["--namespace", f"tenant-{tenant['instance']}", *given[2:]]
