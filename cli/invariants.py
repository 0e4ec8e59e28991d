"""What must hold on a stack whose tenants have come to rest: used by the demo, the tests and the fault matrix.

It asks Kubernetes and the tables themselves, not berth.
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
    """Return everything that is wrong, as sentences; none means that all is well.

    One tenant has one complete bundle of objects and one reservation, or nothing at all; the sums add up; no volume is
    left behind; no operation is open.

    Args:
        stack: The running stack.
        operators: A caller of its API with the master key.
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
            # What is being deleted, and a claim without its volume, is no part of a complete bundle.
            elif "deletionTimestamp" not in each["metadata"] and (
                each["kind"] != "PersistentVolumeClaim" or "volumeName" in each["spec"]
            ):
                objects[slug] += 1
        persistent = json.loads(await kubectl(plane, "get", "persistentvolumes", "-o", "json"))["items"]
        volumes |= {each["spec"]["claimRef"]["namespace"].removeprefix("tenant-") for each in persistent}
    async with TableServiceClient.from_connection_string(stack.tables_connection) as service:
        rows: list[Json] = [dict(row) async for row in service.get_table_client("clusters").list_entities()]
    reservations = {row["RowKey"].removeprefix("tenant:"): row for row in rows if "weight" in row}

    found: list[str] = []
    tenants = {each["slug"]: each for each in await operators.all("tenants")}
    for slug, tenant in tenants.items():
        match tenant["state"]:
            case "active":
                if objects[slug] != OBJECTS:
                    found.append(f"{slug} is active with {objects[slug]} of {OBJECTS} objects")
                if slug not in ready:
                    found.append(f"{slug} is active without a ready pod")
                if slug not in volumes:
                    found.append(f"{slug} is active without a volume")
                held = reservations.get(slug, {})
                if held.get("PartitionKey") != f"on:{tenant['cluster']}" or held["starting"]:
                    found.append(f"{slug} is active on {tenant['cluster']} with the reservation {held}")
            case "failed" | "deleted":
                if objects[slug] or slug in ready or slug in volumes:
                    found.append(f"{slug} is {tenant['state']} and still has {objects[slug]} objects or a volume")
                if slug in reservations:
                    found.append(f"{slug} is {tenant['state']} and still has its reservation")
            case state:
                found.append(f"{slug} has not come to rest: it is {state}")
    found += [f"{slug} has objects but no record" for slug in (objects.keys() | volumes) - tenants.keys()]
    found += [f"{slug} has a reservation but no record" for slug in reservations.keys() - tenants.keys()]
    for sums in (row for row in rows if "allocated" in row):
        there = [each for each in reservations.values() if each["PartitionKey"] == sums["PartitionKey"]]
        actual = (sum(each["weight"] for each in there), sum(each["starting"] for each in there))
        if (sums["allocated"], sums["starting"]) != actual:
            found.append(f"{sums} does not add up: the reservations are {actual}")
    for cluster in await operators.all("clusters"):
        if cluster["allocated"] > cluster["capacity"]:
            found.append(f"{cluster['name']} is overbooked: {cluster}")
    return found


async def _listed(plane: ControlPlane) -> list[Json]:
    selector = ["-l", "app.kubernetes.io/managed-by=berth"]
    return json.loads(await kubectl(plane, "get", _KINDS, "-A", *selector, "-o", "json"))["items"]
