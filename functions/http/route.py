"""What a route declares: its method and path, what it takes, and how it can respond."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

from azure.functions import AuthLevel
from pydantic import BaseModel, Field

from functions.http import responses
from functions.http.problems import Kind
from functions.http.requests import DEFAULT_ACTOR, MAX_ACTOR_LENGTH, NO_ADDRESS, ClusterName, Limit, Slug
from shared.domain.idempotency import MAX_KEY_LENGTH

type Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a caller sends beside the body; what is in the path must be there. `type` is for pydantic."""

    location: Literal["path", "query", "header"]
    name: str
    type: Any
    description: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a response; one that is not `always` there says so in its description."""

    name: str
    type: Any
    description: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """A response that is no problem. `content` is the model of a JSON body, or a type that goes by `media_type`."""

    status: HTTPStatus
    description: str
    content: Any
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API.

    `path` is what comes after /api/; a route that is not `strict` takes parameters and bodies that it does not use. One
    that is not `described` is a page for people, of which the API's description says nothing.
    """

    method: Method
    path: str
    summary: str
    responses: tuple[Response, ...]
    problems: tuple[Kind, ...]
    level: AuthLevel = AuthLevel.FUNCTION
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    strict: bool = True
    described: bool = True

    def has_path(self, path: str) -> bool:
        """Whether a path, without /api/, is one of this route's."""
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path))
        return re.fullmatch(f"{pattern}/?", path) is not None


def ok(description: str, content: Any, *headers: Header, media_type: str = "application/json") -> tuple[Response]:
    """Return the one response 200."""
    return (Response(HTTPStatus.OK, description, content, headers, media_type),)


WAIT = Annotated[int, Field(ge=1)]
RETRY_AFTER = Header("Retry-After", WAIT, "Seconds after which to send the same request again.")
RETRY_AFTER_KINDS = frozenset({Kind.QUEUE_FULL, Kind.TOO_MANY_REQUESTS, Kind.UNAVAILABLE})
POLL_AFTER = "Seconds after which to poll the operation again"

TENANT = Parameter("path", "slug", Slug, "The tenant's slug.")
OPERATION = Parameter(
    "path", "id", Annotated[str, Field(examples=["acme.zj4m7c2k9qh3w8t5v1xp"])], "The operation's id."
)
SWEEP = Parameter("path", "id", Annotated[str, Field(examples=["sweep-2026-03-01"])], "The sweep's id.")
CLUSTER = Parameter("path", "name", ClusterName, "The cluster's name.")
KEY = Parameter(
    "header",
    "Idempotency-Key",
    Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH, pattern="^[ -~]*$")],
    "The same request sent again with the same key gives the same operation again.",
)
ACTOR = Parameter(
    "header",
    "Berth-Actor",
    Annotated[
        str,
        Field(max_length=MAX_ACTOR_LENGTH, pattern=NO_ADDRESS, json_schema_extra={"default": DEFAULT_ACTOR}),
    ],
    "Who asks, for the audit trail: a name or an id, no e-mail address.",
)
LIMIT = Parameter("query", "limit", Limit, "How many items a page may have.")
NEXT = Parameter("query", "next", Annotated[str, Field(min_length=1)], "The `next` of the page before.")

ACCEPTED = Response(
    HTTPStatus.ACCEPTED,
    "The operation that was begun.",
    responses.Operation,
    (
        Header(
            "Location",
            Annotated[str, Field(json_schema_extra={"format": "uri-reference"})],
            "The path under which to follow the operation.",
        ),
        Header("Retry-After", WAIT, f"{POLL_AFTER}."),
    ),
)

BODY_PROBLEMS = (Kind.TOO_LARGE, Kind.MEDIA_TYPE)
# Of every route that has input to validate and uses the tables, the task hub or the settings.
USUAL_PROBLEMS = (Kind.INVALID_REQUEST, Kind.INTERNAL, Kind.DEPENDENCY_REFUSED, Kind.UNAVAILABLE)
# Of every route that begins an operation on a tenant that is there, or cancels one.
OPERATION_PROBLEMS = (Kind.KEY_REUSED, Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS)
