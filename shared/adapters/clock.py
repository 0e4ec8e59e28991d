"""The machine's clock."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements `shared.application.ports.clock.Clock`."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for measuring and for timeouts."""
        return time.monotonic()
