"""HTTP: the API's description, a page for each kind of problem, and the response for unknown paths and methods."""

import functools
import re
from pathlib import Path
from typing import Any

import azure.functions as func

from functions.current import container
from functions.http.endpoint import ROUTES, catch_all, endpoint, problem_document, request_path
from functions.http.openapi import document
from functions.http.pages.rendering import problem_page
from functions.http.problems import Kind, Problem, ProblemError
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


# The real host tries routes in the alphabetical order of the functions' names (Azure/azure-functions-host#9876 and
# #6062; azure-webjobs-sdk-extensions PR 842 would change that): the name of this one must come last.
def _refuse(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    """Respond with a page where there are pages, and with a document elsewhere."""
    is_page = request_path(req).startswith("/api/ops/")
    return (problem_page if is_page else problem_document)(req, problem)


@catch_all(refuse=_refuse)
async def unknown_route(req: func.HttpRequest) -> func.HttpResponse:
    """Respond to a request that has no route: 405 if the path has other methods, else 404."""
    path = req.route_params.get("path", "")
    methods = sorted({route.method for route in ROUTES.values() if route.has_path(path)})
    if methods:
        detail = f"Use {' or '.join(methods)} here; /api/openapi.json describes what each does."
        raise ProblemError(Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": ", ".join(methods)}))
    raise NotFound("there is nothing under this path; /api/openapi.json lists all paths")


@functools.cache
def _document() -> str:
    return document(ROUTES, plans=container().plans)


@functools.cache
def problem_pages() -> dict[str, str]:
    """Return the sections of docs/problems.md, each as a page, by the kind that it is about."""
    sections = re.split(r"^## ", PROBLEMS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: f"# {section.rstrip()}\n" for section in sections}
