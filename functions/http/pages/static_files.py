"""The style sheet, the scripts and the vendored libraries of the ops pages, each under an address with its hash."""

import functools
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file: its bytes, the beginning of their SHA-256, and its media type."""

    content: bytes
    hash: str
    media_type: str


class StaticFiles:
    """The files under a folder by their names, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, StaticFile] = {}

    def find(self, name: str) -> StaticFile | None:
        """Return a file, or None if there is none of this name."""
        if name in self._known:
            return self._known[name]
        path = self._paths.get(name)
        if path is None:
            return None
        content = path.read_bytes()
        file = self._known[name] = StaticFile(content, sha256(content).hexdigest()[:16], _TYPES[path.suffix])
        return file

    @functools.cached_property
    def _paths(self) -> dict[str, Path]:
        return {path.name: path for path in self._folder.rglob("*") if path.suffix in _TYPES}


_files = StaticFiles(FILES)


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
    file = _files.find(req.route_params["name"])
    if file is None:
        raise NotFound("the ops pages have no such file")
    # Another hash is that of another version: of a page from before an update, which gets what is there now.
    current = req.route_params["hash"] == file.hash
    headers = {"Cache-Control": _FOR_EVER if current else "no-store", "X-Content-Type-Options": "nosniff"}
    return func.HttpResponse(file.content, headers=headers, mimetype=file.media_type, charset="utf-8")


def static_url(name: str) -> str:
    """Return the address of a file; raises KeyError if there is none of this name."""
    file = _files.find(name)
    if file is None:
        raise KeyError(name)
    return f"/api/ops/static/{file.hash}/{name}"
