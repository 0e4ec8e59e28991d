"""HTTP: the API's own description, a page about each kind of problem, and the answer to what has no route."""

import functools
import re
from pathlib import Path

import azure.functions as func

from functions.http import with_problems
from functions.openapi import document
from functions.parsing import Refused
from functions.routes import ROUTES
from shared.errors import NotFound
from shared.problems import Kind, Problem

PROBLEMS = Path(__file__).parents[1] / "docs/problems.md"

bp = func.Blueprint()


@bp.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def show_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe this API as OpenAPI 3.1."""
    return func.HttpResponse(document(), mimetype="application/json")


@bp.route(route="problems/{kind}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def show_problem(req: func.HttpRequest) -> func.HttpResponse:
    """Explain a kind of problem to whoever follows the `type` of a problem document."""
    page = problem_pages().get(req.route_params["kind"])
    if page is None:
        raise NotFound(f"there is no such kind of problem; kinds: {', '.join(problem_pages())}")
    return func.HttpResponse(page, mimetype="text/markdown", charset="utf-8")


# The real host tries routes in the alphabetical order of the functions' names (Azure/azure-functions-host#9876 and
# #6062; azure-webjobs-sdk-extensions PR 842 would change that): the name of this one must come last.
@bp.route(route="{*path}", auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def unknown_route(req: func.HttpRequest) -> func.HttpResponse:
    """Answer what no other function does: 405 where the path has other methods, else 404."""
    path = req.route_params.get("path", "")
    methods = sorted({route.method for route in ROUTES if route.has_path(path)})
    if methods:
        detail = f"Use {' or '.join(methods)} here; /api/openapi.json describes what each does."
        raise Refused(Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": ", ".join(methods)}))
    raise NotFound("there is nothing under this path; /api/openapi.json lists all that there are")


@functools.cache
def problem_pages() -> dict[str, str]:
    """Return the sections of docs/problems.md, each as a page, by the kind that it is about."""
    sections = re.split(r"^## ", PROBLEMS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: f"# {section.rstrip()}\n" for section in sections}
