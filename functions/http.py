"""What the HTTP triggers share: checking what came, answering, and turning errors into problem documents."""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate

import azure.functions as func
from pydantic import BaseModel

from functions import answers
from functions.parsing import Refused, check_parts, header
from functions.requests import DEFAULT_ACTOR, DEFAULT_LIMIT, LONGEST_ACTOR
from functions.routes import ROUTES
from shared.application.lifecycle import Caller
from shared.domain.idempotency import LONGEST_KEY, fingerprint
from shared.domain.operations import SHORTEST_LOOK, Operation
from shared.errors import BerthError, Invalid
from shared.problems import INTERNAL, MEDIA_TYPE, Kind, Problem, problem_of

logger = logging.getLogger(__name__)

type Handler[**P] = Callable[Concatenate[func.HttpRequest, P], Awaitable[func.HttpResponse]]

_ROUTE_OF = {route.function: route for route in ROUTES}


def with_problems[**P](handler: Handler[P]) -> Handler[P]:
    """Make a trigger refuse what its route does not take, and answer a problem document for whatever it raises."""
    route = _ROUTE_OF.get(handler.__name__)

    @functools.wraps(handler)
    async def trigger(req: func.HttpRequest, *args: P.args, **kwargs: P.kwargs) -> func.HttpResponse:
        try:
            if route is not None:
                check_parts(req, route)
            return await handler(req, *args, **kwargs)
        except Refused as error:
            return _problem_answer(req, error.problem)
        except BerthError as error:
            problem = problem_of(error)
            if problem.kind.status >= 500:
                logger.warning("%s %s: %s", req.method, _path(req), error)
            return _problem_answer(req, problem)
        except Exception:
            logger.exception("%s %s", req.method, _path(req))
            return _problem_answer(req, Problem(Kind.INTERNAL, INTERNAL))

    trigger.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined] - the host reads bindings from it
    return trigger


def answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """Return a JSON answer."""
    text = body.model_dump_json()
    return func.HttpResponse(text, status_code=status, headers=dict(headers or {}), mimetype="application/json")


def accepted(operation: Operation) -> func.HttpResponse:
    """Answer with an operation that was begun, and where to follow it."""
    headers = {"Location": f"/api/operations/{operation.id}", "Retry-After": str(SHORTEST_LOOK)}
    return answer(answers.Operation.of(operation), status=202, headers=headers)


def page_size(req: func.HttpRequest) -> int:
    """Return the query's `limit`, or the usual one."""
    return int(req.params.get("limit", DEFAULT_LIMIT))


def caller_of(req: func.HttpRequest, body: BaseModel | None = None) -> Caller:
    """Return who asks, by their own word in Berth-Actor, and their Idempotency-Key with the fingerprint of the request.

    Raises:
        Invalid: One of them is too long or not plain text, or the key is there but empty, so that it would protect from
            nothing.
    """
    actor = header(req, "Berth-Actor") or DEFAULT_ACTOR
    if len(actor) > LONGEST_ACTOR or not actor.isprintable():
        raise Invalid(("Berth-Actor", f"use at most {LONGEST_ACTOR} printable characters"))
    key = header(req, "Idempotency-Key")
    empty = not key and "Idempotency-Key" in req.headers
    if empty or len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Invalid(("Idempotency-Key", f"use 1 to {LONGEST_KEY} printable ASCII characters"))
    meaning = None if body is None else body.model_dump(mode="json")
    return Caller(actor, key, fingerprint(req.method, _path(req), meaning) if key else "")


def _path(req: func.HttpRequest) -> str:
    return "/" + req.url.split("://", 1)[-1].partition("/")[2].partition("?")[0]


def _problem_answer(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    text = answers.Problem.of(problem, instance=_path(req)).model_dump_json()
    headers = dict(problem.headers)
    return func.HttpResponse(text, status_code=problem.kind.status, headers=headers, mimetype=MEDIA_TYPE)
