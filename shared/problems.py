"""Errors as RFC 9457 problem documents. Each kind has a section in docs/problems.md that says what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BerthError, Busy, Conflict, Invalid, KeyReused, NotFound, Permanent, Transient

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER = 5  # seconds, when the cause did not name a time


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document and its status and headers. `detail` tells the caller what to do."""

    kind: str
    title: str
    status: int
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def document(self, instance: str) -> dict[str, Any]:
        """Return the JSON members; `instance` is the path of the request."""
        body: dict[str, Any] = {
            "type": f"/api/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            body["errors"] = [{"pointer": pointer, "detail": text} for pointer, text in self.errors]
        return body


def problem_of(error: BerthError) -> Problem:
    """Return the problem that an error is to a caller."""
    match error:
        case Invalid():
            detail = "Mend the members named in `errors` and send the request again."
            return Problem("invalid-request", "The request is not valid", 422, detail, error.errors)
        case KeyReused():
            return Problem("key-reused", "The idempotency key stands for another request", 422, str(error))
        case NotFound():
            return Problem("not-found", "Not found", 404, str(error))
        case Conflict():
            return Problem("conflict", "The present state does not allow this", 409, str(error))
        case Busy():
            wait = str(max(1, round(error.retry_after or DEFAULT_RETRY_AFTER)))
            detail = f"{error}. Send the same request again in {wait} s."
            return Problem("busy", "Too much to do at the moment", 429, detail, headers={"Retry-After": wait})
        case Transient():
            wait = max(1, round(error.retry_after or DEFAULT_RETRY_AFTER))
            detail = f"{error}. Send the same request again in {wait} s."
            return Problem("unavailable", "Not possible at the moment", 503, detail, headers={"Retry-After": str(wait)})
        case Permanent():
            return Problem("refused", "A part that berth depends on refused this", 502, str(error))
        case _:
            return Problem("internal", "Something went wrong in berth", 500, INTERNAL)


INTERNAL = "This is a fault of berth's; it is in its log. Send the same request again, and tell operations if it stays."
