"""The web application: the ingestion endpoint, what is beside it in Azure, and pages for tests and `./berth telemetry`.

It responds as Microsoft's ENDPOINT-PROTOCOL.md (microsoft/ApplicationInsights-Home) says: 200 if all items were
accepted, 206 if some were, and else the status of the first item; with the number of items, and an error for each that
was refused.
"""

import json
import zlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.telemetry.faults import Fault, Faults
from local.telemetry.schema import fault as fault_of
from local.telemetry.schema import fields
from local.telemetry.store import KEEP, Store

MAX_BYTES = 32 * 1024 * 1024
STATISTICS_KEY = "00000000-0000-0000-0000-0000000000ff"

type Errors = dict[int, tuple[int, str]]
type Page = Callable[[Request], Awaitable[Response]]


def web_app(key: str, store: Store) -> Starlette:
    """Return the web application.

    Args:
        key: The instrumentation key that is accepted. What comes with STATISTICS_KEY is the exporter's own statistics,
            which in Azure go elsewhere: they are counted as a call of `statistics`.
        store: Where envelopes go.
    """
    faults = Faults()

    async def track(request: Request) -> Response:
        fault = faults.take()
        if fault is not None and not fault.status:
            return await _hang(request)
        try:
            items = _items(await request.body(), request.headers.get("content-encoding", ""))
        except (ValueError, zlib.error) as error:
            return _response(HTTPStatus.BAD_REQUEST, 0, {0: (HTTPStatus.BAD_REQUEST, f"Invalid JSON: {error}")})
        if items and all(fields(each).get("iKey") == STATISTICS_KEY for each in items):
            store.calls["statistics"] += 1
            return _response(HTTPStatus.OK, len(items), {})
        now = datetime.now(UTC)
        refused: Errors = {}
        for index, item in enumerate(items):
            if fault is not None and (not fault.items or index in fault.items):
                refused[index] = (fault.status, fault.message)
            elif text := fault_of(item, key, now):
                refused[index] = (HTTPStatus.BAD_REQUEST, text)
                store.refused.append((str(fields(item).get("name", "")), text))
        store.add([item for index, item in enumerate(items) if index not in refused])
        if len(refused) < len(items):
            status = HTTPStatus.PARTIAL_CONTENT if refused else HTTPStatus.OK
        else:
            status = refused[0][0] if refused else HTTPStatus.BAD_REQUEST
        return _response(status, len(items), refused, fault)

    async def live_metrics(request: Request) -> Response:
        store.calls["live metrics"] += 1
        return Response(headers={"x-ms-qps-subscribed": "false"})

    async def envelopes(request: Request) -> Response:
        asked = request.query_params
        last, items = store.find(
            kind=asked.get("type", ""),
            trace=asked.get("trace", ""),
            after=int(asked.get("after", 0)),
            limit=int(asked.get("limit", KEEP)),
        )
        return JSONResponse({"last": last, "items": items})

    async def state(request: Request) -> Response:
        refused = [{"name": name, "message": message} for name, message in store.refused]
        return JSONResponse({"accepted": store.accepted, "refused": refused, "calls": store.calls})

    async def set_faults(request: Request) -> Response:
        try:
            faults.set(await request.json())
        except TypeError as error:
            return JSONResponse({"message": str(error)}, HTTPStatus.BAD_REQUEST)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def unknown(request: Request, error: Exception) -> Response:
        store.calls[f"{request.method} {request.url.path}"] += 1
        return Response(status_code=HTTPStatus.NOT_FOUND)

    # The endpoint of a connection string ends with a slash, and the exporter adds another: the service takes both.
    tracks = [
        Route(f"{slash}/{version}/track", track, methods=["POST"]) for version in ("v2", "v2.1") for slash in ("", "/")
    ]
    live = [Route(f"/QuickPulseService.svc/{name}", live_metrics, methods=["POST"]) for name in ("ping", "post")]
    return Starlette(
        routes=[
            *tracks,
            *live,
            Route("/envelopes", envelopes),
            Route("/state", state),
            Route("/faults", set_faults, methods=["PUT"]),
        ],
        exception_handlers={404: unknown},
    )


def _items(body: bytes, encoding: str) -> list[Any]:
    """Return the items of a body, which is a JSON array, one item, or an item on each line; raises ValueError."""
    if encoding == "gzip":
        decompressor = zlib.decompressobj(wbits=31)
        body = decompressor.decompress(body, MAX_BYTES)
        if not decompressor.eof:
            raise ValueError(f"the body is longer than {MAX_BYTES} bytes, or cut off")
    try:
        found = json.loads(body)
    except ValueError:
        found = [json.loads(line) for line in body.splitlines() if line.strip()]
    return found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] - JSON


def _response(status: int, received: int, refused: Errors, fault: Fault | None = None) -> Response:
    errors = [{"index": index, "statusCode": code, "message": text} for index, (code, text) in refused.items()]
    headers = {"x-ms-session-id": str(uuid4())}
    if fault is not None and fault.retry_after:
        headers["Retry-After"] = fault.retry_after
    if fault is not None and fault.location:
        headers["Location"] = fault.location
    content = {"itemsReceived": received, "itemsAccepted": max(0, received - len(errors)), "errors": errors}
    return JSONResponse(content, status, headers)


async def _hang(request: Request) -> Response:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()
