"""One cluster, as the use cases see it: apply a tenant, wait for it, remove it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from shared.adapters.kubernetes.apply import FIELD_MANAGER, NO_DRY_RUN, PATHS, Apply, path_of
from shared.adapters.kubernetes.client import MERGE, Json, KubernetesClient, NotServed, Query
from shared.adapters.kubernetes.inventory import (
    found_namespaces,
    found_nodes,
    found_routes,
    found_workloads,
    kept_volumes,
    left_volumes,
    removed_namespaces,
)
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, ensure_ours
from shared.adapters.kubernetes.rate_limit import RateLimit
from shared.adapters.kubernetes.routes import delete_route, served
from shared.adapters.kubernetes.watch import PODS, PodWatch
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import RecordKept
from shared.domain.assets import Nodes
from shared.domain.causes import EXPLAINED_BY_EVENTS, with_cause
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId
from shared.domain.pod_status import PodStatus
from shared.domain.reconciliation import FoundNamespace, FoundWorkload, LeftVolume, RemovedNamespaces
from shared.domain.routes import RouteStatus
from shared.domain.workloads import KIND, Workload, pods_of_workloads, status_of
from shared.errors import BerthError, Conflict, NotFound, Permanent, Transient
from shared.events import log_event
from shared.settings import KubernetesSettings
from shared.time_budget import time_budget, time_left

logger = logging.getLogger(__name__)

POLL_REQUESTS = 3  # that `wait_until_ready` sends at most when it looks beside the watch: pods, namespace, events
KUBE_SYSTEM = f"{PATHS['Namespace']}/kube-system"
FIRST_POLL_SECONDS = 0.5  # between two requests for what is being removed; then more, up to the last
LAST_POLL_SECONDS = 5.0
LAST_SECONDS = 2.0  # of a time budget, which waiting leaves to find out what is left
WORKLOADS_SECONDS = 120.0  # to list the workloads of all instances, which is more than what one call may take else
MAX_EVENTS = 5000  # that are read of one namespace, in one request


class KubernetesApiCluster:
    """Implements `shared.application.ports.clusters.KubernetesCluster`.

    Args:
        client: The connections to its API server.
        settings: Time limits.
        clock: The present time.
        owner: This berth's own id, which the namespaces that it may touch have as a label.
    """

    def __init__(self, client: KubernetesClient, settings: KubernetesSettings, clock: Clock, owner: str) -> None:
        self._client = client
        self._owner = owner
        self._settings = settings
        self._clock = clock
        self._apply = Apply(client, owner)
        self._rate_limit = RateLimit()
        self._pods = PodWatch(
            client, settings, lambda namespace: namespace.removeprefix(NAMESPACE_PREFIX), _project, self._rate_limit
        )

    async def close(self) -> None:
        """Stop watching and close the connections."""
        await self._pods.close()
        await self._client.close()

    async def uid(self) -> str:
        """Return the uid of the namespace kube-system, by which the cluster is recognised."""
        return uid_of(await self._client.request("GET", KUBE_SYSTEM))

    async def check(self) -> str:
        """Return the same after one request, which is not retried and does not wait for its turn."""
        return uid_of(await self._client.request_at_once(KUBE_SYSTEM))

    async def apply(self, objects: Sequence[Mapping[str, Any]], *, is_new: bool = True) -> None:
        """Server-side apply a tenant's objects: the namespace, then all that a workload needs, then the workload.

        The namespace of an instance that is not new must be there: else it was removed, and its data with it.
        """
        with time_budget(self._settings.total_timeout):
            await self._apply.apply(objects, is_new=is_new)

    async def wait_until_ready(self, namespace: str, workloads: Sequence[Workload], *, timeout: float) -> PodStatus:
        """Return the status as soon as all workloads are ready or one cannot be, else the one after `timeout` seconds.

        Raises:
            NotFound: Somebody removed the namespace.
        """

        def status_of_all(pods: Sequence[Mapping[str, Any]]) -> PodStatus:
            return status_of(pods, workloads, now=self._clock.now(), crash_limit=self._settings.crash_limit)

        def decided(pods: Sequence[Mapping[str, Any]]) -> PodStatus | None:
            status = status_of_all(pods)
            return status if status.ready or status.permanent else None

        status = await self._pods.wait(namespace, decided, timeout=min(timeout, time_left()))
        if status is None:
            if not self._rate_limit.has_room(namespace, POLL_REQUESTS):
                return status_of_all(self._pods.pods(namespace))
            # The watch may have gone silent.
            status = status_of_all((await self._ask(namespace, PODS.format(namespace)))["items"])
        if status.ready or status.reason in ("", "ContainerCreating"):
            # A pod is deleted some seconds after its namespace.
            _ensure_stays(await self._ask(namespace, f"{PATHS['Namespace']}/{namespace}"))
        if not status.ready and status.reason in EXPLAINED_BY_EVENTS:
            status = with_cause(status, await self._events(namespace), workloads)
        return status

    async def replicas(self, namespace: str) -> Mapping[str, int]:
        """Return how many pods each of this berth's workloads in a namespace is to have; raises NotFound."""
        return {each["metadata"]["name"]: each["spec"]["replicas"] for each in await self._workloads(namespace)}

    async def stop(self, namespace: str) -> None:
        """Let this berth's workloads in a namespace have no pods; raises NotFound for a namespace that is gone.

        A patch, because an apply of this field alone would let go of all others, and an apply of all could be refused
        for a template that was changed since.
        """
        self._apply.forget(namespace)
        body = {"spec": {"replicas": 0}}
        for each in await self._workloads(namespace):
            if each["spec"]["replicas"]:
                path = f"{PATHS[KIND].format(namespace)}/{each['metadata']['name']}"
                with contextlib.suppress(NotFound):  # somebody removed it just now
                    await self._client.request(
                        "PATCH", path, body, media_type=MERGE, query={"fieldManager": FIELD_MANAGER}
                    )

    async def wait_until_stopped(self, namespace: str, *, timeout: float) -> str:
        """Return nothing as soon as no workload has a pod, or in words what is left after `timeout` seconds."""
        left: Sequence[Mapping[str, Any]] = []

        async def has_stopped() -> bool:
            nonlocal left
            left = pods_of_workloads((await self._client.request("GET", PODS.format(namespace)))["items"])
            return not left

        deadline = asyncio.get_running_loop().time() + min(timeout, time_left() - LAST_SECONDS)
        return "" if await _poll(has_stopped, deadline) else _not_stopped(left[0])

    async def open_route(self, route: Mapping[str, Any], *, timeout: float) -> RouteStatus:
        """Server-side apply a tenant's route; return its status once the gateway serves it, or after `timeout` seconds.

        Raises:
            NotOurs: There is another route of this name.
            Transient: Somebody removed the namespace.
        """
        deadline = asyncio.get_running_loop().time() + min(timeout, time_left())
        await self._apply.apply_one(route)
        return await served(lambda: self._ask(route["metadata"]["namespace"], path_of(route)), deadline)

    async def close_route(self, namespace: str) -> None:
        """Delete a tenant's route, if there is one."""
        await delete_route(self._client, namespace)

    async def remove(self, namespace: str, *, timeout: float, record_kept: RecordKept | None = None) -> None:
        """Remove a namespace with all in it and wait until it is gone.

        Raises Transient if it is not by then, and, before anything is deleted, NotOurs if it is not this berth's and
        Permanent if a policy or a right of the cluster forbids it, or if there is a volume claim of somebody else.

        What else others have put into it goes with it: that can be made again, the data of a volume cannot.

        The volumes that stay, by their reclaim policy, are given to `record_kept` first: nothing names them later. Then
        the route goes, so that no visitor gets an error of the gateway. Workload and volumes go next: the namespace
        controller checks 5 s after a namespace's deletion, and if there is a pod or a volume left by then, only much
        later again.
        """
        self._apply.forget(namespace)
        with time_budget(self._settings.total_timeout):
            deadline = asyncio.get_running_loop().time() + min(timeout, time_left() - LAST_SECONDS)
            await self._remove(namespace, deadline, record_kept)

    async def _remove(self, namespace: str, deadline: float, record_kept: RecordKept | None) -> None:
        try:
            found = await self._client.request("GET", f"{PATHS['Namespace']}/{namespace}")
        except NotFound:
            return
        ensure_ours(found, self._owner)
        uid = found["metadata"]["uid"]
        claims = await self._own_claims(namespace)
        await self._ask_to_delete(namespace, uid)
        if record_kept is not None:
            await record_kept(await kept_volumes(self._client, claims))
        with contextlib.suppress(NotServed):  # where there are no routes, none is in the way
            await delete_route(self._client, namespace)
        background = {"propagationPolicy": "Background"}
        grace = {"gracePeriodSeconds": self._settings.delete_grace_seconds}
        ours = {"labelSelector": f"{INSTANCE}={namespace.removeprefix(NAMESPACE_PREFIX)}"}
        await self._delete_all(PATHS[KIND].format(namespace), background, ours)
        await self._delete_all(PODS.format(namespace), grace, ours)
        await self._delete_all(PATHS["PersistentVolumeClaim"].format(namespace), background, ours)
        state: Json = found
        refusal = ""

        async def has_no_pods() -> bool:
            return not await self._one_pod(namespace, ours)

        async def is_gone() -> bool:
            nonlocal state, refusal
            refusal = ""
            try:
                left = await self._delete_namespace(namespace, uid)
            except Conflict as error:  # usually because it is being deleted already
                refusal = str(error)
                return False
            state = left or state
            return left is None

        await _poll(has_no_pods, deadline)
        if not await _poll(is_gone, deadline):
            left = refusal or _remaining(state, await self._one_pod(namespace))
            raise Transient(f"the namespace {namespace} is still being removed: {left}")

    async def time(self) -> datetime:
        """Return the API server's own time, to the second."""
        await self._client.request("GET", KUBE_SYSTEM)
        return self._client.date

    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        """Return the namespaces of this berth's instances."""
        with time_budget(self._settings.total_timeout):
            return await found_namespaces(self._client, self._owner)

    async def tenant_workloads(self) -> Sequence[FoundWorkload]:
        """Return the workloads of this berth's instances."""
        with time_budget(WORKLOADS_SECONDS):
            return await found_workloads(self._client, self._owner)

    async def tenant_routes(self) -> Set[InstanceId]:
        """Return which of this berth's instances have a route."""
        with time_budget(self._settings.total_timeout):
            return await found_routes(self._client, self._owner)

    async def has_namespace(self, namespace: str) -> bool:
        """Whether a namespace is there and not being removed."""
        try:
            _ensure_stays(await self._client.request("GET", f"{PATHS['Namespace']}/{namespace}"))
        except NotFound:
            return False
        return True

    async def removed_namespaces(self, position: str) -> RemovedNamespaces:
        """Return which namespaces of this berth were removed since a position, or for none only where to begin."""
        return await removed_namespaces(self._client, self._owner, position)

    async def left_volumes(self) -> Sequence[LeftVolume]:
        """Return the volumes that were an instance's and are neither used nor deleted."""
        with time_budget(self._settings.total_timeout):
            return await left_volumes(self._client)

    async def nodes(self) -> Sequence[Nodes]:
        """Return how many nodes there are of each machine."""
        with time_budget(self._settings.total_timeout):
            return await found_nodes(self._client)

    async def _workloads(self, namespace: str) -> list[Json]:
        """Return this berth's workloads in a namespace; raises NotFound for a namespace that is gone."""
        _ensure_stays(await self._client.request("GET", f"{PATHS['Namespace']}/{namespace}"))
        instance = namespace.removeprefix(NAMESPACE_PREFIX)
        selector = {"labelSelector": f"{OWNER}={self._owner},{INSTANCE}={instance}"}
        return (await self._client.request("GET", PATHS[KIND].format(namespace), query=selector))["items"]

    async def _own_claims(self, namespace: str) -> list[Json]:
        """Return the volume claims of a namespace, all its instance's; raises Permanent with the name of another."""
        instance, found = namespace.removeprefix(NAMESPACE_PREFIX), list[Json]()
        async for claim in self._client.items(PATHS["PersistentVolumeClaim"].format(namespace), {}):
            if (claim["metadata"].get("labels") or {}).get(INSTANCE) != instance:
                raise Permanent(
                    f"the volume claim {claim['metadata']['name']} in the namespace {namespace} is not the instance's: "
                    "its data would be lost. Move it away and delete the claim"
                )
            found.append(claim)
        return found

    async def _one_pod(self, namespace: str, query: Mapping[str, str] | None = None) -> Json | None:
        """Return a pod that a query selects, by default any, or None if there is none."""
        listed = await self._client.request("GET", PODS.format(namespace), query={"limit": 1, **(query or {})})
        return next(iter(listed["items"]), None)

    async def _events(self, namespace: str) -> list[Json]:
        """Return the events of a namespace, or none if they cannot be had: they only explain what was seen."""
        try:
            found = await self._ask(namespace, f"/api/v1/namespaces/{namespace}/events", {"limit": MAX_EVENTS})
        except BerthError as error:
            log_event(logger, "no events", namespace=namespace, cause=str(error))
            return []
        return found["items"]

    async def _ask(self, namespace: str, path: str, query: Query | None = None) -> Json:
        """Read something about a namespace that is waited for: once, because it is asked for again soon."""
        await self._rate_limit.wait(namespace)
        return await self._client.request("GET", path, query=query, retry=False)

    async def _delete_all(self, path: str, options: Mapping[str, Any], selected: Query) -> None:
        await self._client.request("DELETE", path, options, query=selected, retry_conflict=True)

    async def _ask_to_delete(self, namespace: str, uid: str) -> None:
        """Return if a namespace's deletion is allowed; raises Permanent with the refusal, before any data is lost."""
        body = {"preconditions": {"uid": uid}, "dryRun": ["All"]}
        try:
            await self._client.request("DELETE", f"{PATHS['Namespace']}/{namespace}", body)
        except (NotFound, Conflict):
            return  # it is gone, or being deleted already
        except Permanent as error:
            if NO_DRY_RUN not in str(error):  # else a webhook that can only be asked in earnest
                raise

    async def _delete_namespace(self, namespace: str, uid: str) -> Json | None:
        """Request a namespace's deletion and return it as it is now, or None if it is gone; raises Conflict.

        A later namespace of the same name, with another uid, stays.
        """
        path = f"{PATHS['Namespace']}/{namespace}"
        try:
            state = await self._client.request("GET", path)
            if state["metadata"]["uid"] != uid:
                return None
            if not state["metadata"].get("deletionTimestamp"):
                await self._client.request("DELETE", path, {"preconditions": {"uid": uid}})
        except NotFound:
            return None
        return state


def _ensure_stays(namespace: Json) -> None:
    """Return if a namespace is not being removed; raises NotFound."""
    if namespace["metadata"].get("deletionTimestamp"):
        raise NotFound(f"somebody removed the namespace {namespace['metadata']['name']}")


def uid_of(system: Json) -> str:
    """Return the uid of the namespace kube-system; raises Transient if something else has responded."""
    uid = system.get("metadata", {}).get("uid")
    if not uid:
        raise Transient("what responds is no API server, though it reports success")
    return uid


async def _poll(is_done: Callable[[], Awaitable[bool]], deadline: float) -> bool:
    """Return True once `is_done()`, which is asked less and less often, or False after the deadline."""
    clock = asyncio.get_running_loop().time
    pause = FIRST_POLL_SECONDS
    while not await is_done():
        left = deadline - clock()
        if left <= 0:
            return False
        await asyncio.sleep(min(pause, left))
        pause = min(LAST_POLL_SECONDS, 1.25 * pause)
    return True


def _project(item: Json) -> Json:
    metadata = item["metadata"]
    kept = {name: metadata.get(name) for name in ("name", "namespace", "deletionTimestamp", "ownerReferences")}
    return {"metadata": kept, "status": item.get("status", {})}


def _remaining(namespace: Json, pod: Json | None) -> str:
    """Return what is left of a namespace, in words."""
    if pod:
        return _not_stopped(pod)
    messages = [
        str(condition.get("message"))
        for condition in namespace.get("status", {}).get("conditions", [])
        if condition.get("status") == "True"
    ]
    return "; ".join(messages)[:300] or "Kubernetes does not say what is left"


def _not_stopped(pod: Mapping[str, Any]) -> str:
    where = f" on {pod['spec']['nodeName']}" if pod["spec"].get("nodeName") else ""
    return f"its pod {pod['metadata']['name']}{where} has not stopped; is the node there?"
