"""One watch of the pods that this worker waits for on a cluster, shared by all who wait.

Whoever begins to wait for a namespace lists the pods of that namespace only, and joins the watch: one stream over the
cluster whose label selector names the instances that are waited for. The stream is opened again, from where it was,
when others have joined. So a tenant costs two requests, about four events of its own pod, and nothing of the other
tenants; a burst of tenants shares the openings. Compared, with 20,000 pods in the cluster and 64 tenants:

- A watch over all of berth's pods needs a request less for each tenant, but lists 180 MB before the first one, keeps
  150 MiB, and then gets the changes of all tenants in every worker.
- A watch for each namespace needs a request less too, but a connection for each tenant, because Python's client has no
  HTTP/2: 16 MB of TLS buffers here (asyncio has 256 KB for each), and as many sockets and handshakes on the server.
- A selector without a position would save the list, but the API server then goes through all pods of the cluster.

The API server reads a position's events from its cache and compares each new event's labels with the selector: that
takes it microseconds. Resource versions are compared as numbers, as Kubernetes documents it.

A stream that ends, breaks or sends nothing any more is opened again. After 410 Gone, which says that the position is
too old, the waited-for namespaces are listed again, so that a deletion in the gap is noticed too.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.kubernetes.client import Json, KubernetesClient
from shared.adapters.kubernetes.rate_limit import RateLimit
from shared.errors import BerthError, Conflict, Transient, Unauthenticated
from shared.events import log_event
from shared.settings import KubernetesSettings

logger = logging.getLogger(__name__)

PODS = "/api/v1/namespaces/{}/pods"
ALL_PODS = "/api/v1/pods"
LABEL = "berth.dev/instance"
SLACK_SECONDS = 5.0  # that a watch's end may be late before the connection counts as dead
MIN_SECONDS = 3.0  # a watch that ends sooner is not opened again at once
JOIN_SECONDS = 0.25  # between two openings for those who joined: a burst shares them
MAX_PAUSE = 5.0
_JITTER = random.Random()  # noqa: S311 - not a secret


@dataclass(slots=True)
class _Waited:
    """A namespace that is waited for, or was until a moment ago, with its pods by name.

    `joins_at` is the version of the list until the stream includes the namespace, and then 0. `error` is why the last
    list failed, `failures` how many did in a row, and `list_at` when the next one may be tried.
    """

    pods: dict[str, Json] = field(default_factory=dict[str, Json])
    listed: bool = False
    joins_at: int = 0
    error: BerthError | None = None
    failures: int = 0
    list_at: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0
    idle_since: float = 0.0

    def notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class PodWatch:
    """Holds the pods of the namespaces that are waited for.

    Args:
        client: The cluster.
        settings: How often to renew, and how long to stay with a namespace while nobody waits for it.
        instance_of: Returns the instance that a namespace belongs to, as the pods' label names it.
        project: Returns the part of a pod that is kept in memory.
        rate_limit: Delays the lists; each watch but the first has one before it, or a pause.
    """

    def __init__(
        self,
        client: KubernetesClient,
        settings: KubernetesSettings,
        instance_of: Callable[[str], str],
        project: Callable[[Json], Json],
        rate_limit: RateLimit,
    ) -> None:
        self._client = client
        self._settings = settings
        self._instance_of = instance_of
        self._project = project
        self._rate_limit = rate_limit
        self._waited: dict[str, _Waited] = {}
        self._position = 0  # of the stream; 0 is none
        self._opened = float("-inf")
        self._not_before = float("-inf")  # when the next stream may be opened after one that ended too soon
        self._failures = 0
        self._scope: asyncio.Timeout | None = None
        self._task: asyncio.Task[None] | None = None

    def pods(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        """Return the pods of a namespace that is or was just waited for, as they were when the watch last saw them."""
        waited = self._waited.get(namespace)
        return list(waited.pods.values()) if waited is not None else []

    async def wait[T](
        self, namespace: str, find: Callable[[Sequence[Mapping[str, Any]]], T | None], *, timeout: float
    ) -> T | None:
        """Return the first result of `find` for a namespace's pods, called after every change.

        Returns None if there is none within `timeout` seconds; raises Transient if the pods cannot be listed.
        """
        waited = self._waited.setdefault(namespace, _Waited())
        waited.waiters += 1
        found: T | None = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if not waited.listed:
                        await self._list(namespace, waited)
                    found = find(list(waited.pods.values()))
                    if found is not None:
                        return found
                    self._include(waited)
                    await waited.changed.wait()
        except TimeoutError:
            if not waited.listed:
                kind = Unauthenticated if isinstance(waited.error, Unauthenticated) else Transient
                cause = waited.error or "it has not responded yet"
                raise kind(f"the cluster cannot be watched: {cause}") from None
            return None
        finally:
            waited.waiters -= 1
            waited.idle_since = _now()
            if not waited.waiters and found is not None:
                del self._waited[namespace]

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _list(self, namespace: str, waited: _Waited) -> None:
        """List a namespace's pods, again after a pause until that succeeds."""
        while True:
            await asyncio.sleep(waited.list_at - _now())
            await self._rate_limit.wait(namespace)
            try:
                listed = await self._client.request("GET", PODS.format(namespace), retry=False)
                break
            except BerthError as error:
                log_event(logger, "list before a watch failed", namespace=namespace, cause=str(error))
                asked = error.retry_after if isinstance(error, Transient) else None
                waited.error, waited.failures = error, waited.failures + 1
                waited.list_at = _now() + _pause(waited.failures, asked)
        waited.error, waited.failures = None, 0
        if waited.listed:  # by another one who waits for this namespace
            return
        waited.pods = {each["metadata"]["name"]: self._project(each) for each in listed["items"]}
        waited.listed, waited.joins_at = True, int(listed["metadata"]["resourceVersion"])

    def _include(self, waited: _Waited) -> None:
        """Have the stream opened, or opened again if it does not include a namespace yet."""
        if self._task is None or self._task.done():
            # In a context of its own: its log lines do not belong to the tenant that came first.
            self._task = asyncio.create_task(self._follow(), name="watch pods", context=Context())
        elif waited.joins_at and self._scope is not None and self._scope.when() is None:
            self._scope.reschedule(max(_now(), self._opened + JOIN_SECONDS))

    async def _follow(self) -> None:
        while self._listed():
            await asyncio.sleep(max(self._not_before, self._opened + JOIN_SECONDS) - _now())
            listed, self._opened = self._listed(), _now()
            joining = [each.joins_at for each in listed.values() if each.joins_at]
            self._position = min([self._position, *joining] if self._position else joining)
            for each in listed.values():
                each.joins_at = 0
            asked: float | None = None
            try:
                # Whoever joins gives the scope an end.
                async with asyncio.timeout(None) as self._scope:
                    await self._stream(listed)
            except TimeoutError:
                continue
            except Conflict:
                self._list_again()  # 410 Gone: the position is too old
            except BerthError as error:
                log_event(logger, "watch interrupted", cause=str(error))
                asked = error.retry_after if isinstance(error, Transient) else None
            finally:
                self._scope = None
            # Pause before reopening a stream that ended at once, for whatever reason.
            self._failures = self._failures + 1 if _now() - self._opened < MIN_SECONDS else 0
            self._not_before = _now() + _pause(self._failures, asked)
        if not self._waited:
            self._position = 0

    def _listed(self) -> Mapping[str, _Waited]:
        """Forget the namespaces that nobody has waited for since long, and return the listed ones of the others."""
        long_ago = _now() - self._settings.watch_idle_timeout
        kept = {name: each for name, each in self._waited.items() if each.waiters or each.idle_since >= long_ago}
        self._waited = kept
        return {name: each for name, each in kept.items() if each.listed}

    def _list_again(self) -> None:
        self._position = 0
        self._waited = {name: each for name, each in self._waited.items() if each.waiters}
        for each in self._waited.values():
            each.listed = False
            each.notify()

    async def _stream(self, namespaces: Iterable[str]) -> None:
        """Follow the changes of the pods in these namespaces until the stream ends."""
        instances = ",".join(sorted(self._instance_of(each) for each in namespaces))
        seconds = self._settings.watch_timeout
        events = self._client.stream(
            ALL_PODS,
            read_timeout=seconds + SLACK_SECONDS,
            query={
                "labelSelector": f"{LABEL} in ({instances})",
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": self._position,
                "timeoutSeconds": seconds,
            },
        )
        async with contextlib.aclosing(events):
            async for event in events:
                item: Json = event["object"]
                self._position = int(item["metadata"]["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], item)

    def _take(self, change: str, item: Json) -> None:
        waited = self._waited.get(item["metadata"]["namespace"])
        if waited is None or not waited.listed:
            return
        if change == "DELETED":
            waited.pods.pop(item["metadata"]["name"], None)
        else:
            waited.pods[item["metadata"]["name"]] = self._project(item)
        waited.notify()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pause(failures: int, asked: float | None) -> float:
    """Return the seconds before the next attempt: 0.5 to 1 after the first failure, then longer, and as asked for."""
    ceiling = min(MAX_PAUSE, 2.0 ** (failures - 1)) if failures else 0.0
    return max(_JITTER.uniform(ceiling / 2, ceiling), asked or 0.0)
