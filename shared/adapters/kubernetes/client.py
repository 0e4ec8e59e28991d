"""Requests to one API server: static paths, raw JSON, timeouts, retries, and our own errors.

The official client brings the connection pool and the authentication; its models are left out, because they cost ten
times what the JSON itself costs to read.
"""

import asyncio
import json
import logging
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, cast
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from shared.adapters.kubernetes.redirects import refuse_redirects
from shared.adapters.retry import RetryPolicy, retry_after, with_retry
from shared.errors import (
    ANSWERS,
    BerthError,
    Conflict,
    Forbidden,
    NotFound,
    Permanent,
    Transient,
    Unauthenticated,
    Unreachable,
)
from shared.events import log_event
from shared.private_text import REMOVED, without_private
from shared.settings import KubernetesSettings
from shared.telemetry import spans
from shared.time_budget import time_left

logger = logging.getLogger(__name__)

type Json = dict[str, Any]
type Query = Mapping[str, str | int]

DEPENDENCY = "kubernetes"
JSON = "application/json"
APPLY = "application/apply-patch+yaml; charset=utf-8"  # so named, the client leaves the body as `_yaml` makes it
MERGE = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
UNAUTHORIZED = (
    "the API server does not accept berth's token (401): check berth's identity and the cluster's registration"
)
UNAUTHORIZED_PAUSE = 5.0  # seconds; each attempt requests a new token, and nothing cures this within a moment
PAGE = 500  # objects of one request, as kubectl reads
RESPONSE_TIMEOUT = 4.0  # seconds after which an error response that repeats is raised, so that it is shown within five
MAX_ATTEMPT_TIMEOUT = 15.0  # seconds to which an attempt's limit grows: a webhook gets 10 by default
# Connections beside those of the requests: a health check, the watch of pods with the one that it replaces, and the
# watch of namespaces.
CONNECTIONS_BESIDE = 4
_MAX_QUOTE = 300


class NoResponse(Unreachable):
    """The API server took the request and did not respond in time: it is stopped, or waits for a slow webhook."""


class NotServed(Transient):
    """The API server does not serve such a path, or a proxy or another server has responded."""


class TokenSource(Protocol):
    """Gives bearer tokens."""

    async def token(self, *, refused: str = "") -> str:
        """Return a token that is valid for a while yet, and not `refused` if there is another."""
        ...


class KubernetesClient:
    """One pool of connections to an API server.

    Args:
        configuration: Address, certificates and credentials, as the official client holds them.
        settings: Timeouts and the number of requests at once.
        tokens: Where bearer tokens come from, unless the configuration has a client certificate.
    """

    def __init__(
        self, configuration: Configuration, settings: KubernetesSettings, tokens: TokenSource | None = None
    ) -> None:
        configuration.connection_pool_maxsize = settings.max_concurrent_requests + CONNECTIONS_BESIDE
        configuration.trace_configs = [refuse_redirects()]
        self._api = ApiClient(configuration)
        self._host = str(configuration.host).rstrip("/")
        self._settings = settings
        self._limits: dict[str, float] = {}  # of an attempt in seconds, by method, while the API server is slow
        self._tokens = tokens
        self._semaphore = asyncio.Semaphore(settings.max_concurrent_requests)
        self._date = ""

    @property
    def date(self) -> datetime:
        """The API server's own time when it responded last; raises NotServed if its response had none."""
        try:
            return parsedate_to_datetime(self._date)
        except ValueError as error:
            raise NotServed("what responds is no API server: its response has no date") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        media_type: str = JSON,
        retry: bool = True,
        retry_conflict: bool = False,
        may_be_refused: bool = False,
        query: Query | None = None,
        accept: str = JSON,
    ) -> Json:
        """Send a request, with retries if it fails for a moment, and return the JSON response.

        It ends within the time budget. An error that is a response is retried for a few seconds only.

        Args:
            method: The HTTP method.
            path: The path, which begins with a slash.
            body: The JSON body.
            media_type: The body's media type.
            retry: Whether to retry at all.
            retry_conflict: Whether a 409 is retried too: an apply that is sent again resolves a concurrent write.
            may_be_refused: Whether a refusal is an answer as good as any: it is no fault then, and not logged.
            query: The query's parameters.
            accept: The media type of the response.

        Raises:
            NotFound, Conflict, Permanent: As the API server responded.
            Transient: It did not succeed in time.
        """
        total = min(self._settings.total_timeout, time_left())
        if total <= 0:
            raise Transient("no time is left for it (BERTH_KUBERNETES_TOTAL_TIMEOUT)")
        now = asyncio.get_running_loop().time
        limit = self._settings.attempt_timeout

        async def attempt() -> Json:
            nonlocal limit
            async with self._semaphore:
                limit, began = max(limit, self._limits.get(method, limit)), now()
                try:
                    return await self._once(method, path, body, media_type, query, accept, limit=limit)
                except NoResponse:
                    limit = self._limits[method] = max(limit, min(2 * limit, MAX_ATTEMPT_TIMEOUT))
                    raise
                except Forbidden as error:
                    if may_be_refused:
                        raise
                    # An API server that has just started refuses everything until it has read its rules.
                    raise Transient(str(error), 1.0) from error
                except Conflict as error:
                    if not (retry_conflict or method == "GET"):  # a read that is too old, or a page that expired
                        raise
                    raise Transient(str(error)) from error
                finally:
                    if now() - began < self._settings.attempt_timeout:
                        self._limits.pop(method, None)

        policy = RetryPolicy(total, RESPONSE_TIMEOUT, max_attempts=math.inf if retry else 1)
        level = logging.WARNING if retry else logging.INFO  # what is not retried is asked again soon
        answers = (*ANSWERS, Permanent) if may_be_refused else ANSWERS
        verb, resource = verb_and_resource(method, path, media_type)
        try:
            with spans.call(DEPENDENCY, verb, answers, resource=resource):
                return await with_retry(attempt, policy, dependency=DEPENDENCY, answers=answers)
        except Transient as error:
            if isinstance(error.__cause__, Forbidden):
                _log_refusal(method, path, error.__cause__, level)
                raise error.__cause__ from None
            raise
        except Permanent as error:
            if not may_be_refused:
                _log_refusal(method, path, error, level)
            raise

    async def items(self, path: str, query: Query, *, accept: str = JSON) -> AsyncIterator[Json]:
        """Yield the items of a list page by page; raises Transient if a page expired because reading took too long."""
        token = ""
        while True:
            paged = {**query, "limit": PAGE, **({"continue": token} if token else {})}
            page = await self.request("GET", path, query=paged, accept=accept)
            for item in page["items"] or ():  # null in an empty list of metadata
                yield item
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def request_at_once(self, path: str) -> Json:
        """Send a GET once, and not behind those that wait for their turn; raises as `request`."""
        return await self._once("GET", path, None, JSON, None, limit=self._settings.attempt_timeout)

    async def stream(self, path: str, *, read_timeout: float, query: Query) -> AsyncGenerator[Json]:
        """Yield the events of a watch until it ends.

        Raises:
            Conflict: The API server cannot continue from the position: it is too old.
            Transient: The connection broke, or nothing came for `read_timeout` seconds.
        """
        response = await self._send("GET", path, None, JSON, self._timeout(read_timeout), query)
        try:
            if response.status != 200:
                await _read(response)
            async for line in response.content:
                event: Json = json.loads(line)
                if event["type"] == "ERROR":
                    raise Conflict(str(event["object"].get("message", "the watch was refused")))
                yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Transient(f"the watch broke off: {type(error).__name__}") from error
        finally:
            response.close()

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=None, sock_connect=self._settings.attempt_timeout, sock_read=seconds)

    async def _once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        media_type: str,
        query: Query | None,
        accept: str = JSON,
        *,
        limit: float,
    ) -> Json:
        response = await self._send(method, path, body, media_type, self._timeout(limit), query, accept)
        try:
            return await _read(response, _contents(body or {}))
        except TimeoutError as error:
            raise _no_response(limit) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the API server broke off: {type(error).__name__}") from error
        finally:
            response.release()

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        media_type: str,
        timeout: aiohttp.ClientTimeout,
        query: Query | None,
        accept: str = JSON,
    ) -> aiohttp.ClientResponse:
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        content = _yaml(body) if body is not None and media_type == APPLY else body

        async def attempt(authorization: str | None) -> aiohttp.ClientResponse:
            headers = {"Accept": accept, "Content-Type": media_type}
            if authorization:
                headers["Authorization"] = authorization
            try:
                rest: Any = self._api.rest_client  # untyped
                wrapped = await rest.request(method, url, headers=headers, body=content, _request_timeout=timeout)
            except aiohttp.SocketTimeoutError as error:
                raise _no_response(timeout.sock_read or 0.0) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unreachable(f"the API server cannot be reached: {type(error).__name__}") from error
            response = cast("aiohttp.ClientResponse", wrapped.response)
            self._date = response.headers.get("Date", "")
            return response

        if self._tokens is None:
            return await attempt(None)
        token = await self._tokens.token()
        response = await attempt(f"Bearer {token}")
        if response.status == 401:
            response.release()
            response = await attempt(f"Bearer {await self._tokens.token(refused=token)}")
        return response


def verb_and_resource(method: str, path: str, media_type: str) -> tuple[str, str]:
    """Return the Kubernetes verb of a request and the resource in its path, or the first part of any other path."""
    root, *parts = path.partition("?")[0].strip("/").split("/")
    if root not in ("api", "apis"):
        return method.lower(), root
    parts = parts[1 if root == "api" else 2 :]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    resource = "/".join([parts[0], *parts[2:]])  # with a subresource, without the object's name
    match method:
        case "GET":
            verb = "get" if len(parts) > 1 else "list"
        case "POST":
            verb = "create"
        case "PATCH":
            verb = "apply" if media_type == APPLY else "patch"
        case _:
            verb = method.lower()
    return verb, resource


def _no_response(seconds: float) -> NoResponse:
    return NoResponse(
        f"the API server gave no response within {seconds:g} s: it is stopped or slow, or a webhook of it is"
        " (BERTH_KUBERNETES_ATTEMPT_TIMEOUT)"
    )


def _log_refusal(method: str, path: str, error: Permanent, level: int) -> None:
    log_event(logger, "kubernetes refused", level=level, method=method, path=path, cause=str(error))


def _yaml(body: Mapping[str, Any]) -> bytes:
    """Return JSON that is YAML as well: YAML has JSON's escapes, but no pairs of them for what is beyond 16 bits."""
    text = json.dumps(body, ensure_ascii=False)
    return re.sub(r"[\x7f-\uffff]", lambda letter: f"\\u{ord(letter[0]):04x}", text).encode()


async def _read(response: aiohttp.ClientResponse, hidden: Sequence[str] = ()) -> Json:
    try:
        content: Any = json.loads(await response.text())
    except ValueError:
        content = None
    found = cast("Json", content) if isinstance(content, dict) else {}
    if response.status >= 400:
        raise _error(response.status, found, retry_after(response.headers), hidden)
    return found


def _contents(body: Mapping[str, Any]) -> Sequence[str]:
    """Return what a Secret or a ConfigMap holds, such as a tenant's name, which the refusal of a webhook may quote."""
    if body.get("kind") not in ("ConfigMap", "Secret"):
        return ()
    parts = (cast("Mapping[str, Any]", body.get(name) or {}) for name in ("data", "stringData"))
    return [str(value) for part in parts for value in part.values() if value]


def _error(status: int, body: Json, wait: float | None, hidden: Sequence[str]) -> BerthError:
    """Map an error response to our own error.

    Only a Status object's message is quoted, without the texts that are to be hidden: others may hold anything.
    """
    message = str(body.get("message", "")) if body.get("kind") == "Status" else ""
    for each in sorted(hidden, key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", REMOVED, message)
    message = without_private(message)
    text = f"the API server responded {status}" + (f": {message[:_MAX_QUOTE]}" if message else "")
    match status:
        case 401:  # berth's identity is refused, and no tenant is at fault for it; nor could one be removed without it
            return Unauthenticated(UNAUTHORIZED, UNAUTHORIZED_PAUSE if wait is None else wait)
        case 404 if body.get("kind") == "Status":
            return NotFound(text)
        case 404:  # not of an object: the API server does not serve the kind, or it is a proxy's response
            return NotServed(text, wait)
        case 408 | 429 | 500 | 502 | 503 | 504:
            return Transient(text, wait)
        case 403 if "is being terminated" in message or "status unknown for quota" in message:
            return Transient(text, wait)  # the namespace's predecessor, or its new quota, will be handled shortly
        case 403:
            return Forbidden(text)
        case 409 | 410:
            return Conflict(text)
        case _:
            return Permanent(text)
