"""The HTTP operations in the order in which a caller meets them: what each takes, and what it can answer.

The API's description is made from this table, and so is the answer to what has no route. A test holds it against the
registered functions.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

from azure.functions import AuthLevel
from pydantic import BaseModel, Field

from functions import answers
from functions.requests import (
    DEFAULT_ACTOR,
    LONGEST_ACTOR,
    ClusterChange,
    ClusterName,
    ClusterRegistration,
    Limit,
    PlanName,
    Region,
    Retry,
    Signup,
    Slug,
)
from shared.domain.idempotency import LONGEST_KEY
from shared.domain.tenants import TenantState
from shared.problems import Kind


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a caller sends beside the body; what is in the path must be there. `type` is for pydantic."""

    place: Literal["path", "query", "header"]
    name: str
    type: Any
    description: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer; one that is not `always` there says so in its description."""

    name: str
    type: Any
    description: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no problem. `content` is the model of a JSON answer, or a type that goes by `media_type`."""

    status: HTTPStatus
    description: str
    content: Any
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation; `function` is the name of its function, `path` what comes after /api/."""

    method: str
    path: str
    function: str
    level: AuthLevel
    summary: str
    answers: tuple[Answer, ...]
    problems: tuple[Kind, ...]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True

    def has_path(self, path: str) -> bool:
        """Whether a path, without /api/, is one of this route's."""
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path))
        return re.fullmatch(f"{pattern}/?", path) is not None


WAIT = Annotated[int, Field(ge=1)]
RETRY_AFTER = Header("Retry-After", WAIT, "Seconds after which to send the same request again.")
RETRY_AFTER_KINDS = frozenset({Kind.BUSY, Kind.UNAVAILABLE})

_TENANT = Parameter("path", "slug", Slug, "The tenant's slug.")
_OPERATION = Parameter(
    "path", "id", Annotated[str, Field(examples=["acme.zj4m7c2k9qh3w8t5v1xp"])], "The operation's id."
)
_CLUSTER = Parameter("path", "name", ClusterName, "The cluster's name.")
_KEY = Parameter(
    "header",
    "Idempotency-Key",
    Annotated[str, Field(min_length=1, max_length=LONGEST_KEY, pattern="^[ -~]*$")],
    "The same request sent again with the same key gives the same operation again.",
)
_ACTOR = Parameter(
    "header",
    "Berth-Actor",
    Annotated[str, Field(max_length=LONGEST_ACTOR, json_schema_extra={"default": DEFAULT_ACTOR})],
    "Who asks, for the audit trail.",
)
_LIMIT = Parameter("query", "limit", Limit, "How many items a page may have.")
_NEXT = Parameter("query", "next", Annotated[str, Field(min_length=1)], "The `next` of the page before.")

_LOCATION = Header(
    "Location",
    Annotated[str, Field(json_schema_extra={"format": "uri-reference"})],
    "The path under which to follow the operation.",
)
_LOOK_AGAIN = "Seconds after which to look at the operation again"
_BEGUN = Answer(
    HTTPStatus.ACCEPTED,
    "The operation that was begun.",
    answers.Operation,
    (_LOCATION, Header("Retry-After", WAIT, f"{_LOOK_AGAIN}.")),
)

_BODY = (Kind.TOO_LARGE, Kind.MEDIA_TYPE)
# Whatever has parts that a caller can get wrong, and needs tables, task hub or settings.
_USUAL = (Kind.INVALID_REQUEST, Kind.INTERNAL, Kind.REFUSED, Kind.UNAVAILABLE)


def _ok(description: str, content: Any, *headers: Header, media_type: str = "application/json") -> tuple[Answer]:
    return (Answer(HTTPStatus.OK, description, content, headers, media_type),)


ROUTES = (
    Route(
        "GET",
        "openapi.json",
        "show_openapi",
        AuthLevel.ANONYMOUS,
        "Describe this API",
        answers=_ok("This document.", dict[str, Any]),
        problems=(Kind.INVALID_REQUEST, Kind.INTERNAL),
    ),
    Route(
        "GET",
        "problems/{kind}",
        "show_problem",
        AuthLevel.ANONYMOUS,
        "Explain a kind of problem",
        parameters=(Parameter("path", "kind", str, "The end of a problem's `type`."),),
        answers=_ok("What happened, and what to do about it.", str, media_type="text/markdown"),
        problems=(Kind.INVALID_REQUEST, Kind.NOT_FOUND, Kind.INTERNAL),
    ),
    Route(
        "GET",
        "slugs/{slug}",
        "check_slug_is_free",
        AuthLevel.FUNCTION,
        "Say whether a slug is free, or why not",
        parameters=(Parameter("path", "slug", str, "What somebody would like to have as a slug."),),
        answers=_ok("The slug, free or not.", answers.Slug),
        problems=_USUAL,
    ),
    Route(
        "POST",
        "tenants",
        "create_tenant",
        AuthLevel.FUNCTION,
        "Take a slug and start to provision its tenant",
        parameters=(_KEY, _ACTOR),
        body=Signup,
        answers=(_BEGUN,),
        problems=(*_BODY, Kind.KEY_REUSED, Kind.CONFLICT, Kind.BUSY, *_USUAL),
    ),
    Route(
        "GET",
        "operations/{id}",
        "show_operation",
        AuthLevel.FUNCTION,
        "Show an operation",
        parameters=(_OPERATION,),
        answers=_ok(
            "The operation as it stands.",
            answers.Operation,
            Header("Retry-After", WAIT, f"{_LOOK_AGAIN}, while it is open.", always=False),
        ),
        problems=(Kind.NOT_FOUND, *_USUAL),
    ),
    Route(
        "POST",
        "operations/{id}/cancel",
        "cancel_operation",
        AuthLevel.FUNCTION,
        "Ask a provisioning to end and to take back what it made; asking again is safe",
        parameters=(_OPERATION, _KEY, _ACTOR),
        answers=(_BEGUN,),
        problems=(Kind.KEY_REUSED, Kind.NOT_FOUND, Kind.CONFLICT, *_USUAL),
    ),
    Route(
        "GET",
        "tenants",
        "list_tenants",
        AuthLevel.FUNCTION,
        "List tenants",
        parameters=(
            Parameter("query", "state", TenantState, "Only those in this state."),
            Parameter("query", "plan", PlanName, "Only those of this plan."),
            Parameter("query", "cluster", ClusterName, "Only those on this cluster."),
            Parameter("query", "region", Region, "Only those of this region."),
            _LIMIT,
            _NEXT,
        ),
        answers=_ok("A part of the list.", answers.TenantPage),
        problems=_USUAL,
    ),
    Route(
        "GET",
        "tenants/{slug}",
        "show_tenant",
        AuthLevel.FUNCTION,
        "Show one tenant",
        parameters=(_TENANT,),
        answers=_ok("The tenant as it is recorded.", answers.Tenant),
        problems=(Kind.NOT_FOUND, *_USUAL),
    ),
    Route(
        "GET",
        "tenants/{slug}/audit",
        "show_audit",
        AuthLevel.FUNCTION,
        "List a tenant's changes, newest first",
        parameters=(_TENANT, _LIMIT, _NEXT),
        answers=_ok("A part of the list.", answers.AuditPage),
        problems=(Kind.NOT_FOUND, *_USUAL),
    ),
    Route(
        "POST",
        "tenants/{slug}/retry",
        "retry_tenant",
        AuthLevel.FUNCTION,
        "Provision a failed tenant once more",
        parameters=(_TENANT, _KEY, _ACTOR),
        body=Retry,
        body_required=False,
        answers=(_BEGUN,),
        problems=(*_BODY, Kind.KEY_REUSED, Kind.NOT_FOUND, Kind.CONFLICT, *_USUAL),
    ),
    Route(
        "DELETE",
        "tenants/{slug}",
        "delete_tenant_request",
        AuthLevel.FUNCTION,
        "Start to remove a tenant",
        parameters=(_TENANT, _KEY, _ACTOR),
        answers=(_BEGUN,),
        problems=(Kind.KEY_REUSED, Kind.NOT_FOUND, Kind.CONFLICT, *_USUAL),
    ),
    Route(
        "PUT",
        "clusters/{name}",
        "register_cluster",
        AuthLevel.ADMIN,
        "Register a cluster, or replace its whole registration",
        parameters=(_CLUSTER,),
        body=ClusterRegistration,
        answers=_ok("The cluster with its allocation.", answers.Cluster),
        problems=(*_BODY, *_USUAL),
    ),
    Route(
        "PATCH",
        "clusters/{name}",
        "change_cluster",
        AuthLevel.ADMIN,
        "Change a cluster's state or capacity",
        parameters=(_CLUSTER,),
        body=ClusterChange,
        answers=_ok("The cluster with its allocation.", answers.Cluster),
        problems=(*_BODY, Kind.NOT_FOUND, Kind.CONFLICT, *_USUAL),
    ),
    Route(
        "GET",
        "clusters",
        "list_clusters",
        AuthLevel.ADMIN,
        "List the registered clusters with their allocation",
        answers=_ok("All clusters.", answers.ClusterList),
        problems=_USUAL,
    ),
    Route(
        "GET",
        "healthz",
        "healthz",
        AuthLevel.ANONYMOUS,
        "Say that the process serves requests",
        answers=_ok("It does.", answers.Health),
        problems=(),
    ),
    Route(
        "GET",
        "readyz",
        "readyz",
        AuthLevel.ANONYMOUS,
        "Ask tables, task hub and each cluster whether they answer",
        answers=(
            *_ok("All answer.", answers.Readiness),
            Answer(HTTPStatus.SERVICE_UNAVAILABLE, "Something does not answer.", answers.Readiness),
        ),
        problems=_USUAL,
    ),
)
