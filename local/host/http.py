"""HTTP triggers and the host's own pages, with function keys as the real host has them."""

import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import azure.functions as func
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.host.app import App, Function, invoke

MAX_BODY_BYTES = 100 * 1024 * 1024  # the real host's limit

logger = logging.getLogger("http")

type Endpoint = Callable[[Request], Awaitable[Response]]


def web_app(app: App, keys: Mapping[str, str], durable_client: str, fire: Callable[[str], bool]) -> Starlette:
    """Return the host's web application.

    Args:
        app: Whose HTTP functions to serve.
        keys: `master` and `default`.
        durable_client: The configuration of durable client bindings.
        fire: Fires the timer of that name now; False if there is none.
    """
    prefix = str(app.extension("http").get("routePrefix", "api")).strip("/")
    routes = [
        Route("/", _home),
        Route("/admin/host/status", _admin(keys, _status)),
        Route("/admin/functions", _admin(keys, _list(app))),
        Route("/admin/functions/{name}", _admin(keys, _fire(fire)), methods=["POST"]),
    ]
    # As the real host does, try them in the order of the functions' names (Azure/azure-functions-host#9876): the first
    # that has both the path and the method answers.
    for function in sorted(app.of_kind("httpTrigger"), key=lambda each: each.name):
        methods = {str(getattr(method, "value", method)) for method in function.trigger.get("methods") or ()}
        template = str(function.trigger.get("route") or function.name).strip("/")
        for path in _paths(f"/{prefix}/{template}" if prefix else f"/{template}"):
            route = Route(path, _endpoint(function, keys, durable_client))
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


def _endpoint(function: Function, keys: Mapping[str, str], durable_client: str) -> Endpoint:
    level = str(getattr(function.trigger.get("authLevel"), "value", function.trigger.get("authLevel"))).lower()
    allowed = {"anonymous": None, "admin": {"master"}}.get(level, {"master", "default"})

    async def endpoint(request: Request) -> Response:
        began = time.monotonic()
        if allowed is not None and not _has_key(request, {name: keys[name] for name in allowed}):
            response = Response(status_code=401)
        else:
            response = await _call(function, request, durable_client)
        milliseconds = (time.monotonic() - began) * 1000
        logger.info("%s %s -> %d in %.0f ms", request.method, request.url.path, response.status_code, milliseconds)
        return response

    return endpoint


async def _call(function: Function, request: Request, durable_client: str) -> Response:
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
    trigger = func.HttpRequest(
        request.method,
        str(request.url.replace(path=request.scope["raw_path"].decode("ascii"))),  # still percent-encoded
        headers=headers,
        params={name: ",".join(query.getlist(name)) for name in query},
        route_params={name: str(value) for name, value in request.path_params.items()},
        body=bytes(body),
    )
    try:
        answer: Any = await invoke(function, {function.trigger["name"]: trigger}, durable_client)
        return _response(answer)
    except Exception:
        logger.exception("%s raised", function.name)
        return Response(status_code=500)


def _headers(request: Request) -> dict[str, str]:
    """Return the headers as the real host does: in UTF-8, and joined by commas where one stands several times."""
    values: dict[str, list[str]] = {}
    for name, value in request.headers.raw:
        values.setdefault(name.decode("ascii"), []).append(value.decode())
    return {name: ",".join(held) for name, held in values.items()}


def _response(answer: func.HttpResponse | str | None) -> Response:
    if not isinstance(answer, func.HttpResponse):
        return Response(answer or "", status_code=200 if answer else 204, media_type="text/plain")
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-type"}
    kind = answer.headers.get("Content-Type") or f"{answer.mimetype}; charset={answer.charset}"
    return Response(answer.get_body(), answer.status_code, {**headers, "Content-Type": kind})


def _has_key(request: Request, keys: Mapping[str, str]) -> bool:
    given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
    # Every key is compared, in constant time, so that the answer's time tells nothing.
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


def _list(app: App) -> Endpoint:
    async def page(request: Request) -> Response:
        return JSONResponse([{"name": function.name, "kind": function.kind} for function in app.functions])

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
        raise ValueError("the keys file needs the members master and default")
    return {name: str(keys[name]) for name in ("master", "default")}
