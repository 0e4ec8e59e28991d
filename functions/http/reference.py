"""HTTP: the API's description, and a page for each kind of problem."""

import functools
import re
from pathlib import Path
from typing import Any

import azure.functions as func

from functions.current import container
from functions.http.endpoint import ROUTES, endpoint
from functions.http.openapi import document
from functions.http.problems import Kind
from functions.http.route import Parameter, Route, ok
from shared.errors import NotFound

PROBLEMS = Path(__file__).parents[2] / "docs/problems.md"


@endpoint(
    Route(
        method="GET",
        path="openapi.json",
        summary="Describe this API",
        level=func.AuthLevel.ANONYMOUS,
        responses=ok("This document.", dict[str, Any]),
        problems=(Kind.INVALID_REQUEST, Kind.INTERNAL),
    )
)
async def show_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe this API as OpenAPI 3.1."""
    return func.HttpResponse(_document(), mimetype="application/json")


@endpoint(
    Route(
        method="GET",
        path="problems/{kind}",
        summary="Explain a kind of problem",
        level=func.AuthLevel.ANONYMOUS,
        parameters=(Parameter("path", "kind", str, "The end of a problem's `type`."),),
        responses=ok("What happened, and what to do.", str, media_type="text/markdown"),
        problems=(Kind.INVALID_REQUEST, Kind.NOT_FOUND, Kind.INTERNAL),
    )
)
async def show_problem(req: func.HttpRequest) -> func.HttpResponse:
    """Return the page about a kind of problem, to which the `type` of a problem document leads."""
    page = problem_pages().get(req.route_params["kind"])
    if page is None:
        raise NotFound(f"there is no such kind of problem; kinds: {', '.join(problem_pages())}")
    return func.HttpResponse(page, mimetype="text/markdown", charset="utf-8")


@functools.cache
def _document() -> str:
    return document(ROUTES, plans=container().plans)


@functools.cache
def problem_pages() -> dict[str, str]:
    """Return the sections of docs/problems.md, each as a page, by the kind that it is about."""
    sections = re.split(r"^## ", PROBLEMS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: f"# {section.rstrip()}\n" for section in sections}
