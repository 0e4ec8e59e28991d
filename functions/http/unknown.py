"""HTTP: the response for unknown paths and methods."""

import azure.functions as func

from functions.http.endpoint import ROUTES, catch_all, problem_document, request_path
from functions.http.pages.rendering import problem_page
from functions.http.problems import Kind, Problem, ProblemError
from shared.errors import NotFound


def _refuse(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    """Respond with a page where there are pages, and with a document elsewhere."""
    is_page = request_path(req).startswith("/api/ops/")
    return (problem_page if is_page else problem_document)(req, problem)


# The real host tries routes in the alphabetical order of the functions' names (Azure/azure-functions-host#9876 and
# #6062; azure-webjobs-sdk-extensions PR 842 would change that): the name of this one must come last.
@catch_all(refuse=_refuse)
async def unknown_route(req: func.HttpRequest) -> func.HttpResponse:
    """Respond to a request that has no route: 405 if the path has other methods, else 404."""
    path = req.route_params.get("path", "")
    methods = sorted({route.method for route in ROUTES.values() if route.has_path(path)})
    if methods:
        detail = f"Use {' or '.join(methods)} here; /api/openapi.json describes what each does."
        raise ProblemError(Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": ", ".join(methods)}))
    raise NotFound("there is nothing under this path; /api/openapi.json lists all paths")
