"""The states of a tenant over time as a bar, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from shared.domain.timeline import Stay

WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bar: where it begins and how wide it is, of `WIDTH`; and what it stands for."""

    left: float
    width: float
    stay: Stay


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar.

    Attributes:
        since: When it begins.
        until: When it ends.
        parts: Its parts, in order.
        totals: The seconds in each state, the most first.
    """

    since: datetime
    until: datetime
    parts: Sequence[Part]
    totals: Sequence[tuple[str, float]]

    @classmethod
    def of(cls, stays: Sequence[Stay]) -> Self | None:
        """Return the bar of a tenant; None if nothing is known."""
        if not stays:
            return None
        since, until = stays[0].since, stays[-1].until
        scale = WIDTH / max((until - since).total_seconds(), 1.0)
        parts = [
            Part(round((each.since - since).total_seconds() * scale, 2), max(round(each.seconds * scale, 2), 1.0), each)
            for each in stays
        ]
        totals: dict[str, float] = {}
        for each in stays:
            totals[each.state] = totals.get(each.state, 0.0) + each.seconds
        return cls(since, until, parts, sorted(totals.items(), key=lambda each: -each[1]))
