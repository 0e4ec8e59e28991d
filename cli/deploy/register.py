"""Waits for the app, and registers its clusters."""

import httpx

from cli.api import Api, Json, ProblemError
from cli.deploy.azure import Azure
from cli.deploy.deployment import DeployedCluster
from cli.deploy.objects import GATEWAY
from cli.deploy.waiting import NotYetError, Waiting

PARTS = ("tables", "task hub")  # of GET /api/dependencies, besides the clusters
UNFIT = "/api/problems/cluster-unfit"


async def wait_for_secrets(azure: Azure, waiting: Waiting) -> None:
    """Return once the app can read all its secrets. If it could not at first, start it anew: it reads settings once.

    Raises:
        NotYetError: It cannot; the message names each with what Azure says of it.
    """
    late = False

    async def look() -> None:
        nonlocal late
        states = await azure.secret_states()
        wrong = [f"{name} ({state})" for name, state in states.items() if state != "Resolved"]
        if wrong:
            late = True
            await azure.refresh_settings()
            raise NotYetError(
                f"the app cannot read {', '.join(wrong)}: its role takes minutes to arrive; ./berth deploy cluster "
                "makes a secret that is missing"
            )

    await waiting.until(look)
    if late:
        await azure.restart_app()


async def wait_for_host(api: Api, waiting: Waiting) -> None:
    """Return once the app responds, for which no key is needed; raises NotYetError."""

    async def look() -> None:
        try:
            await api.call("GET", "healthz")
        except (httpx.HTTPError, ProblemError) as error:
            raise NotYetError(f"the app does not respond: {error}") from error

    await waiting.until(look)


async def wait_for_app(api: Api, waiting: Waiting) -> None:
    """Return once the app's tables and its task hub respond; raises NotYetError."""

    async def look() -> None:
        try:
            checks = (await api.call("GET", "dependencies"))["checks"]
        except (httpx.HTTPError, ProblemError) as error:
            raise NotYetError(f"the app does not say how its dependencies are: {error}") from error
        for part in PARTS:
            if checks[part] != "ok":
                raise NotYetError(f"the app's {part}: {checks[part]}")

    await waiting.until(look)


async def register(api: Api, cluster: DeployedCluster, authority: str, waiting: Waiting) -> Json:
    """Register a cluster, or replace its registration; what only operators set by the API stays as it is.

    Args:
        api: The app, with its master key.
        cluster: The cluster.
        authority: The certificate authority of its API server.
        waiting: For what a cluster lacks: rights take a moment to arrive.

    Raises:
        NotYetError: It still lacks something; the message names all of it.
        ProblemError: It cannot be registered.
    """
    known = {each["name"]: each for each in await api.all("clusters")}
    body = {
        "region": cluster.region,
        "capacity": cluster.capacity,
        "access": {"server": cluster.server, "ca_pem": authority},
        "domain": cluster.domain,
        "gateway": GATEWAY,
    }
    if cluster.name in known and known[cluster.name]["max_instances"] is not None:
        body["max_instances"] = known[cluster.name]["max_instances"]

    async def attempt() -> Json:
        try:
            return await api.call("PUT", f"clusters/{cluster.name}", body)
        except ProblemError as error:
            if error.problem.get("type") == UNFIT:
                raise NotYetError(str(error)) from error
            raise

    return await waiting.until(attempt)
