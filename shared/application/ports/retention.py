"""The records that are kept for a while only."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol


class OldRecords(Protocol):
    """Deletes what is old, of each kind of record.

    Each method yields how many records it deleted with each request, so that the caller may stop in between; the next
    call continues. Several workers may do it at once. They raise Transient when the tables do not respond.
    """

    def purge_idempotency_keys(self, *, now: datetime) -> AsyncIterator[int]:
        """Delete the keys that have expired, some of them up to four of their lifetimes later."""
        ...

    def purge_latency(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the latency rows of the operations that ended on an earlier day."""
        ...

    def purge_latency_rollups(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the daily roll-ups of earlier days."""
        ...

    def purge_operations(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the operations that ended earlier; each tenant keeps its last one."""
        ...

    def purge_activity(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete what is recorded of slugs that were last active earlier."""
        ...

    def purge_findings(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the findings of reconciliation that ended earlier."""
        ...

    def purge_sweeps(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the sweeps that began earlier, with their decisions."""
        ...

    def purge_costs(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the costs of whole months that ended earlier, and the transitions and nodes of earlier days."""
        ...

    def purge_audit(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the audit entries of earlier changes."""
        ...
