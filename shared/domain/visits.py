"""Visits: what somebody is told who opens the address of a tenant that has no route.

Anybody may open an address. So the texts are general: none has anything of what Kubernetes or an operator wrote.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import Operation, OperationState, age, seconds_between
from shared.domain.slugs import Slug, check_slug
from shared.domain.tenants import Tenant

VISITOR = "visitor"  # the actor of a wake that a visit begins
RETRY_SECONDS = 5  # after which a visitor asks again
BACKOFF_SECONDS = 60  # after a wake that was no success, before a visit may start the next one
MAX_HOST_LENGTH = 253  # characters, of any DNS name


class VisitState(StrEnum):
    """What a visitor finds."""

    ASLEEP = "asleep"
    OPENING = "opening"
    FAILED = "failed"
    OPEN = "open"


class Message(StrEnum):
    """All that a visitor may read."""

    ASLEEP = "It is asleep. It opens when somebody visits it."
    FALLING_ASLEEP = "It is about to sleep. It opens again when somebody visits it."
    RESTING = "It is asleep. It can be opened again in a moment."
    NOT_NOW = "It is asleep, and cannot be opened at the moment. This will be tried again."
    QUEUED = "It opens as soon as it is its turn."
    HELD_UP = "It cannot be opened at the moment. It opens by itself as soon as it can."
    SET_UP = "It is being set up for the first time."
    OPENING = "It is being opened."
    NO_RESPONSE = "It has started, but does not respond yet."
    NOT_OPENED = "It could not be opened. Nothing is lost, and this will be tried again."
    OUT_OF_ORDER = "It is not available. Please tell the people who gave you this address."
    OPEN = "It is open."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a visitor is told.

    Attributes:
        state: What the visitor finds.
        message: The same in words.
        percent: How much of the opening is done, 100 only when it is open.
        position: Its place in the queue for a slot, from 1, or None.
        elapsed_seconds: For how long it has been woken or provisioned, or None.
        retry_after: Seconds after which to ask again.
        can_wake: Whether a visit wakes it now.
    """

    state: VisitState
    message: Message
    percent: int = 0
    position: int | None = None
    elapsed_seconds: int | None = None
    retry_after: int = RETRY_SECONDS
    can_wake: bool = False

    def refused(self, seconds: float) -> "Answer":
        """Return what a visitor is told instead for so many seconds after a wake that could not be begun."""
        return replace(self, message=Message.NOT_NOW, retry_after=_whole(seconds), can_wake=False)


def split_host(host: str) -> tuple[Slug, str] | None:
    """Return the slug and the domain of a host name, in lower case; None if no tenant can have it."""
    if not host.isascii() or len(host) > MAX_HOST_LENGTH:
        return None
    slug, _, domain = host.lower().partition(".")
    return None if check_slug(slug) else (Slug(slug), domain)


def has_address(tenant: Tenant) -> bool:
    """Whether a tenant's address is anybody's: not if the tenant is deleted, or about to be."""
    return tenant.state not in (TenantState.DELETING, TenantState.DELETED)


def answer_for(tenant: Tenant, now: datetime, *, position: int | None = None, is_held_up: bool = False) -> Answer:
    """Return what a visitor of a tenant is told.

    Args:
        tenant: A tenant that has an address.
        now: The present time.
        position: The place of its operation in the queue, if it waits in one.
        is_held_up: Whether its cluster does not respond.
    """
    operation = tenant.operation
    match tenant.state:
        case TenantState.ACTIVE if tenant.observed is None or tenant.observed.ready:
            return Answer(state=VisitState.OPEN, message=Message.OPEN, percent=100)
        case TenantState.ACTIVE:
            return Answer(state=VisitState.OPENING, message=Message.NO_RESPONSE, percent=99)
        case TenantState.HIBERNATED:
            return _asleep(operation, now)
        case TenantState.HIBERNATING if not operation.is_aborting:
            return Answer(state=VisitState.ASLEEP, message=Message.FALLING_ASLEEP, can_wake=True)
        case TenantState.HIBERNATING:  # it is turned round
            return _opening(operation, Message.HELD_UP if is_held_up else Message.OPENING)
        case TenantState.WAKING | TenantState.PROVISIONING if not operation.is_aborting:
            message = Message.SET_UP if operation.kind is OperationKind.PROVISION else Message.OPENING
            if is_held_up:
                message = Message.HELD_UP
            elif position is not None:
                message = Message.QUEUED
            elapsed = int(seconds_between(operation.created_at, now))
            return replace(_opening(operation, message), position=position, elapsed_seconds=elapsed)
        case TenantState.WAKING:
            return _unwoken(operation, BACKOFF_SECONDS)
        case _:
            return Answer(state=VisitState.FAILED, message=Message.OUT_OF_ORDER, retry_after=BACKOFF_SECONDS)


def _opening(operation: Operation, message: Message) -> Answer:
    return Answer(state=VisitState.OPENING, message=message, percent=operation.percent)


def _asleep(operation: Operation, now: datetime) -> Answer:
    if operation.kind is not OperationKind.WAKE or operation.finished_at is None:
        return Answer(state=VisitState.ASLEEP, message=Message.ASLEEP, can_wake=True)
    return _unwoken(operation, BACKOFF_SECONDS - age(operation.finished_at, now))


def _unwoken(operation: Operation, seconds_left: float) -> Answer:
    """Return what is told of a wake that failed or was cancelled, or will; after so many seconds it may be repeated."""
    can_wake = seconds_left <= 0
    was_cancelled = operation.cancel_requested or operation.state is OperationState.CANCELLED
    resting = Message.ASLEEP if can_wake else Message.RESTING
    return Answer(
        state=VisitState.ASLEEP if was_cancelled else VisitState.FAILED,
        message=resting if was_cancelled else Message.NOT_OPENED,
        retry_after=RETRY_SECONDS if can_wake else _whole(seconds_left),
        can_wake=can_wake,
    )


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
