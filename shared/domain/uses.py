"""What an instance uses that costs money, and the transitions between uses, from which all costs are computed.

A use begins when an operation has ended: a provisioning or a wake that is under way costs nothing yet, and one that
fails never does; a hibernation or a deletion that is under way costs what was used before. So the minutes in which pods
start are part of the cluster's idle cost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug


@dataclass(frozen=True, slots=True)
class Size:
    """What an instance requests while it is awake, and its disk, in the units of which plans are made."""

    cpu_millicores: int
    memory_mib: int
    volume_gib: int
    storage_class: str


@dataclass(frozen=True, slots=True)
class Use:
    """What an instance uses that costs money. Asleep it has its disk only; `region` is that of its cluster."""

    awake: bool
    cluster: ClusterName
    region: str
    plan: str
    version: str
    size: Size


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of what an instance uses: one entry of a log that is only ever added to.

    Attributes:
        instance: The instance.
        sequence: Its number among those of the instance, from 1 on, without gaps.
        at: When; never before the one with the number before it.
        before: What it used until then; None is nothing.
        after: What it uses from then on; None is nothing.
    """

    instance: InstanceId
    sequence: int
    at: datetime
    before: Use | None
    after: Use | None


def instance_key(slug: Slug, instance: InstanceId) -> str:
    """Return what tells instances apart, and what all lists of instances of several tenants are ordered by.

    It is how their row keys are ordered: `acme-2:...` and `acme2:...` come before `acme:...`.
    """
    return f"{slug}:{instance}"


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which an instance had the same use; the end is not part of it."""

    start: datetime
    end: datetime
    use: Use


def next_transition(last: Transition | None, instance: InstanceId, use: Use | None, now: datetime) -> Transition | None:
    """Return the last transition of a tenant after its instance got another use, or the same one if it did not.

    Args:
        last: The tenant's last transition, which may be that of an instance that it had before.
        instance: Its instance; may be empty if there is none any more.
        use: What that uses now; None is nothing.
        now: The time. Whatever a clock says, time does not go back within a tenant.
    """
    before = last.after if last is not None else None
    if use == before:
        return last
    if last is None:
        return Transition(instance, 1, now, None, use)
    same = use is None or instance == last.instance
    # An instance that is replaced has lost its use before: a tenant never has two.
    return Transition(
        last.instance if same else instance, last.sequence + 1 if same else 1, max(now, last.at), before, use
    )


def spans(opening: Use | None, transitions: Iterable[Transition], start: datetime, end: datetime) -> Sequence[Span]:
    """Return what one instance used from one moment to another, in order; times without a use are left out.

    Args:
        opening: What it used right before `start`.
        transitions: Its transitions in that time, in order; one that is outside counts as at the nearer end.
        start: The first moment.
        end: The moment after the last.
    """
    moments: list[tuple[datetime, Use | None]] = [(start, opening)]
    moments += [(min(max(each.at, start), end), each.after) for each in transitions]
    found: list[Span] = []
    for (begin, use), (finish, _) in pairwise([*moments, (end, None)]):
        if use is None or begin >= finish:
            continue
        if found and found[-1].use == use and found[-1].end == begin:
            found[-1] = Span(found[-1].start, finish, use)
        else:
            found.append(Span(begin, finish, use))
    return found
