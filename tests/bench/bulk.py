"""Many new rows for Azurite. azure-data-tables needs too much CPU for each row of a transaction.

Rows of strings, numbers and times only.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from email.utils import formatdate

import httpx

from local.table_server import ACCOUNT, KEY
from shared.adapters.tables.storage import MAX_WRITES, Row

AT_ONCE = 4  # transactions; more do not make Azurite faster
TIMEOUT_SECONDS = 60.0  # Azurite is slow beside many rows


async def write_rows(endpoint: str, table: str, rows: Sequence[Row]) -> None:
    """Create rows in a table that is there; raises HTTPError, or RuntimeError if a transaction was refused."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def write(http: httpx.AsyncClient, batch: Sequence[Row]) -> None:
        async with slots:
            response = await http.post(
                f"{endpoint}/$batch", content=_body(f"{endpoint}/{table}", batch), headers=_headers()
            )
        created = response.raise_for_status().text.count("HTTP/1.1 204")
        if created != len(batch):
            raise RuntimeError(f"{created} of {len(batch)} rows were created: {response.text[:1000]}")

    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as http, asyncio.TaskGroup() as group:
        for batch in transactions(rows):
            group.create_task(write(http, batch))


def transactions(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Return the rows in parts, each of one partition and as large as a transaction may be."""
    by_partition: defaultdict[str, list[Row]] = defaultdict(list)
    for each in rows:
        by_partition[each["PartitionKey"]].append(each)
    return [
        held[start : start + MAX_WRITES] for held in by_partition.values() for start in range(0, len(held), MAX_WRITES)
    ]


def _body(url: str, rows: Sequence[Row]) -> str:
    parts = [
        "--changeset_1\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
        f"POST {url} HTTP/1.1\nContent-Type: application/json\nAccept: application/json;odata=minimalmetadata\n"
        f"Prefer: return-no-content\nDataServiceVersion: 3.0\n\n{_json(row)}\n"
        for row in rows
    ]
    head = "--batch_1\nContent-Type: multipart/mixed; boundary=changeset_1\n\n"
    return (head + "".join(parts) + "--changeset_1--\n\n--batch_1--\n").replace("\n", "\r\n")


def _json(row: Row) -> str:
    """Return a row as JSON, with the types that JSON lacks."""
    times = {name: value for name, value in row.items() if isinstance(value, datetime)}
    types = {f"{name}@odata.type": "Edm.DateTime" for name in times}
    return json.dumps({**row, **{name: f"{each:%Y-%m-%dT%H:%M:%S.%fZ}" for name, each in times.items()}, **types})


def _headers() -> dict[str, str]:
    """Return the headers of a transaction, with its signature by the scheme SharedKeyLite."""
    date = formatdate(usegmt=True)
    signed = f"{date}\n/{ACCOUNT}/{ACCOUNT}/$batch".encode()
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed, hashlib.sha256)).decode()
    return {
        "Authorization": f"SharedKeyLite {ACCOUNT}:{signature}",
        "x-ms-date": date,
        "x-ms-version": "2019-02-02",
        "DataServiceVersion": "3.0",
        "MaxDataServiceVersion": "3.0;NetFx",
        "Content-Type": "multipart/mixed; boundary=batch_1",
    }
