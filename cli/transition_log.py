"""What must hold of the log of transitions, by the rows alone."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from cli.api import Json

AT_REST = {
    "active": True,
    "hibernated": False,
    "failed": None,
    "deleted": None,
}  # whether it is then awake, if anything


def log_problems(rows: Iterable[Json]) -> list[str]:
    """Return what is wrong with the log in the rows of the table `tenants`."""
    found: list[str] = []
    logs: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    tenants: list[Json] = []
    for row in rows:
        if row["RowKey"].startswith("transition:"):
            entry = json.loads(row["entry"])
            logs[row["slug"], entry["instance"]].append(entry)
        elif row["RowKey"].startswith("tenant:") and "state" in row:
            tenants.append(row)
    for (slug, instance), log in logs.items():
        log.sort(key=lambda each: each["sequence"])
        if [each["sequence"] for each in log] != list(range(1, len(log) + 1)):
            found.append(f"{slug}: the numbers of {instance} have gaps")
        for before, after in zip([{"after": None, "at": ""}, *log], log, strict=False):
            if after["before"] != before["after"] or after["at"] < before["at"]:
                found.append(f"{slug}: {instance} does not go on at {after['sequence']}")
            if after["before"] == after["after"]:
                found.append(f"{slug}: {instance} has not changed at {after['sequence']}")
    for row in tenants:
        awake = AT_REST.get(row["state"], "open")
        last = json.loads(row["transition"])
        use = last and last["after"]
        if last and last not in logs[row["slug"], last["instance"]]:
            found.append(f"{row['slug']}: its last transition is not in the log")
        if awake != "open" and (use and use["awake"]) != awake:
            found.append(f"{row['slug']} is {row['state']}, but uses {use}")
    return found
