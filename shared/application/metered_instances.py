"""What each instance of a shard used on a day: what it used the day before, changed by the transitions since."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.application.ports.costs import CostLedger, TenantTransition, Transitions
from shared.domain.clusters import ClusterName
from shared.domain.costs import InstanceDay, day_bounds
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug
from shared.domain.uses import Span, Use, instance_key, spans


@dataclass(frozen=True, slots=True)
class MeteredInstance:
    """One instance on a day.

    Attributes:
        slug: Whose it is.
        instance: The instance.
        spans: What it used; nothing if it was gone already.
        closing: What it uses at the end; None if it is gone.
        plan: Its plan, as it was last.
        cluster: Its cluster.
        sequence: The number of its last transition.
        changed: Whether it has a transition on that day.
        before: Its row of the day before, if it has one.
        gap: Whether its first transition on that day begins with another use than that row ends with.
    """

    slug: Slug
    instance: InstanceId
    spans: tuple[Span, ...]
    closing: Use | None
    plan: str
    cluster: ClusterName
    sequence: int
    changed: bool
    before: InstanceDay | None
    gap: bool


async def metered_instances(
    ledger: CostLedger, transitions: Transitions, shard: str, day: date, until: datetime
) -> AsyncGenerator[MeteredInstance]:
    """Yield the instances of a shard that used something on a day up to a moment, or earlier in the month.

    Both the rows of the day before and the transitions come by `instance_key`, and so do these: only the next of each
    is held.
    """
    start, _ = day_bounds(day)
    rows = aiter(ledger.of_day(shard, day - timedelta(days=1)))
    groups = aiter(_by_instance(transitions.of_day(shard, day)))
    row, group = await anext(rows, None), await anext(groups, None)
    while row is not None or group is not None:
        of_row = None if row is None else instance_key(row.slug, row.instance)
        of_group = None if group is None else group[0].key
        key = min(each for each in (of_row, of_group) if each is not None)
        before, changes = row if key == of_row else None, group if group is not None and key == of_group else []
        if key == of_row:
            row = await anext(rows, None)
        if key == of_group:
            group = await anext(groups, None)
        found = _metered(before, [each for each in changes if each.transition.at < until], start, until)
        if found is not None:
            yield found


def _metered(
    before: InstanceDay | None, changes: list[TenantTransition], start: datetime, until: datetime
) -> MeteredInstance | None:
    opening = before.use if before is not None else None
    log = [each.transition for each in changes]
    gap = bool(log) and log[0].before != opening
    if gap:  # a transition is not in the log: the next one says what was before it
        opening = log[0].before
    used = spans(opening, log, start, until)
    if before is not None:
        slug, instance, plan, cluster, sequence = (
            before.slug,
            before.instance,
            before.plan,
            before.cluster,
            before.sequence,
        )
    elif used:
        slug, instance, sequence = changes[0].slug, log[0].instance, log[-1].sequence
        plan, cluster = used[-1].use.plan, used[-1].use.cluster
    else:
        return None
    return MeteredInstance(
        slug,
        instance,
        tuple(used),
        closing=log[-1].after if log else opening,
        plan=used[-1].use.plan if used else plan,
        cluster=used[-1].use.cluster if used else cluster,
        sequence=log[-1].sequence if log else sequence,
        changed=bool(log),
        before=before,
        gap=gap,
    )


async def _by_instance(log: AsyncIterator[TenantTransition]) -> AsyncGenerator[list[TenantTransition]]:
    """Yield the transitions of each instance together."""
    group: list[TenantTransition] = []
    async for each in log:
        if group and group[0].key != each.key:
            yield group
            group = []
        group.append(each)
    if group:
        yield group
