"""Errors as RFC 9457 problems. Each kind has a section in docs/problems.md that says what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from shared.errors import (
    BerthError,
    Conflict,
    Invalid,
    KeyReused,
    NoRoom,
    NotFound,
    Permanent,
    QueueFull,
    TooMany,
    Transient,
    Unfit,
)

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER = 5  # seconds, when the cause did not name a time


class Kind(Enum):
    """The kinds of problem: a label, the status of the response, and the title."""

    INVALID_REQUEST = ("invalid-request", 422, "The request is not valid")
    KEY_REUSED = ("key-reused", 422, "The idempotency key was used for another request")
    SIGN_IN = ("sign-in", 401, "Sign in first")
    FORBIDDEN = ("forbidden", 403, "You may not do this")
    NOT_FOUND = ("not-found", 404, "Not found")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "Method not allowed")
    CONFLICT = ("conflict", 409, "The current state does not allow this")
    NO_ROOM = ("no-room", 409, "No cluster can take the tenant")
    CLUSTER_UNFIT = ("cluster-unfit", 409, "The cluster lacks what berth needs")
    TOO_LARGE = ("too-large", 413, "The body is too large")
    MEDIA_TYPE = ("media-type", 415, "The body is not JSON")
    QUEUE_FULL = ("queue-full", 429, "The queue of signups is full")
    TOO_MANY_REQUESTS = ("too-many-requests", 429, "Too many requests at once")
    INTERNAL = ("internal", 500, "Something went wrong in berth")
    DEPENDENCY_REFUSED = ("dependency-refused", 502, "A service that berth depends on refused this")
    UNAVAILABLE = ("unavailable", 503, "Not possible at the moment")

    def __init__(self, label: str, status: int, title: str) -> None:
        self.label = label
        self.status = status
        self.title = title

    @property
    def type(self) -> str:
        """The `type` of its documents, which is also where its page is."""
        return f"/api/problems/{self.label}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem and the headers of its response.

    `detail` tells the caller what to do; `sign_in` is where a browser signs in, if that is it.
    """

    kind: Kind
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sign_in: str = ""


class ProblemError(BerthError):
    """A request that is rejected with a problem, such as 405, 413 or 415, before a use case is called."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_of(error: BerthError) -> Problem:
    """Return the problem that an error is to a caller."""
    match error:
        case Invalid():
            detail = "Fix the fields named in `errors` and send the request again."
            return Problem(Kind.INVALID_REQUEST, detail, error.errors)
        case KeyReused():
            return Problem(Kind.KEY_REUSED, str(error))
        case NotFound():
            return Problem(Kind.NOT_FOUND, str(error))
        case NoRoom():
            detail = f"{error}. Nothing was recorded; tell the operators, who can {error.remedy}."
            return Problem(Kind.NO_ROOM, detail)
        case Unfit():
            detail = f"{error}. Fix all that it lacks and send the request again."
            return Problem(Kind.CLUSTER_UNFIT, detail, error.missing)
        case Conflict():
            return Problem(Kind.CONFLICT, str(error))
        case Transient():
            wait = max(1, round(error.retry_after or DEFAULT_RETRY_AFTER))
            detail = f"{error}. Send the same request again in {wait} s."
            return Problem(_kind_of(error), detail, headers={"Retry-After": str(wait)})
        case Permanent():
            return Problem(Kind.DEPENDENCY_REFUSED, str(error))
        case _:
            return Problem(Kind.INTERNAL, INTERNAL)


def _kind_of(error: Transient) -> Kind:
    match error:
        case QueueFull():
            return Kind.QUEUE_FULL
        case TooMany():
            return Kind.TOO_MANY_REQUESTS
        case _:
            return Kind.UNAVAILABLE


INTERNAL = "This is a bug in berth; see its log. Send the same request again; if it fails again, tell the operators."
