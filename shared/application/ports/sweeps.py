"""The repository of sweeps and their decisions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.application.ports.stored import Page, Stored
from shared.domain.dormancy import Outcome
from shared.domain.sweeps import Sweep, SweepControl, SweepDecision, SweepId, SweepStart


class SweepRepository(Protocol):
    """The sweeps. A sweep and decisions of it change together, if nobody else changed the sweep."""

    async def control(self) -> Stored[SweepControl]:
        """Return what all sweeps share."""
        ...

    async def save_control(self, control: Stored[SweepControl], begun: SweepStart | None = None) -> None:
        """Replace it, and list a sweep that begins with it; raises Conflict if somebody changed it since."""
        ...

    async def create(self, start: SweepStart) -> Stored[Sweep]:
        """Return a sweep that was begun; it is made if it is not there."""
        ...

    async def find(self, sweep_id: SweepId) -> Stored[Sweep] | None:
        """Return a sweep, or None."""
        ...

    async def save(
        self, sweep: Stored[Sweep], *, decided: Sequence[SweepDecision] = (), acted: Sequence[SweepDecision] = ()
    ) -> Stored[Sweep]:
        """Write a sweep with decisions, all or nothing; raises Conflict if somebody changed it since.

        Up to 99 decisions, of which one counts twice about which something is to be done, or was done.

        Args:
            sweep: The sweep.
            decided: Decisions that are new.
            acted: Decisions about which something was done.
        """
        ...

    async def written_at(self, sweep_id: SweepId) -> datetime:
        """Return when the row of a sweep was written, by the clock of the tables; raises NotFound."""
        ...

    async def to_act(self, sweep_id: SweepId) -> Sequence[SweepDecision]:
        """Return the decisions about which something is to be done, by slug."""
        ...

    async def list(self, *, limit: int, token: str) -> Page[Sweep]:
        """Return up to `limit` sweeps, the newest first; raises Invalid for a token that is not ours."""
        ...

    async def decisions(
        self, sweep_id: SweepId, outcome: Outcome | None, *, limit: int, token: str
    ) -> Page[SweepDecision]:
        """Return up to `limit` decisions by slug; raises Invalid for a token that is not ours."""
        ...
