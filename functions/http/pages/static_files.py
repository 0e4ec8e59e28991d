"""The style sheet, the scripts and the vendored libraries of the ops pages, each under an address with its hash."""

import functools
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import azure.functions as func
from pydantic import Field

from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.route import Parameter, Route, ok
from shared.errors import NotFound

FILES = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@endpoint(
    Route(
        method="GET",
        path="ops/static/{hash}/{name}",
        summary="Return a file of the ops pages",
        level=func.AuthLevel.ANONYMOUS,
        parameters=(
            Parameter("path", "hash", Annotated[str, Field(pattern="^[0-9a-f]+$")], "The beginning of its SHA-256."),
            Parameter("path", "name", str, "Its name."),
        ),
        responses=ok("The file.", str, media_type="text/css"),
        problems=(Kind.NOT_FOUND, Kind.INTERNAL),
        described=False,
    )
)
async def show_static_file(req: func.HttpRequest) -> func.HttpResponse:
    """Return a file. Browsers keep it for ever, because another one has another address."""
    name = req.route_params["name"]
    path = _paths().get(name)
    if path is None:
        raise NotFound("the ops pages have no such file")
    # Another hash is that of another version: of a page from before an update, which gets what is there now.
    current = req.route_params["hash"] == _hash(name)
    headers = {"Cache-Control": _FOR_EVER if current else "no-store", "X-Content-Type-Options": "nosniff"}
    return func.HttpResponse(path.read_bytes(), headers=headers, mimetype=_TYPES[path.suffix], charset="utf-8")


def static_url(name: str) -> str:
    """Return the address of a file; raises KeyError if there is none of this name."""
    return f"/api/ops/static/{_hash(name)}/{name}"


@functools.cache
def _paths() -> dict[str, Path]:
    return {path.name: path for path in FILES.rglob("*") if path.suffix in _TYPES}


@functools.cache
def _hash(name: str) -> str:
    return sha256(_paths()[name].read_bytes()).hexdigest()[:16]
