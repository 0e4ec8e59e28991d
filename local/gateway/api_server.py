"""The gateway's side of the API server: mirrors of what it watches, and the statuses that it writes."""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

WATCH_SECONDS = 240
PAUSE_SECONDS = 0.5
WRITES_AT_ONCE = 8

logger = logging.getLogger("gateway")

type Take = Callable[[str, dict[str, Any]], None]
"""Gets a change, `DELETED` or another, and the object."""


class ExpiredError(Exception):
    """A watch cannot go on from where it was."""


class ApiServer:
    """A client of one API server.

    Args:
        kubeconfig: A kubeconfig as JSON, with paths of certificates.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
        timeout = httpx.Timeout(10, read=WATCH_SECONDS + 10, pool=None)
        self._http = httpx.AsyncClient(base_url=cluster["server"], verify=tls, trust_env=False, timeout=timeout)
        self._writes = asyncio.Semaphore(WRITES_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def follow(self, path: str, take: Take, listed: Callable[[], None]) -> None:
        """Pass on every object of a kind and every change, for ever; call `listed` after each complete list."""
        known: dict[str, dict[str, Any]] = {}
        while True:
            try:
                version = await self._list(path, known, take)
                listed()
                while True:
                    version = await self._watch(path, known, take, version)
            except (httpx.HTTPError, ExpiredError, ValueError) as error:
                logger.info("%s: %s; listing again", path, type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    async def write_status(self, path: str, manifest: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """Replace these parts of an object's status; False if that did not work and is to be tried again.

        If the object is not the one that was read, nothing is written: its change is yet to come, or it is gone.
        """
        body = {"metadata": {"resourceVersion": manifest["metadata"]["resourceVersion"]}, "status": status}
        async with self._writes:
            try:
                response = await self._http.patch(
                    f"{path}/status", json=body, headers={"Content-Type": "application/merge-patch+json"}
                )
            except httpx.HTTPError as error:
                logger.warning("the status of %s was not written: %s", path, type(error).__name__)
                return False
        if response.is_success or response.status_code in (404, 409):
            return True
        logger.warning("the status of %s was not written: %d %s", path, response.status_code, response.text[:300])
        return False

    async def _list(self, path: str, known: dict[str, dict[str, Any]], take: Take) -> str:
        response = await self._http.get(path)
        response.raise_for_status()
        page = response.json()
        items = {each["metadata"]["uid"]: each for each in page["items"]}
        for uid in known.keys() - items.keys():
            take("DELETED", known.pop(uid))
        for uid, each in items.items():
            known[uid] = each
            take("ADDED", each)
        return page["metadata"]["resourceVersion"]

    async def _watch(self, path: str, known: dict[str, dict[str, Any]], take: Take, version: str) -> str:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._http.stream("GET", path, params=query) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                event = json.loads(line)
                change, item = event["type"], event["object"]
                if change == "ERROR":
                    raise ExpiredError
                version = item["metadata"]["resourceVersion"]
                if change == "BOOKMARK":
                    continue
                if change == "DELETED":
                    known.pop(item["metadata"]["uid"], None)
                else:
                    known[item["metadata"]["uid"]] = item
                take(change, item)
        return version
