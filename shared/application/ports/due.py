"""The index of due dates: which tenants a sweep has to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.slugs import Slug
from shared.domain.sweeps import Position


@dataclass(frozen=True, slots=True)
class DueTenant:
    """A tenant whose time has come, and the row that says so.

    It is meant only for a tenant whose last change was at `since`: each change that leaves one active writes its own.
    `position` is that of the row, after which the index goes on, and `etag` is the row's.
    """

    slug: Slug
    since: datetime
    position: Position
    etag: str


@dataclass(frozen=True, slots=True)
class DuePage:
    """Some of the tenants that are due, and where the index goes on; None if there were no more."""

    items: Sequence[DueTenant]
    next: Position | None


class DueIndex(Protocol):
    """The due dates of all active tenants, in order. What is read follows what is due, not the number of tenants."""

    async def page(self, position: Position, *, until: datetime, limit: int) -> DuePage:
        """Return up to `limit` tenants that are due at a moment; a row that cannot be read is skipped."""
        ...

    async def move(self, moves: Sequence[tuple[DueTenant, datetime | None]]) -> None:
        """Give tenants of one page another due date, or none: then the row is deleted.

        A row that was changed or moved since it was read is left as it is.
        """
        ...
