"""The errors that cross berth's layers. Adapters raise them `from` what their library raised.

Whether a retry can help is part of the type: `Transient` yes, everything else no.
"""


class BerthError(Exception):
    """Anything berth raises on purpose. The message is for a person and holds no secret."""


class NotFound(BerthError):
    """The thing asked for does not exist."""


class Conflict(BerthError):
    """The state of the thing does not allow the change, or somebody else changed it first."""


class ChangedMeanwhile(Conflict):
    """Somebody else changed the thing after it was read. Read again, it may still allow the change."""


class NoRoom(Conflict):
    """No cluster can take the tenant.

    Args:
        message: Why not, for a person.
        remedy: What the operators can do about it, as a verb phrase.
    """

    def __init__(self, message: str, remedy: str = "add capacity") -> None:
        super().__init__(message)
        self.remedy = remedy


class Unfit(Conflict):
    """A cluster is not registered, because it lacks what berth needs.

    Args:
        message: Which one, for a person.
        missing: Everything that it lacks, each as the location in the request and a sentence.
    """

    def __init__(self, message: str, *missing: tuple[str, str]) -> None:
        super().__init__(message)
        self.missing = missing


ANSWERS: tuple[type[BerthError], ...] = (NotFound, Conflict)
"""What another service says without having failed."""


class KeyReused(BerthError):
    """An idempotency key was sent with another request than before."""


class Transient(BerthError):
    """It may work later: throttled, unreachable, timed out, interrupted.

    Args:
        message: What happened, for a person.
        retry_after: Seconds that the other side asked to wait, or None when it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No response came at all: refused, reset, or timed out."""


class Unauthenticated(Transient):
    """berth's own identity was not accepted, or has no token now: no tenant is at fault, and none may fail for it."""


class WrongRegistration(Unreachable):
    """The registration does not lead to the cluster: another one is there, or nothing that berth may connect to.

    For a cluster's tenants that is as if it did not respond. It can heal without them, so it is no failure of theirs.

    Args:
        message: What is wrong, and what an operator can do about it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, 30.0)  # seconds: it takes an operator


class QueueFull(Transient):
    """The queue of signups is full; `retry_after` says when to send the request again."""


class TooMany(Transient):
    """Too many requests of one kind come at once; `retry_after` says when to send this one again."""


class Permanent(BerthError):
    """It will not work however often it is tried: refused, invalid, forbidden."""


class Forbidden(Permanent):
    """A right, policy or quota of the cluster forbids it. Waiting rarely helps: a role assignment can still arrive."""


class NotOurs(Permanent):
    """A namespace or an object in one is not this berth's, or not the instance's; it was not changed."""


class Invalid(BerthError):
    """The request is wrong in a way that only its sender can fix.

    Args:
        errors: What is wrong, each as the location in the request and a sentence.
    """

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{pointer}: {text}" for pointer, text in errors))
        self.errors = errors
