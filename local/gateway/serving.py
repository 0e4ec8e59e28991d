"""What the gateway serves: tenants' hosts over HTTPS, a redirect over HTTP, and its counters."""

import html
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from local.gateway.backends import Backend, Invalid, SamplePage, Server, Unavailable
from local.gateway.precedence import Entry

UNKNOWN = "unknown"  # as Istio says it
# The labels of Istio's standard metric that tell something at a gateway.
LABELS = (
    *("reporter", "source_workload", "source_workload_namespace", "source_app", "destination_service"),
    *("destination_service_name", "destination_service_namespace", "request_protocol", "response_code"),
    "response_flags",
)
_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}
_NOT_FORWARDED = _HOP_BY_HOP | {"x-forwarded-proto", "x-forwarded-for"}
_PAGE = """<!doctype html>
<html lang="en">
<title>{host}</title>
<h1>{host}</h1>
<p>The sample product, in the namespace <code>{namespace}</code>.</p>
</html>
"""

logger = logging.getLogger("gateway")

type Find = Callable[[str, str], tuple[Entry, Backend] | None]


@dataclass(frozen=True, slots=True)
class Source:
    """The gateway as its metrics name it: its workload and its namespace."""

    workload: str
    namespace: str


class RequestCounter:
    """Counts requests as Istio's gateways do, in `istio_requests_total`, and its seconds in `envoy_server_uptime`."""

    def __init__(self, source: Source) -> None:
        disable_created_metrics()
        self._source = source
        self._registry = CollectorRegistry()
        self._requests = Counter("istio_requests", "Requests by destination.", LABELS, registry=self._registry)
        began = time.monotonic()
        uptime = Gauge("envoy_server_uptime", "Seconds since the start.", registry=self._registry)
        uptime.set_function(lambda: int(time.monotonic() - began))

    def add(self, entry: Entry | None, status: int, flags: str) -> None:
        """Count a request, which `entry` took, or no route."""
        namespace, name = entry.backend.key if entry and entry.backend else (UNKNOWN, UNKNOWN)
        service = UNKNOWN if name == UNKNOWN else f"{name}.{namespace}.svc.cluster.local"
        workload = self._source.workload
        values = ("source", workload, self._source.namespace, workload, service, name, namespace, "http", status, flags)
        self._requests.labels(*values).inc()

    def text(self) -> bytes:
        """Return the counters in Prometheus' text format."""
        return generate_latest(self._registry)


class TenantHosts:
    """The application behind HTTPS: each request goes to the backend of the route that takes it.

    Args:
        find: Returns the route and the backend for a host and a path.
        counter: Counts each request.
    """

    def __init__(self, find: Find, counter: RequestCounter) -> None:
        self._find = find
        self._counter = counter
        self._http = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(5, read=60), follow_redirects=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        found = self._find(_host(request), scope["path"])
        response, flags = await self._respond(request, found)
        self._counter.add(found[0] if found else None, response.status_code, flags)
        await response(scope, receive, send)

    async def close(self) -> None:
        """Close the connections to real backends."""
        await self._http.aclose()

    async def _respond(self, request: Request, found: tuple[Entry, Backend] | None) -> tuple[Response, str]:
        """Return the response, and what Envoy would say went wrong."""
        if found is None:
            return PlainTextResponse("no route takes this host and path\n", 404), "NR"
        entry, backend = found
        match backend:
            case SamplePage():
                page = _PAGE.format(host=html.escape(_host(request)), namespace=html.escape(entry.route[0]))
                return HTMLResponse(page), "-"
            case Server(address):
                return await self._forward(request, address)
            case Unavailable():
                return PlainTextResponse("no pod behind this address is ready\n", 503), "UH"
            case Invalid():
                return PlainTextResponse("the route's backend does not exist\n", 500), "NC"

    async def _forward(self, request: Request, address: str) -> tuple[Response, str]:
        headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1") not in _NOT_FORWARDED]
        headers += [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"127.0.0.1")]
        target = httpx.URL(f"http://{address}", raw_path=_raw_path(request))
        has_body = not {"content-length", "transfer-encoding"}.isdisjoint(request.headers)
        content = request.stream() if has_body else None
        try:
            sent = self._http.build_request(request.method, target, headers=headers, content=content)
            answer = await self._http.send(sent, stream=True)
        except httpx.HTTPError as error:
            logger.warning("%s cannot be reached: %s", address, type(error).__name__)
            return PlainTextResponse("the server behind this address does not respond\n", 503), "UF"
        response = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        response.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.decode("latin-1").lower() not in _HOP_BY_HOP
        ]
        return response, "-"


def redirect_to(https_port: int) -> ASGIApp:
    """Return the application behind plain HTTP, which leads to HTTPS: nothing is served without it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        url = f"https://{_host(request)}:{https_port}{_raw_path(request).decode('ascii')}"
        await RedirectResponse(url, 301)(scope, receive, send)

    return app


def counters(counter: RequestCounter, is_ready: Callable[[], bool]) -> ASGIApp:
    """Return the application with the gateway's own pages: /metrics, and /readyz, 200 once a gateway is programmed."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/metrics":
                response = Response(counter.text(), media_type=CONTENT_TYPE_LATEST)
            case "/readyz":
                response = PlainTextResponse("", 200 if is_ready() else 503)
            case _:
                response = PlainTextResponse("", 404)
        await response(scope, receive, send)

    return app


def _host(request: Request) -> str:
    """Return the host that a request names, without its port."""
    return request.headers.get("host", "").rpartition("@")[2].partition(":")[0].lower()


def _raw_path(request: Request) -> bytes:
    query: bytes = request.scope["query_string"]
    path: bytes = request.scope["raw_path"]
    return path + (b"?" + query if query else b"")
