"""The repository of idempotency keys."""

from datetime import datetime
from typing import Protocol

from shared.domain.idempotency import Claim


class IdempotencyRepository(Protocol):
    """The idempotency keys."""

    async def claim(self, claim: Claim, *, now: datetime) -> Claim:
        """Take a key, and return what it stands for: this claim, or an earlier one that has not expired."""
        ...

    async def find(self, key: str, *, now: datetime) -> Claim | None:
        """Return what a key stands for, or None if nobody claimed it or the claim has expired; writes nothing."""
        ...
