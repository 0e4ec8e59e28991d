"""In which states a tenant has been, from its audit trail."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.tenants import NEW, AuditEntry


@dataclass(frozen=True, slots=True)
class Stay:
    """A time in which a tenant was in one state."""

    state: str
    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.until - self.since).total_seconds()


def timeline(newest_first: Iterable[AuditEntry], *, start: datetime, now: datetime, is_whole: bool) -> Sequence[Stay]:
    """Return in which states a tenant has been, in order.

    Args:
        newest_first: Its audit entries.
        start: From when on; a tenant that was not there yet has no state.
        now: Until when.
        is_whole: Whether these are all entries; else nothing is known of the time before the oldest one.
    """
    changes = [each for each in reversed(list(newest_first)) if each.at <= now]
    if not changes:
        return []
    oldest = changes[0]
    starts = [(start if is_whole else oldest.at, oldest.before)] if oldest.at > start else []
    starts += [(max(each.at, start), each.after) for each in changes]
    stays: list[Stay] = []
    for number, (since, state) in enumerate(starts):
        until = starts[number + 1][0] if number + 1 < len(starts) else now
        if stays and stays[-1].state == state and stays[-1].until == since:
            stays[-1] = Stay(state, stays[-1].since, until)
        elif until > since and state != NEW:
            stays.append(Stay(state, since, until))
    return stays
