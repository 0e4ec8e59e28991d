"""Why operations fail, as a small closed set of classes: what can be counted, where a reason is text for a person."""

from enum import StrEnum

from shared.domain.pod_status import PodStatus
from shared.errors import BerthError, NoRoom, NotFound, Permanent, Unreachable


class FailureClass(StrEnum):
    """The class of the reason why an operation did not succeed.

    `unexpected` is an activity that broke off with an error nobody expects, and whatever an older berth recorded.
    """

    NONE = "none"
    CANCELLED = "cancelled"
    FORGOTTEN = "forgotten"
    IMAGE = "image"
    CONFIGURATION = "configuration"
    CRASH = "crash"
    VOLUME = "volume"
    ROUTE = "route"
    NO_ROOM = "no-room"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    LOST = "lost"
    TIMEOUT = "timeout"
    UNEXPECTED = "unexpected"


_BY_STATUS = {
    **dict.fromkeys(
        ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "InvalidImageName"),
        FailureClass.IMAGE,
    ),
    **dict.fromkeys(
        ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"), FailureClass.CONFIGURATION
    ),
    **dict.fromkeys(("CrashLoopBackOff", "BackOff", "Failed", "Error", "OOMKilled"), FailureClass.CRASH),
    **dict.fromkeys(("FailedMount", "FailedAttachVolume", "ProvisioningFailed"), FailureClass.VOLUME),
    **dict.fromkeys(("Unschedulable", "NotTriggerScaleUp", "Evicted"), FailureClass.NO_ROOM),
    "FailedCreate": FailureClass.REFUSED,  # of a pod: by a quota or an admission webhook
}


def class_of_status(status: PodStatus) -> FailureClass:
    """Return the class of what keeps a tenant from becoming ready; `timeout` if Kubernetes gives no known reason."""
    if status.adding_node:
        return FailureClass.NO_ROOM
    return _BY_STATUS.get(status.reason, FailureClass.TIMEOUT)


def class_of_error(error: BerthError) -> FailureClass:
    """Return the class of an error; `timeout` for what might have worked later, but took too long."""
    match error:
        case NoRoom():
            return FailureClass.NO_ROOM
        case NotFound():
            return FailureClass.LOST
        case Permanent():
            return FailureClass.REFUSED
        case Unreachable():
            return FailureClass.UNREACHABLE
        case _:
            return FailureClass.TIMEOUT
