"""What the HTTP triggers share: reading a JSON body, answering, and turning errors into problem documents."""

import functools
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, cast

import azure.functions as func
from pydantic import BaseModel, ValidationError

from functions import answers
from shared.application.lifecycle import Caller
from shared.domain.idempotency import LONGEST_KEY, fingerprint
from shared.domain.operations import Operation
from shared.errors import BerthError, Invalid
from shared.problems import INTERNAL, MEDIA_TYPE, Kind, Problem, problem_of

MAX_BODY_BYTES = 64 * 1024  # a request here is a few hundred bytes
DEFAULT_ACTOR = "api"
LONGEST_ACTOR = 100  # characters; what is beyond them is cut off
DEFAULT_LIMIT, HIGHEST_LIMIT = 100, 1000  # items of a page
POLL_SECONDS = "2"  # between two looks at an operation: a provisioning takes a few seconds

logger = logging.getLogger(__name__)

type Handler[**P] = Callable[Concatenate[func.HttpRequest, P], Awaitable[func.HttpResponse]]


class Refused(BerthError):
    """A request that is turned away before its content is looked at."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def with_problems[**P](handler: Handler[P]) -> Handler[P]:
    """Make a trigger answer a problem document for whatever its handler raises."""

    @functools.wraps(handler)
    async def trigger(req: func.HttpRequest, *args: P.args, **kwargs: P.kwargs) -> func.HttpResponse:
        try:
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
    headers = {"Location": f"/api/operations/{operation.id}", "Retry-After": POLL_SECONDS}
    return answer(answers.Operation.of(operation), status=202, headers=headers)


def read[M: BaseModel](req: func.HttpRequest, model: type[M]) -> M:
    """Return the request's JSON body as a model.

    Raises:
        Refused: The body is too large, or not JSON by its media type.
        Invalid: It is not well-formed JSON, or does not fit the model.
    """
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        detail = f"Send at most {MAX_BODY_BYTES} bytes."
        raise Refused(Problem(Kind.TOO_LARGE, detail))
    media_type = _header(req, "Content-Type").split(";")[0].strip().lower()
    if media_type != "application/json":
        detail = "Send JSON with the header Content-Type: application/json."
        raise Refused(Problem(Kind.MEDIA_TYPE, detail))
    try:
        return model.model_validate(_strict_json(body))
    except ValidationError as error:
        raise Invalid(*((_pointer(each["loc"]), _sentence(each)) for each in error.errors())) from None


def page_size(req: func.HttpRequest) -> int:
    """Return the query's `limit`; raises Invalid unless it is a whole number from 1 to HIGHEST_LIMIT."""
    text = req.params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= HIGHEST_LIMIT):
        raise Invalid(("?limit", f"give a whole number from 1 to {HIGHEST_LIMIT}"))
    return int(text)


def caller_of(req: func.HttpRequest, body: BaseModel | None = None) -> Caller:
    """Return who asks, by their own word in Berth-Actor, and their Idempotency-Key with the fingerprint of the request.

    Raises:
        Invalid: The key is too long, or not plain text.
    """
    said = _header(req, "Berth-Actor")
    actor = "".join(letter for letter in said if letter.isprintable())[:LONGEST_ACTOR] or DEFAULT_ACTOR
    key = _header(req, "Idempotency-Key")
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Invalid(("Idempotency-Key", f"use at most {LONGEST_KEY} printable ASCII characters"))
    meaning = None if body is None else body.model_dump(mode="json")
    return Caller(actor, key, fingerprint(req.method, _path(req), meaning) if key else "")


def _header(req: func.HttpRequest, name: str) -> str:
    headers = cast("Mapping[str, str]", req.headers)  # untyped there
    return headers.get(name, "")


def _strict_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Invalid(("", "the body is not UTF-8")) from None
    except RecursionError:
        raise Invalid(("", "the body is nested too deeply")) from None
    except ValueError as error:
        raise Invalid(("", f"the body is not JSON: {error}")) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the member {json.dumps(name)} stands twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(error: Mapping[str, Any]) -> str:
    # A validator's own message stands behind this prefix of pydantic's.
    return str(error["msg"]).removeprefix("Value error, ")


def _path(req: func.HttpRequest) -> str:
    return "/" + req.url.split("://", 1)[-1].partition("/")[2].partition("?")[0]


def _problem_answer(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    text = answers.Problem.of(problem, instance=_path(req)).model_dump_json()
    headers = dict(problem.headers)
    return func.HttpResponse(text, status_code=problem.kind.status, headers=headers, mimetype=MEDIA_TYPE)
