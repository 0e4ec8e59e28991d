"""What must hold on a stack when no operation is open: used by the demo, the tests and the fault matrix.

It compares what berth reports with what Kubernetes and the tables hold.
"""

import json
from collections import Counter
from collections.abc import Sequence

from azure.data.tables.aio import TableServiceClient

from cli.api import Api, Json
from cli.transition_log import log_problems
from local.kubernetes.control_plane import ControlPlane, kubectl
from local.stack import Stack

OBJECTS = 11  # of one tenant, with its namespace
_KINDS = "namespaces,sa,quota,limits,netpol,secrets,cm,pvc,sts,svc,httproutes,pods"


async def violations(stack: Stack, operators: Api) -> list[str]:
    """Return each broken rule as a sentence; an empty list means that all rules hold.

    No operation is open. An active tenant has all its objects, a ready pod, a volume, one reservation, and one route
    that leads its address to it; one that sleeps has no pod, is to have none, has no route, and has all else; a failed
    or deleted one has none of these, save the reservation of one that has lost its instance. The sums on each cluster
    are those of its reservations and within its capacity. The log of transitions goes on without gaps, up to what each
    tenant uses now.

    Args:
        stack: The running stack.
        operators: A client of its API with the master key.
    """
    objects: Counter[str] = Counter()  # each of these by instance
    replicas: Counter[str] = Counter()
    pods: set[str] = set()
    ready: set[str] = set()
    routes: dict[str, list[Json]] = {}
    volumes: set[str] = set()
    for plane in stack.control_planes.values():
        for each in await _listed(plane):
            instance = each["metadata"]["labels"]["berth.dev/instance"]
            if each["kind"] == "Pod":
                pods.add(instance)
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
                replicas[instance] += each["spec"]["replicas"] if each["kind"] == "StatefulSet" else 0
        persistent = json.loads(await kubectl(plane, "get", "persistentvolumes", "-o", "json"))["items"]
        volumes |= {each["spec"]["claimRef"]["namespace"].removeprefix("tenant-") for each in persistent}
    async with TableServiceClient.from_connection_string(stack.tables_connection) as service:
        rows: list[Json] = [dict(row) async for row in service.get_table_client("clusters").list_entities()]
        of_tenants: list[Json] = [dict(row) async for row in service.get_table_client("tenants").list_entities()]
    reservations = {row["instance"]: row for row in rows if row["RowKey"].startswith("instance:")}

    broken = [*unbalanced(rows), *log_problems(of_tenants)]
    tenants = await operators.all("tenants")
    for tenant in tenants:
        slug, state, instance = tenant["slug"], tenant["state"], tenant["instance"]
        if state in ("failed", "deleted"):
            if instance and (state == "deleted" or objects[instance] or instance not in reservations):
                broken.append(f"{slug} is {state} and still has the instance {instance}")
            continue
        if state not in ("active", "hibernated"):
            broken.append(f"{slug} is still {state}")
            continue
        if objects[instance] != OBJECTS:
            broken.append(f"{slug} is {state} with {objects[instance]} of {OBJECTS} objects")
        if state == "active" and instance not in ready:
            broken.append(f"{slug} is active without a ready pod")
        if (replicas[instance] > 0) is not (state == "active"):
            broken.append(f"{slug} is {state}, and its workloads are to have {replicas[instance]} pods")
        if state == "hibernated" and instance in pods:
            broken.append(f"{slug} is hibernated and has a pod")
        if instance not in volumes:
            broken.append(f"{slug} is {state} without a volume")
        addresses = [f"https://{host}" for route in routes.get(instance, ()) for host in _served_hosts(route)]
        if state == "active" and addresses != [tenant["url"]]:
            broken.append(f"{slug} is active at {tenant['url']}, and its routes serve {addresses}")
        if state == "hibernated" and instance in routes:
            broken.append(f"{slug} is hibernated and has a route")
        held = reservations.get(instance, {})
        expected = f"on:{tenant['cluster']}", "held" if state == "active" else "asleep"
        if (held.get("PartitionKey"), held.get("state")) != expected:
            broken.append(f"{slug} is {state} on {tenant['cluster']} with the reservation {held}")
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
    indexed = [row for row in rows if row["RowKey"].startswith(("starting:", "waiting:", "waking:"))]
    broken: list[str] = []
    if Counter((row["instance"], row["state"]) for row in indexed) != Counter(
        (row["instance"], row["state"]) for row in held if row["state"] not in ("held", "asleep")
    ):
        broken.append(f"the index rows {indexed} are not those of the reservations {held}")
    if len({row["instance"] for row in held}) != len(held):
        broken.append("an instance has two reservations")
    for sums in (row for row in rows if row["RowKey"] == "allocation"):
        on_cluster = [row for row in held if row["PartitionKey"] == sums["PartitionKey"]]
        states = Counter(row["state"] for row in on_cluster)
        weights = Counter[str]()
        for row in on_cluster:
            weights[row["state"]] += row["weight"]
        actual = {
            "allocated": weights["waiting"] + weights["starting"] + weights["held"],
            **{name: states[name] for name in ("starting", "waiting", "waking")},
            "wanted": weights["waking"],
            "instances": len(on_cluster),
        }
        if {name: sums[name] for name in actual} != actual:
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
    selector = ["-l", "berth.dev/owner"]
    return json.loads(await kubectl(plane, "get", _KINDS, "-A", *selector, "-o", "json"))["items"]
