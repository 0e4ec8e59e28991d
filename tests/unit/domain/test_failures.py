"""The classes of failure."""

import pytest

from shared.domain.failures import FailureClass, class_of_error, class_of_status
from shared.domain.pod_status import PodStatus
from shared.errors import (
    BerthError,
    Forbidden,
    NoRoom,
    NotFound,
    NotOurs,
    Permanent,
    Transient,
    Unauthenticated,
    Unreachable,
    WrongRegistration,
)
from tests.support.clock import START


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NoRoom("full"), "no-room"),
        (NotFound("the namespace is gone"), "lost"),
        (Permanent("invalid"), "refused"),
        (Forbidden("quota"), "refused"),
        (NotOurs("another owner"), "refused"),
        (Unreachable("reset"), "unreachable"),
        (WrongRegistration("another cluster"), "unreachable"),
        (Transient("500"), "timeout"),
        (Unauthenticated("expired"), "timeout"),
    ],
)
def test_an_error_has_a_class(error: BerthError, failure: str) -> None:
    assert class_of_error(error) == failure


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("ImagePullBackOff", "image"),
        ("InvalidImageName", "image"),
        ("CreateContainerConfigError", "configuration"),
        ("CrashLoopBackOff", "crash"),
        ("FailedMount", "volume"),
        ("Unschedulable", "no-room"),
        ("FailedCreate", "refused"),
        ("", "timeout"),
        ("ContainersNotReady", "timeout"),
        ("WhatNobodyKnows", "timeout"),
    ],
)
def test_a_status_has_a_class(reason: str, failure: FailureClass) -> None:
    status = PodStatus(ready=False, reason=reason, message="", permanent=False, at=START)
    assert class_of_status(status) == failure
