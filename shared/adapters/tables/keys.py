"""Partition keys and row keys of the tables, and the tokens of all lists."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime
from hashlib import sha256

from shared.domain.latency_rollup import RollupKey
from shared.domain.operations import OperationState, newest_first
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry
from shared.domain.uses import Transition, instance_key
from shared.errors import Invalid

SHARDS = "0123456789abcdef"

_POSITION = re.compile(r"[0-9a-f][a-z0-9-]{1,63}")  # a shard and a slug
_FINDING_POSITION = re.compile(r"[a-z]{1,20}:[a-z0-9-]{1,40}:[a-z0-9.-]{0,253}")  # a kind, a cluster and a subject
_SWEEP_POSITION = re.compile(r"[0-9a-z]{10}:sweep-[0-9a-z-]{10,22}")
_SLUG_POSITION = re.compile(r"[a-z0-9-]{1,63}")
_AUDIT_POSITION = re.compile(r"[0-9a-z]{20}[a-z]{1,20}")  # the end of an audit entry's row key


def shard(slug: Slug) -> str:
    """Return one of 16 hexadecimal digits, spread evenly over slugs."""
    return sha256(slug.encode()).hexdigest()[0]


def tenant_key(slug: str) -> str:
    """Return the row key of a tenant."""
    return f"tenant:{slug}"


def tenant_keys_end(prefix: str) -> str:
    """Return what sorts right after the `tenant_key` of every slug that begins with a prefix, which may be empty."""
    return f"tenant:{prefix}~"  # which sorts after all letters


def open_key(operation_id: str) -> str:
    """Return the row key of an open operation's index row."""
    return f"open:{operation_id}"


def activity_key(slug: str) -> str:
    """Return the row key of a tenant's activity, the next one after its `tenant_key`: no slug has a `!`."""
    return f"tenant:{slug}!activity"


def watch_key(source: str, cluster: str) -> str:
    """Return the row key, in the table `sources`, of what a source has watched."""
    return f"{source}:{cluster}"


def due_key(slug: str, at: datetime) -> str:
    """Return the row key of a tenant that is due at a moment, to the minute."""
    return f"due:{at.astimezone(UTC):%Y%m%d%H%M}:{slug}"


def due_end(until: datetime) -> str:
    """Return what sorts right after the `due_key` of every tenant that is due at a moment."""
    return f"due:{until.astimezone(UTC):%Y%m%d%H%M};"


def rollup_key(day: date, key: RollupKey) -> str:
    """Return the row key of a daily roll-up; no name of an outcome, a cluster or a plan has a colon."""
    return f"{day:%Y%m%d}:{key.outcome}:{key.cluster}:{key.plan}"


def read_rollup_key(text: str) -> tuple[date, RollupKey]:
    """Return what a `rollup_key` was made of; raises ValueError for anything else."""
    day, outcome, cluster, plan = text.split(":")
    return datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(), RollupKey(
        OperationState(outcome), cluster, plan
    )


def rollup_start(day: date) -> str:
    """Return what sorts right before each `rollup_key` of a day."""
    return f"{day:%Y%m%d}:"


def rollup_end(day: date) -> str:
    """Return what sorts right after each `rollup_key` of a day."""
    return f"{day:%Y%m%d};"


def operation_key(operation_id: str) -> str:
    """Return the row key of an ended operation."""
    return f"operation:{operation_id}"


def transition_key(slug: Slug, transition: Transition) -> str:
    """Return the row key of a transition; all of a day are next to each other, and those of an instance in order."""
    return f"{transition_day(transition.at)}{instance_key(slug, transition.instance)}:{transition.sequence:08}"


def transition_day(moment: datetime) -> str:
    """Return how the row keys of a day's transitions begin; what sorts right after all of these ends with `;`."""
    return f"transition:{moment.astimezone(UTC):%Y%m%d}:"


def audit_key(slug: Slug, end: str) -> str:
    """Return the row key of an audit entry, from `audit_end` or a list's token."""
    return f"audit:{slug}:{end}"


def audit_end(entry: AuditEntry) -> str:
    """Return the part of an audit entry's row key that sorts it, the newest first."""
    # The operation's own letters keep two entries of one millisecond apart.
    return f"{newest_first(entry.at)}{entry.operation_id[-10:]}{entry.after}"


def newest_first_since(moment: datetime) -> str:
    """Return what sorts right after all that is `newest_first` from a moment on, and before what is older.

    So do the ends of the row keys of audit entries, and of operations by when they began.
    """
    return f"{newest_first(moment)}~"  # which sorts after all letters


def write_tenant_token(slug: Slug) -> str:
    """Return the token of a list of tenants that continues after a slug."""
    return _encode(f"{shard(slug)}{slug}")


def read_tenant_token(token: str) -> tuple[str, str]:
    """Return the shard and slug after which a list continues; raises Invalid for a token that is not ours."""
    text = _decode(token, _POSITION)
    return text[0], text[1:]


def write_audit_token(end: str) -> str:
    """Return the token of an audit trail that continues after the row with that `audit_end`."""
    return _encode(end)


def read_audit_token(token: str) -> str:
    """Return the `audit_end` after which a trail continues; raises Invalid for a token that is not ours."""
    return _decode(token, _AUDIT_POSITION)


def write_finding_token(key: str) -> str:
    """Return the token of a list of findings that continues after a row key."""
    return _encode(key)


def read_finding_token(token: str) -> str:
    """Return the row key after which a list of findings continues; raises Invalid for a token that is not ours."""
    return _decode(token, _FINDING_POSITION)


def sweep_list_key(sweep_id: str, started_at: datetime) -> str:
    """Return what sorts a sweep among all sweeps, the newest first."""
    return f"{newest_first(started_at)}:{sweep_id}"


def write_sweep_token(key: str) -> str:
    """Return the token of a list of sweeps that continues after a `sweep_list_key`."""
    return _encode(key)


def read_sweep_token(token: str) -> str:
    """Return the key after which a list of sweeps continues; raises Invalid for a token that is not ours."""
    return _decode(token, _SWEEP_POSITION)


def write_decision_token(slug: str) -> str:
    """Return the token of a list of a sweep's decisions that continues after a slug."""
    return _encode(slug)


def read_decision_token(token: str) -> str:
    """Return the slug after which a list of decisions continues; raises Invalid for a token that is not ours."""
    return _decode(token, _SLUG_POSITION)


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


def _decode(token: str, form: re.Pattern[str]) -> str:
    """Return what a token says. Callers send it back, so it must be exactly what `_encode` returns."""
    foreign = Invalid(("?next", "this is not the `next` of a list; leave it out to begin at the start"))
    try:
        text = urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise foreign from error
    if not form.fullmatch(text) or _encode(text) != token:
        raise foreign
    return text
