"""Compares the cost ledger with the tenants: what each uses at the end of a day, by its own row and by the ledger.

So a transition that was written late, however late, or that the ledger has missed for any other reason, is found, even
if the tenant never changes again.
"""

from datetime import date

from shared.application.ports.costs import CostLedger, Transitions
from shared.domain.costs import day_bounds
from shared.domain.uses import instance_key


async def first_wrong_day(ledger: CostLedger, transitions: Transitions, day: date) -> date | None:
    """Return the first day that has to be metered again, or None if the ledger is right at the end of a final day.

    One shard after the other: what is held is a number for each instance of one.
    """
    _, end = day_bounds(day)
    found: list[date] = []
    for shard in transitions.shards:
        rows = [each async for each in ledger.of_day(shard, day)]
        counted = {instance_key(each.slug, each.instance): each.sequence for each in rows}
        known: set[str] = set()
        async for last in transitions.last_ones(shard):
            known.add(last.key)
            is_over = last.transition.after is None and last.key not in counted  # since a month before that day
            if last.transition.at < end and not is_over and counted.get(last.key) != last.transition.sequence:
                found.append(last.transition.at.date())
        for row in rows:
            if row.use is not None and instance_key(row.slug, row.instance) not in known:
                # Its tenant has another instance by now, so it must have ended: in the log, or it is not known when.
                log = await transitions.of_tenant(row.slug)
                found += [
                    each.at.date()
                    for each in log
                    if each.instance == row.instance and each.sequence > row.sequence and each.at < end
                ]
    return min(found, default=None)
