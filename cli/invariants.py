"""What must hold on a stack when no operation is open: used by the demo, the tests and the fault matrix.

It compares what berth reports with what Kubernetes and the tables hold.
"""

import json
from collections import Counter
from collections.abc import Sequence

from azure.data.tables.aio import TableServiceClient

from cli.api import Api, Json
from local.kubernetes.control_plane import ControlPlane, kubectl
from local.stack import Stack

OBJECTS = 11  # of one tenant, with its namespace
_KINDS = "namespaces,sa,quota,limits,netpol,secrets,cm,pvc,sts,svc,httproutes,pods"


async def violations(stack: Stack, operators: Api) -> list[str]:
    """Return each broken rule as a sentence; an empty list means that all rules hold.

    No operation is open. An active tenant has all its objects, a ready pod, a volume, one reservation, and one route
    that leads its address to it; a failed or deleted one has none of these. The sums on each cluster are those of its
    reservations and within its capacity.

    Args:
        stack: The running stack.
        operators: A client of its API with the master key.
    """
    objects: Counter[str] = Counter()  # each of these by instance
    ready: set[str] = set()
    routes: dict[str, list[Json]] = {}
    volumes: set[str] = set()
    for plane in stack.control_planes.values():
        for each in await _listed(plane):
            instance = each["metadata"]["labels"]["berth.dev/instance"]
            if each["kind"] == "Pod":
                conditions = each["status"].get("conditions", [])
                if any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
                    ready.add(instance)
            elif each["kind"] == "HTTPRoute":
                routes.setdefault(instance, []).append(each)
            # Objects that are being deleted do not count, nor does a claim without its volume.
            elif "deletionTimestamp" not in each["metadata"] and (
                each["kind"] != "PersistentVolumeClaim" or "volumeName" in each["spec"]
            ):
                objects[instance] += 1
        persistent = json.loads(await kubectl(plane, "get", "persistentvolumes", "-o", "json"))["items"]
        volumes |= {each["spec"]["claimRef"]["namespace"].removeprefix("tenant-") for each in persistent}
    async with TableServiceClient.from_connection_string(stack.tables_connection) as service:
        rows: list[Json] = [dict(row) async for row in service.get_table_client("clusters").list_entities()]
    reservations = {row["instance"]: row for row in rows if row["RowKey"].startswith("instance:")}

    broken = unbalanced(rows)
    tenants = await operators.all("tenants")
    for tenant in tenants:
        slug, state, instance = tenant["slug"], tenant["state"], tenant["instance"]
        if state in ("failed", "deleted"):
            if instance:
                broken.append(f"{slug} is {state} and still has the instance {instance}")
            continue
        if state != "active":
            broken.append(f"{slug} is still {state}")
            continue
        if objects[instance] != OBJECTS:
            broken.append(f"{slug} is active with {objects[instance]} of {OBJECTS} objects")
        if instance not in ready:
            broken.append(f"{slug} is active without a ready pod")
        if instance not in volumes:
            broken.append(f"{slug} is active without a volume")
        addresses = [f"https://{host}" for route in routes.get(instance, ()) for host in _served_hosts(route)]
        if addresses != [tenant["url"]]:
            broken.append(f"{slug} is active at {tenant['url']}, and its routes serve {addresses}")
        held = reservations.get(instance, {})
        if (held.get("PartitionKey"), held.get("state")) != (f"on:{tenant['cluster']}", "held"):
            broken.append(f"{slug} is active on {tenant['cluster']} with the reservation {held}")
    known = {tenant["instance"] for tenant in tenants}
    left = {
        "objects": +objects,
        "a ready pod": ready,
        "a volume": volumes,
        "a route": routes,
        "a reservation": reservations,
    }
    for what, instances in left.items():
        broken += [f"the instance {each} of no tenant has {what}" for each in set(instances) - known]
    for cluster in await operators.all("clusters"):
        if cluster["allocated"] > cluster["capacity"]:
            broken.append(f"{cluster['name']} is overbooked: {cluster}")
    return broken


def unbalanced(rows: Sequence[Json]) -> list[str]:
    """Return what does not add up among the rows of the table `clusters`, as sentences."""
    held = [row for row in rows if row["RowKey"].startswith("instance:")]
    indexed = [row for row in rows if row["RowKey"].startswith(("starting:", "waiting:"))]
    broken: list[str] = []
    if Counter((row["instance"], row["state"]) for row in indexed) != Counter(
        (row["instance"], row["state"]) for row in held if row["state"] != "held"
    ):
        broken.append(f"the index rows {indexed} are not those of the reservations {held}")
    if len({row["instance"] for row in held}) != len(held):
        broken.append("an instance has two reservations")
    for sums in (row for row in rows if row["RowKey"] == "allocation"):
        on_cluster = [row for row in held if row["PartitionKey"] == sums["PartitionKey"]]
        states = Counter(row["state"] for row in on_cluster)
        actual = sum(row["weight"] for row in on_cluster), states["starting"], states["waiting"]
        if (sums["allocated"], sums["starting"], sums["waiting"]) != actual:
            broken.append(f"{sums} does not match the reservations, which sum up to {actual}")
    return broken


def _served_hosts(route: Json) -> list[str]:
    """Return the hosts of a route that its gateway has taken as it is now."""
    conditions = [each for parent in route.get("status", {}).get("parents", ()) for each in parent["conditions"]]
    taken = {
        each["type"]
        for each in conditions
        if each["status"] == "True" and each["observedGeneration"] == route["metadata"]["generation"]
    }
    return route["spec"]["hostnames"] if {"Accepted", "ResolvedRefs"} <= taken else []


async def _listed(plane: ControlPlane) -> list[Json]:
    selector = ["-l", "app.kubernetes.io/managed-by=berth"]
    return json.loads(await kubectl(plane, "get", _KINDS, "-A", *selector, "-o", "json"))["items"]
