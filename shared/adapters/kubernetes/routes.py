"""A tenant's route on a cluster: the last object that is applied, and the first that is removed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from shared.adapters.kubernetes.client import Json, KubernetesClient, NotServed
from shared.domain.clusters import GatewayRef
from shared.domain.routes import (
    ROUTE_NAME,
    WAITING_ROOM,
    RouteStatus,
    gateway_problems,
    route_status,
    waiting_room_problem,
)
from shared.errors import NotFound

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/gateways"
NO_WAITING_ROOM = "whoever opens a tenant that sleeps gets 404, and wakes nobody"
# Between two looks at a route that its gateway has not taken yet: most do within a moment.
FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0


async def served(read: Callable[[], Awaitable[Json]], deadline: float) -> RouteStatus:
    """Return the status of a route once its gateway serves it, or the one at a deadline in the event loop's time.

    Args:
        read: Reads the route, not faster than the API server is to be asked about one tenant.
        deadline: When to return at the latest.
    """
    clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
    while True:
        await asyncio.sleep(pause)
        status = route_status(await read())
        pause = min(LAST_PAUSE, 2 * pause)
        if status.serving or clock() + pause > deadline:
            return status


async def delete_route(client: KubernetesClient, namespace: str) -> None:
    """Delete the route in an instance's namespace, if there is one; raises NotServed without the Gateway API."""
    with contextlib.suppress(NotFound):
        await client.request("DELETE", f"{ROUTES.format(namespace)}/{ROUTE_NAME}", retry_conflict=True)


async def missing_for_routes(
    client: KubernetesClient, gateway: GatewayRef, domain: str, labels: Mapping[str, str]
) -> Sequence[str]:
    """Return what is missing so that namespaces with these labels can have routes on a gateway, as sentences.

    Raises Forbidden without the right to read it.
    """
    path = f"{GATEWAYS.format(gateway.namespace)}/{gateway.name}"
    try:
        found = await client.request("GET", path, retry=False, may_be_refused=True)
    except NotServed:
        return ["the cluster does not serve the Gateway API (gateway.networking.k8s.io/v1)"]
    except NotFound:
        return [f"there is no gateway {gateway.namespace}/{gateway.name}"]
    return gateway_problems(found, listener=gateway.listener, domain=domain, labels=labels)


async def waiting_room_warnings(client: KubernetesClient, gateway: GatewayRef, domain: str) -> Sequence[str]:
    """Return a warning unless tenants without a route have the waiting room.

    Raises Forbidden without the right to read its route.
    """
    path = f"{ROUTES.format(WAITING_ROOM)}/{WAITING_ROOM}"
    try:
        route = await client.request("GET", path, retry=False, may_be_refused=True)
    except NotServed:
        return []  # `missing_for_routes` names it
    except NotFound:
        return [f"{NO_WAITING_ROOM}: apply infra/kubernetes/waiting-room"]
    problem = waiting_room_problem(route, namespace=gateway.namespace, name=gateway.name, domain=domain)
    return [f"{NO_WAITING_ROOM}: the route {WAITING_ROOM}/{WAITING_ROOM} {problem}"] if problem else []
