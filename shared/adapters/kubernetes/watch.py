"""One watch of a kind of object on a cluster, shared by all waiting operations of this worker.

It lists once and then follows the changes. A stream that ends, breaks, sends nothing any more or gets 410 Gone is
opened again, after a new list where the old position is lost, so that a deletion in the gap is noticed too.
"""

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.adapters.kubernetes.client import Json, KubernetesClient
from shared.errors import BerthError, Conflict, Transient
from shared.settings import KubernetesSettings

logger = logging.getLogger(__name__)

SELECTOR = "app.kubernetes.io/managed-by=berth"
SLACK_SECONDS = 5.0  # that a watch's end may be late before the connection counts as dead
MIN_SECONDS = 1.0  # a watch that ends sooner is not reopened at once
MAX_PAUSE = 5.0
_JITTER = random.Random()  # noqa: S311 - not a secret


class SharedWatch:
    """Holds the objects of one kind that berth manages, by namespace and name.

    Args:
        client: The cluster.
        path: The kind's list path over all namespaces.
        settings: How often to renew, and how long to stay open while nobody waits.
        project: Returns the part of an object that is kept in memory.
    """

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        settings: KubernetesSettings,
        project: Callable[[Json], Json],
    ) -> None:
        self._client = client
        self._path = path
        self._settings = settings
        self._project = project
        self._objects: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._synced = asyncio.Event()
        self._last_error = "it has not responded yet"
        self._waiters = 0
        self._task: asyncio.Task[None] | None = None

    async def wait[T](
        self, namespace: str, find: Callable[[Sequence[Mapping[str, Any]]], T | None], *, timeout: float
    ) -> T | None:
        """Return the first result of `find` for a namespace's objects, called after every change.

        Returns None if there is none within `timeout` seconds; raises Transient if the cluster cannot be watched.
        """
        self._waiters += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name=f"watch {self._path}")
        try:
            async with asyncio.timeout(timeout):
                await self._synced.wait()
                while True:
                    found = find(list(self._objects.get(namespace, {}).values()))
                    if found is not None:
                        return found
                    await self._changed[namespace].wait()
        except TimeoutError:
            if not self._synced.is_set():
                raise Transient(f"the cluster cannot be watched: {self._last_error}") from None
            return None
        finally:
            self._waiters -= 1
            if not self._waiters:
                self._changed.clear()

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        version, failures = "", 0
        idle_since: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            idle_since = None if self._waiters else idle_since or clock()
            if idle_since is not None and clock() - idle_since > self._settings.watch_idle_timeout:
                break
            began, wait = clock(), 0.0
            try:
                if not version:
                    version = await self._list()
                version = await self._stream(version)
            except Conflict:
                version = ""  # 410 Gone: the position is too old
            except BerthError as error:
                self._last_error = str(error)
                logger.info("watch %s: %s", self._path, error)
                wait = (error.retry_after or 0.0) if isinstance(error, Transient) else 0.0
            # Pause before reopening a stream that ended at once, for whatever reason.
            failures = failures + 1 if clock() - began < MIN_SECONDS else 0
            if failures or wait:
                ceiling = min(MAX_PAUSE, 0.05 * 2**failures)
                await asyncio.sleep(max(_JITTER.uniform(0, ceiling), wait))
        self._synced.clear()
        self._objects.clear()

    async def _list(self) -> str:
        """Read everything, page by page, and return the position from which to follow."""
        found: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        position = ""
        while True:
            query = {"continue": position} if position else {}
            page = await self._client.request(
                "GET", self._path, retry=False, query={"labelSelector": SELECTOR, "limit": 500, **query}
            )
            for item in page["items"]:
                found[_namespace(item)][item["metadata"]["name"]] = self._project(item)
            position = page["metadata"].get("continue", "")
            if not position:
                break
        before, self._objects = self._objects, found
        self._synced.set()
        for namespace in before.keys() | found.keys():
            self._notify(namespace)
        return page["metadata"]["resourceVersion"]

    async def _stream(self, version: str) -> str:
        """Follow the changes since `version` and return the position at the stream's end."""
        seconds = self._settings.watch_timeout
        events = self._client.stream(
            self._path,
            read_timeout=seconds + SLACK_SECONDS,
            query={
                "labelSelector": SELECTOR,
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": seconds,
            },
        )
        async with contextlib.aclosing(events):
            async for event in events:
                item: Json = event["object"]
                if event["type"] == "ERROR":
                    raise Conflict(str(item.get("message", "the watch was refused")))
                version = item["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], item)
        return version

    def _take(self, change: str, item: Json) -> None:
        namespace, name = _namespace(item), item["metadata"]["name"]
        if change == "DELETED":
            self._objects[namespace].pop(name, None)
            if not self._objects[namespace]:
                del self._objects[namespace]
        else:
            self._objects[namespace][name] = self._project(item)
        self._notify(namespace)

    def _notify(self, namespace: str) -> None:
        changed = self._changed.pop(namespace, None)
        if changed is not None:
            changed.set()


def _namespace(item: Json) -> str:
    """Return the namespace that an object belongs to; a Namespace belongs to itself."""
    metadata = item["metadata"]
    return metadata.get("namespace") or metadata["name"]
