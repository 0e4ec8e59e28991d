"""`@endpoint(ROUTE)`: one declaration registers the trigger, the strict checks and the entry in the API's description.

It also maps every exception of a handler to a problem: a document, or a page for people.
"""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Concatenate

import azure.durable_functions as df
import azure.functions as func

from functions.http import responses
from functions.http.problems import INTERNAL, MEDIA_TYPE, Kind, Problem, ProblemError, problem_of
from functions.http.route import Route
from functions.http.validation import check_query_and_body
from shared.errors import BerthError
from shared.events import log_event, log_exception
from shared.telemetry.spans import with_calls

logger = logging.getLogger(__name__)

type Handler[**P] = Callable[Concatenate[func.HttpRequest, P], Awaitable[func.HttpResponse]]
type Refusal = Callable[[func.HttpRequest, Problem], func.HttpResponse]
"""Makes the response to a request that has a problem."""

bp = df.Blueprint()
ROUTES: dict[str, Route] = {}
"""Every route by the name of its function, in the order of registration."""

CLIENT = "client"  # a handler with a parameter of this name gets the durable client


def problem_document(req: func.HttpRequest, problem: Problem, *, instance: str = "") -> func.HttpResponse:
    """Respond with a problem document; `instance` is the path of the request, unless that is to be another."""
    text = responses.Problem.of(problem, instance=instance or request_path(req)).model_dump_json()
    headers = dict(problem.headers)
    return func.HttpResponse(text, status_code=problem.kind.status, headers=headers, mimetype=MEDIA_TYPE)


def endpoint[**P](route: Route, *, refuse: Refusal = problem_document) -> Callable[[Handler[P]], Handler[P]]:
    """Register a handler for a route, and how it refuses a request.

    Raises ValueError for a path whose parameters the route does not declare.
    """
    in_path = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
    declared = {parameter.name for parameter in route.parameters if parameter.location == "path"}
    if in_path != declared:
        raise ValueError(f"the path {route.path} has the parameters {in_path}, but {declared} are declared")

    def register(handler: Handler[P]) -> Handler[P]:
        ROUTES[handler.__name__] = route
        _register_trigger(_trigger(handler, route, refuse), route.path, route.level, methods=[route.method])
        return handler

    return register


def catch_all[**P](*, refuse: Refusal) -> Callable[[Handler[P]], Handler[P]]:
    """Register a handler for every request that no route takes, and how it refuses one."""

    def register(handler: Handler[P]) -> Handler[P]:
        _register_trigger(_trigger(handler, None, refuse), "{*path}", func.AuthLevel.ANONYMOUS, methods=None)
        return handler

    return register


def request_path(req: func.HttpRequest) -> str:
    """Return the path of a request, without the host and the query."""
    return "/" + req.url.split("://", 1)[-1].partition("/")[2].partition("?")[0]


def _trigger[**P](handler: Handler[P], route: Route | None, refuse: Refusal) -> Handler[P]:
    @functools.wraps(handler)
    async def trigger(req: func.HttpRequest, *args: P.args, **kwargs: P.kwargs) -> func.HttpResponse:
        try:
            if route is not None and route.strict:
                check_query_and_body(req, route)
            # The calls of what only reads are not recorded: a page that is polled would make more rows than the fleet.
            with nullcontext() if route is None or route.method == "GET" else with_calls():
                return await handler(req, *args, **kwargs)
        except ProblemError as error:
            return refuse(req, error.problem)
        except BerthError as error:
            problem = problem_of(error)
            if problem.kind.status >= 500:
                fields = {"method": req.method, "route": route.path if route else "", "problem": problem.kind.label}
                log_event(logger, "request failed", level=logging.WARNING, cause=str(error), **fields)
            return refuse(req, problem)
        except Exception:
            # Not the path: a caller may have put anything there.
            log_exception(logger, "request broke off", method=req.method, route=route.path if route else "")
            return refuse(req, Problem(Kind.INTERNAL, INTERNAL))

    trigger.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined] - the worker reads bindings from it
    return trigger


def _register_trigger(
    trigger: Callable[..., Any], path: str, level: func.AuthLevel, *, methods: list[str] | None
) -> None:
    declared: Any = trigger
    if CLIENT in inspect.signature(trigger).parameters:
        declared = bp.durable_client_input(client_name=CLIENT)(declared)
    bp.route(route=path, methods=methods, auth_level=level)(declared)
