"""The JSON of the responses. The API's description is made from these models.

All times are ISO 8601 in UTC, to the millisecond.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from functions.http import problems
from shared.domain import operations, visits
from shared.domain.lifecycle import OperationKind, StepName
from shared.domain.operations import OperationState, StepState
from shared.domain.visits import VisitState


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_iso),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"T[0-9:]{8}\.[0-9]{3}Z$"}),
]


_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"

Exact = Annotated[
    Decimal, PlainSerializer(lambda value: f"{value:f}"), WithJsonSchema({"type": "string", "pattern": _NUMBER})
]
"""A number with all its digits, as text in JSON."""


class ResponseBody(BaseModel):
    """The JSON object of a response, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Step(ResponseBody):
    """One step of an operation."""

    name: StepName
    state: StepState
    message: str
    """Its latest message, such as what it waits for or why it failed."""
    started_at: Moment | None
    finished_at: Moment | None
    seconds: float | None
    """How long it took, in seconds; null unless it ran and ended."""

    @classmethod
    def of(cls, step: operations.Step) -> Self:
        """Return a step as callers see it."""
        return cls(
            name=step.name,
            state=step.state,
            message=step.message,
            started_at=step.started_at,
            finished_at=step.finished_at,
            seconds=step.seconds,
        )


class OperationLinks(ResponseBody):
    """Paths from an operation."""

    self: str
    tenant: str


class Operation(ResponseBody):
    """One change of one tenant, as steps that always reach an end."""

    id: str
    kind: OperationKind
    tenant: str
    """The tenant's slug."""
    state: OperationState
    percent: Annotated[int, Field(ge=0, le=100)]
    """How much of it is done; it never falls, and is 100 only at the end."""
    reason: str
    """Why it failed or was cancelled; else empty."""
    cancel_requested: bool
    queue_position: int | None
    """Its place among those that wait for a slot, from 1; null when it does not wait, and in a 202."""
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    """When it reached its end; null while it is open."""
    updated_at: Moment
    """When something last wrote progress."""
    steps: tuple[Step, ...]
    kept_volumes: tuple[str, ...]
    """The volumes that stay on the cluster after a removal, because their reclaim policy is Retain. Berth never deletes
    them."""
    links: OperationLinks

    @classmethod
    def of(cls, operation: operations.Operation, queue_position: int | None = None) -> Self:
        """Return an operation as callers see it."""
        return cls(
            id=operation.id,
            kind=operation.kind,
            tenant=operation.slug,
            state=operation.state,
            percent=operation.percent,
            reason=operation.reason,
            cancel_requested=operation.cancel_requested,
            queue_position=queue_position,
            created_at=operation.created_at,
            started_at=operation.started_at,
            finished_at=operation.finished_at,
            updated_at=operation.heartbeat_at,
            steps=tuple(Step.of(step) for step in operation.steps),
            kept_volumes=operation.kept_volumes,
            links=OperationLinks(self=f"/api/operations/{operation.id}", tenant=f"/api/tenants/{operation.slug}"),
        )


class Page[M: ResponseBody](ResponseBody):
    """A part of a list."""

    items: tuple[M, ...]
    next: str
    """Send it as the query's `next` for what follows; empty on the last page."""


class Slug(ResponseBody):
    """Whether a slug is free; never who has it."""

    slug: str
    free: bool
    reason: str
    """Why it is not free, as a sentence for the customer; else empty."""


class Visit(ResponseBody):
    """What somebody is told who opens the address of a tenant that has no route."""

    host: str
    state: VisitState
    percent: Annotated[int, Field(ge=0, le=100)]
    """How much of the opening is done; 100 only when it is open."""
    position: int | None
    """Its place among those that wait for a slot, from 1; null when it does not wait."""
    message: str
    """The state in general words, for the visitor."""
    elapsed_seconds: int | None
    """For how long it has been woken or provisioned; null when it is not."""
    retry_after: Annotated[int, Field(ge=1)]
    """Seconds after which to ask again, as in the header."""

    @classmethod
    def of(cls, host: str, answer: visits.Answer) -> Self:
        """Return an answer as visitors see it."""
        return cls(
            host=host,
            state=answer.state,
            percent=answer.percent,
            position=answer.position,
            message=answer.message,
            elapsed_seconds=answer.elapsed_seconds,
            retry_after=answer.retry_after,
        )


class Health(ResponseBody):
    """The process serves requests."""

    status: Literal["ok"]


class Readiness(ResponseBody):
    """Whether berth can do its work, as of some seconds ago."""

    ready: bool


class Dependencies(ResponseBody):
    """What berth depends on."""

    ready: bool
    """Tables and task hub respond, and so does a cluster, if any is registered."""
    checks: dict[str, str]
    """`ok` or what is wrong, for tables, task hub and each cluster."""


class InvalidField(ResponseBody):
    """One error in a request."""

    pointer: str
    """A field of the body as a JSON pointer, `?NAME` for a parameter of the query, or the name of a header."""
    detail: str


class Problem(ResponseBody):
    """A problem document (RFC 9457)."""

    type: str
    """Its kind, and the path of a page about it."""
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    """What happened and what to do."""
    instance: str
    """The path of the request."""
    errors: Annotated[tuple[InvalidField, ...], Field(exclude_if=lambda errors: not errors)]
    """The errors in a request that is not valid, or all that a cluster lacks."""

    @classmethod
    def of(cls, problem: problems.Problem, *, instance: str) -> Self:
        """Return a problem as its document; `instance` is the path of the request."""
        return cls(
            type=problem.kind.type,
            title=problem.kind.title,
            status=problem.kind.status,
            detail=problem.detail,
            instance=instance,
            errors=tuple(InvalidField(pointer=pointer, detail=text) for pointer, text in problem.errors),
        )


class SignInLink(ResponseBody):
    """A link that signs an operator in to the ops pages, once."""

    path: str
    """What follows the address of this berth. Behind its `#` is a secret."""
    expires_at: Moment
