"""HTTP triggers and the host's own pages, with function keys as the real host has them."""

import asyncio
import hmac
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from http import HTTPStatus
from typing import Any, Literal

from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.host import tracing
from local.host.app import App, Function
from local.host.worker import FunctionFailedError, WorkerLostError
from local.host.workers import Workers
from local.worker import protos

MAX_BODY_BYTES = 100 * 1024 * 1024  # the real host's limit

POLLED = 1000  # how many paths are remembered to recognise repeated polling
_SAME_SITE: Mapping[int, Literal["lax", "strict", "none"] | None] = {
    protos.RpcHttpCookie.SameSite.Value("None"): None,  # says nothing of it
    protos.RpcHttpCookie.SameSite.Value("Lax"): "lax",
    protos.RpcHttpCookie.SameSite.Value("Strict"): "strict",
    protos.RpcHttpCookie.SameSite.Value("ExplicitNone"): "none",
}
RESPONSE_SECONDS = 230.0  # after which Azure's load balancer responds in the function's place

logger = logging.getLogger("http")

type Endpoint = Callable[[Request], Awaitable[Response]]


class RequestLog:
    """Logs requests; one that only repeats an earlier one with the same result, as polling does, at DEBUG."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()  # the last status of each path that was read

    def add(self, method: str, path: str, status: int, seconds: float) -> None:
        """Log one request."""
        repeated = method == "GET" and self._last.get(path) == status
        if method == "GET":
            self._last[path] = status
            self._last.move_to_end(path)
            if len(self._last) > POLLED:
                self._last.popitem(last=False)
        level = logging.DEBUG if repeated else logging.INFO
        logger.log(level, "%s %s -> %d in %.0f ms", method, path, status, seconds * 1000)


def web_app(
    app: App,
    workers: Workers,
    keys: Mapping[str, str],
    fire: Callable[[str], bool],
    response_seconds: float = RESPONSE_SECONDS,
) -> Starlette:
    """Return the host's web application.

    Args:
        app: The app.
        workers: Whose HTTP functions to serve.
        keys: `master` and `default`.
        fire: Fires the timer of that name now; False if there is none.
        response_seconds: After how long a request gets a 502 although its function still runs.
    """
    log = RequestLog()
    prefix = str(app.extension("http").get("routePrefix", "api")).strip("/")
    routes = [
        Route("/", _home),
        Route("/admin/host/status", _admin(keys, _status)),
        Route("/admin/functions", _admin(keys, _list(workers))),
        Route("/admin/functions/{name}", _admin(keys, _fire(fire)), methods=["POST"]),
    ]
    # As the real host does, try them in the order of the functions' names (Azure/azure-functions-host#9876): the first
    # that has both the path and the method handles the request.
    for function in sorted(workers.of_kind("httpTrigger"), key=lambda each: each.name):
        methods: set[str] = set(function.trigger.get("methods") or ())
        template = str(function.trigger.get("route") or function.name).strip("/")
        template = f"{prefix}/{template}" if prefix else template
        for path in _paths(f"/{template}"):
            route = Route(path, _traced(_endpoint(function, workers, keys, log, response_seconds), template))
            route.methods = methods  # none is all of them; Starlette itself would add HEAD to GET
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")  # $ lets %0A follow
            routes.append(route)
    # Where no function has both, the real host does not tell a wrong method from a wrong path.
    return Starlette(routes=routes, exception_handlers={405: _not_found})


def _paths(template: str) -> list[str]:
    """Translate an ASP.NET route template into the paths that it matches: a last slash says nothing there.

    A last parameter that may be left out, as a catch-all may, gives paths without it too.
    """
    optional = re.fullmatch(r"(.*)/\{([^{}]+)\?\}", template)
    if optional:
        return [*_paths(optional[1]), *_paths(f"{optional[1]}/{{{optional[2]}}}")]
    catch_all = re.fullmatch(r"(.*)/\{\*+([^{}]+)\}", template)
    if catch_all:
        return [*_paths(catch_all[1] or "/"), f"{catch_all[1]}/{{{catch_all[2]}:path}}"]
    kinds = {"int": ":int", "long": ":int", "guid": ":uuid", "float": ":float", "double": ":float"}

    def parameter(match: re.Match[str]) -> str:
        name, _, constraint = match[1].partition(":")
        return f"{{{name}{kinds.get(constraint, '')}}}"

    path = re.sub(r"\{([^{}]+)\}", parameter, template)
    return [path, f"{path.rstrip('/')}/"]


def _endpoint(
    function: Function, workers: Workers, keys: Mapping[str, str], log: RequestLog, seconds: float
) -> Endpoint:
    level = str(function.trigger.get("authLevel"))
    allowed = {"ANONYMOUS": None, "ADMIN": {"master"}}.get(level, {"master", "default"})

    async def endpoint(request: Request) -> Response:
        began = time.monotonic()
        if allowed is not None and not _has_key(request, {name: keys[name] for name in allowed}):
            response = Response(status_code=401)
        else:
            response = await _call(function, workers, request, seconds)
        log.add(request.method, request.url.path, response.status_code, time.monotonic() - began)
        return response

    return endpoint


def _traced(endpoint: Endpoint, route: str) -> Endpoint:
    """Make a span of each request, in the trace of its caller if that sends one; the query may hold a key."""

    async def traced(request: Request) -> Response:
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "http.route": route,
            "url.scheme": request.url.scheme,
            "url.path": request.url.path,
            "server.address": request.url.hostname or "",
            "server.port": request.url.port or 80,
            "user_agent.original": request.headers.get("user-agent", ""),
        }
        with tracing.span(f"{request.method} {route}", SpanKind.SERVER, request.headers, attributes) as span:
            response = await endpoint(request)
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
        return response

    return traced


async def _call(function: Function, workers: Workers, request: Request, seconds: float) -> Response:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return Response(status_code=413)
    query = request.query_params
    try:
        headers = _headers(request)
    except UnicodeDecodeError:
        return Response(status_code=400)
    http = protos.RpcHttp(
        method=request.method,
        url=str(request.url.replace(path=request.scope["raw_path"].decode("ascii"))),  # still percent-encoded
        headers=headers,
        query={name: ",".join(query.getlist(name)) for name in query},
        params={name: str(value) for name, value in request.path_params.items()},
        body=protos.TypedData(bytes=bytes(body)),
    )
    # A worker process stands for an instance of the app. When an instance ends or does not respond, the front end of
    # Azure does so in its place, with 502. (The real host itself sends 500 for a worker process that has ended.)
    try:
        async with asyncio.timeout(seconds):
            return _response(await workers.invoke(function, protos.TypedData(http=http)))
    except FunctionFailedError as error:
        logger.error("%s raised", function.name, extra={"trace": error.trace})  # noqa: TRY400 - the app's traceback
        return Response(status_code=500)
    except (WorkerLostError, TimeoutError):
        logger.warning("the worker of %s ended, or did not respond in time", function.name)
        return Response(status_code=502)


def _headers(request: Request) -> dict[str, str]:
    """Return the headers as the real host does: in UTF-8, and joined by commas where one stands several times."""
    values: dict[str, list[str]] = {}
    for name, value in request.headers.raw:
        values.setdefault(name.decode("ascii"), []).append(value.decode())
    return {name: ",".join(held) for name, held in values.items()}


def _response(response: Any) -> Response:
    if response.WhichOneof("data") != "http":
        return Response(response.string, media_type="text/plain")
    made = Response(response.http.body.bytes, int(response.http.status_code), dict(response.http.headers))
    for each in response.http.cookies:
        made.set_cookie(
            each.name,
            each.value,
            max_age=int(each.max_age.value) if each.HasField("max_age") else None,
            expires=each.expires.value.ToDatetime(tzinfo=UTC) if each.HasField("expires") else None,
            path=each.path.value or None,
            domain=each.domain.value or None,
            secure=each.secure.value,
            httponly=each.http_only.value,
            samesite=_SAME_SITE[each.same_site],
        )
    return made


def _has_key(request: Request, keys: Mapping[str, str]) -> bool:
    given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
    # Every key is compared, in constant time, so that the time of the response reveals nothing.
    matches = [hmac.compare_digest(given.encode(), key.encode()) for key in keys.values()]
    return any(matches)


def _admin(keys: Mapping[str, str], page: Endpoint) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if not _has_key(request, {"master": keys["master"]}):
            return Response(status_code=401)
        return await page(request)

    return endpoint


async def _home(request: Request) -> Response:
    return Response("The Functions host is up and running.", media_type="text/plain")


async def _status(request: Request) -> Response:
    return JSONResponse({"state": "Running", "id": "local"})


def _list(workers: Workers) -> Endpoint:
    async def page(request: Request) -> Response:
        return JSONResponse([{"name": function.name, "kind": function.kind} for function in workers.functions])

    return page


def _fire(fire: Callable[[str], bool]) -> Endpoint:
    async def page(request: Request) -> Response:
        return Response(status_code=202 if fire(request.path_params["name"]) else 404)

    return page


async def _not_found(request: Request, error: Exception) -> Response:
    return Response(status_code=404)


def read_keys(text: str) -> dict[str, str]:
    """Return the keys in a JSON text; raises ValueError unless it has `master` and `default`."""
    keys: dict[str, Any] = json.loads(text)
    if {"master", "default"} - keys.keys():
        raise ValueError("the keys file needs the fields master and default")
    return {name: str(keys[name]) for name in ("master", "default")}
