"""The table `reconciliations`: one row for each finding, in one partition, since there are few; positions; a count.

| PartitionKey | RowKey | what |
|---|---|---|
| finding | KIND:CLUSTER:SUBJECT | a finding; `ended_at`, when it ended, is for purging; `cluster`, `slug` for filters |
| position | CLUSTER | up to where its removed namespaces were read |
| states | fleet | how many tenants were in each state at the last comparison |
"""

from collections.abc import Sequence
from itertools import batched

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.rows import page_of, read_or_skip, readable, with_schema
from shared.adapters.tables.storage import MAX_WRITES, Row, TableStorage, Upsert
from shared.application.ports.stored import Page
from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.fleet_states import FleetStates
from shared.domain.reconciliation import UNKNOWN, Finding, FindingState, RecordedFinding
from shared.domain.slugs import Slug
from shared.errors import NotFound

TABLE = "reconciliations"
PARTITION = "finding"
POSITIONS = "position"
STATES = "states"

_FINDING = TypeAdapter(Finding)
_STATES = TypeAdapter(FleetStates)


class TableReconciliationRepository:
    """Implements `shared.application.ports.reconciliations.ReconciliationRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def open(self) -> Sequence[RecordedFinding]:
        """Return the findings that have not ended; a row that cannot be read is skipped."""
        parameters = {"partition": PARTITION, "state": FindingState.OPEN.value}
        where = "PartitionKey eq @partition and state eq @state"
        rows = [row async for row, _ in self._tables.query(TABLE, where, parameters)]
        return readable(TABLE, rows, _recorded)

    async def save(self, findings: Sequence[RecordedFinding]) -> None:
        """Write findings; each replaces an earlier one of the same kind, cluster and subject."""
        for batch in batched(findings, MAX_WRITES, strict=False):
            await self._tables.transact(TABLE, [Upsert(_row(each)) for each in batch])

    async def list(
        self,
        state: FindingState | None,
        *,
        limit: int,
        token: str,
        cluster: ClusterName = NO_CLUSTER,
        slug: Slug = UNKNOWN,
    ) -> Page[RecordedFinding]:
        """Return up to `limit` findings, ordered by kind, cluster and subject; raises Invalid for a wrong token."""
        filters = {"state": str(state or ""), "cluster": cluster, "slug": slug}
        wanted = {name: value for name, value in filters.items() if value}
        where = " and ".join(
            ["PartitionKey eq @partition and RowKey gt @after", *(f"{name} eq @{name}" for name in wanted)]
        )
        parameters = {"partition": PARTITION, "after": keys.read_finding_token(token) if token else "", **wanted}
        rows = (row async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit + 1))

        def token_after(row: Row) -> str:
            return keys.write_finding_token(row["RowKey"])

        return await page_of(TABLE, rows, _recorded, limit=limit, token_after=token_after)

    async def position(self, cluster: ClusterName) -> str:
        """Return up to where a cluster's removed namespaces were read, or an empty string if they never were."""
        try:
            row, _ = await self._tables.get(TABLE, POSITIONS, cluster)
        except NotFound:
            return ""
        return str(row.get("position", ""))

    async def save_position(self, cluster: ClusterName, position: str) -> None:
        """Write up to where a cluster's removed namespaces were read."""
        row = {"PartitionKey": POSITIONS, "RowKey": cluster, "position": position}
        await self._tables.transact(TABLE, [Upsert(with_schema(row))])

    async def states(self) -> FleetStates | None:
        """Return how many tenants were in each state when they were counted last; None if that cannot be read."""
        try:
            row, _ = await self._tables.get(TABLE, STATES, "fleet")
        except NotFound:
            return None
        return read_or_skip(TABLE, row, lambda found: _STATES.validate_json(found["states"]))

    async def save_states(self, states: FleetStates) -> None:
        """Write how many tenants are in each state."""
        row = {"PartitionKey": STATES, "RowKey": "fleet", "states": _STATES.dump_json(states).decode()}
        await self._tables.transact(TABLE, [Upsert(with_schema(row))])


def _row(recorded: RecordedFinding) -> Row:
    finding = recorded.finding
    return with_schema(
        {
            "PartitionKey": PARTITION,
            "RowKey": f"{finding.kind}:{finding.cluster}:{finding.subject}",
            "finding": _FINDING.dump_json(finding).decode(),
            "state": recorded.state.value,
            "cluster": finding.cluster,
            "slug": finding.slug,
            "first_seen": recorded.first_seen,
            "last_seen": recorded.last_seen,
            **({} if recorded.ended_at is None else {"ended_at": recorded.ended_at}),
        }
    )


def _recorded(row: Row) -> RecordedFinding:
    return RecordedFinding(
        finding=_FINDING.validate_json(row["finding"]),
        state=FindingState(row["state"]),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        ended_at=row.get("ended_at"),
    )
