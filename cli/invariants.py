"""What must hold on a stack when no operation is open: used by the demo, the tests and the fault matrix.

It compares what berth reports with what Kubernetes and the tables hold.
"""

import json
from collections import Counter

from azure.data.tables.aio import TableServiceClient

from cli.api import Api, Json
from local.kubernetes.control_plane import ControlPlane, kubectl
from local.stack import Stack

OBJECTS = 12  # of one tenant, with its namespace
_KINDS = "namespaces,sa,quota,limits,netpol,secrets,cm,pvc,sts,svc,ingress,pods"


async def violations(stack: Stack, operators: Api) -> list[str]:
    """Return each broken rule as a sentence; an empty list means that all rules hold.

    No operation is open. An active tenant has all its objects, a ready pod, a volume and one reservation; a failed or
    deleted one has none of these. The sums on each cluster are those of its reservations and within its capacity.

    Args:
        stack: The running stack.
        operators: A client of its API with the master key.
    """
    objects: Counter[str] = Counter()
    ready: set[str] = set()
    volumes: set[str] = set()
    for plane in stack.control_planes.values():
        for each in await _listed(plane):
            slug = each["metadata"]["labels"]["berth.dev/tenant"]
            if each["kind"] == "Pod":
                conditions = each["status"].get("conditions", [])
                if any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
                    ready.add(slug)
            # Objects that are being deleted do not count, nor does a claim without its volume.
            elif "deletionTimestamp" not in each["metadata"] and (
                each["kind"] != "PersistentVolumeClaim" or "volumeName" in each["spec"]
            ):
                objects[slug] += 1
        persistent = json.loads(await kubectl(plane, "get", "persistentvolumes", "-o", "json"))["items"]
        volumes |= {each["spec"]["claimRef"]["namespace"].removeprefix("tenant-") for each in persistent}
    async with TableServiceClient.from_connection_string(stack.tables_connection) as service:
        rows: list[Json] = [dict(row) async for row in service.get_table_client("clusters").list_entities()]
    reservations = {row["RowKey"].removeprefix("tenant:"): row for row in rows if "weight" in row}

    broken: list[str] = []
    tenants = {each["slug"]: each for each in await operators.all("tenants")}
    for slug, tenant in tenants.items():
        match tenant["state"]:
            case "active":
                if objects[slug] != OBJECTS:
                    broken.append(f"{slug} is active with {objects[slug]} of {OBJECTS} objects")
                if slug not in ready:
                    broken.append(f"{slug} is active without a ready pod")
                if slug not in volumes:
                    broken.append(f"{slug} is active without a volume")
                held = reservations.get(slug, {})
                if held.get("PartitionKey") != f"on:{tenant['cluster']}" or held["starting"]:
                    broken.append(f"{slug} is active on {tenant['cluster']} with the reservation {held}")
            case "failed" | "deleted":
                if objects[slug] or slug in ready or slug in volumes:
                    broken.append(f"{slug} is {tenant['state']} and still has {objects[slug]} objects or a volume")
                if slug in reservations:
                    broken.append(f"{slug} is {tenant['state']} and still has its reservation")
            case state:
                broken.append(f"{slug} is still {state}")
    broken += [
        f"{slug} has objects, but there is no such tenant" for slug in (objects.keys() | volumes) - tenants.keys()
    ]
    broken += [
        f"{slug} has a reservation, but there is no such tenant" for slug in reservations.keys() - tenants.keys()
    ]
    for sums in (row for row in rows if "allocated" in row):
        on_cluster = [each for each in reservations.values() if each["PartitionKey"] == sums["PartitionKey"]]
        actual = (sum(each["weight"] for each in on_cluster), sum(each["starting"] for each in on_cluster))
        if (sums["allocated"], sums["starting"]) != actual:
            broken.append(f"{sums} does not match the reservations, which sum up to {actual}")
    for cluster in await operators.all("clusters"):
        if cluster["allocated"] > cluster["capacity"]:
            broken.append(f"{cluster['name']} is overbooked: {cluster}")
    return broken


async def _listed(plane: ControlPlane) -> list[Json]:
    selector = ["-l", "app.kubernetes.io/managed-by=berth"]
    return json.loads(await kubectl(plane, "get", _KINDS, "-A", *selector, "-o", "json"))["items"]
