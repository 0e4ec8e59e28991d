"""The table `sweeps`: each sweep with its decisions in a partition of its own, so that both change in one transaction.

| PartitionKey | RowKey | what |
|---|---|---|
| sweep | control | which sweep is the present or last one, and the kill switch |
| sweep | list:NEWEST-FIRST:SWEEP-ID | a sweep's place in the list of all; `started_at` is for purging |
| SWEEP-ID | progress | the sweep |
| SWEEP-ID | tenant:SLUG | what it decided about one tenant; `outcome` is for filtering |
| SWEEP-ID | act:SLUG | an index row, with the same content, for a decision about which something is to be done |
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.rows import page_of, read_row, readable, with_schema
from shared.adapters.tables.storage import Create, Delete, Row, TableStorage, Upsert, Write, create_or_replace
from shared.application.ports.stored import Page, Stored
from shared.domain.dormancy import Outcome
from shared.domain.sweeps import Sweep, SweepControl, SweepDecision, SweepId, SweepStart
from shared.errors import Conflict, NotFound

TABLE = "sweeps"
SHARED = "sweep"  # the partition that all sweeps share
LIST = "list:"

_CONTROL = TypeAdapter(SweepControl)
_SWEEP = TypeAdapter(Sweep)
_DECISION = TypeAdapter(SweepDecision)


class TableSweepRepository:
    """Implements `shared.application.ports.sweeps.SweepRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def control(self) -> Stored[SweepControl]:
        """Return what all sweeps share; raises Transient for a row that this version cannot read."""
        try:
            row, etag = await self._tables.get(TABLE, SHARED, "control")
        except NotFound:
            return Stored(SweepControl())
        return Stored(read_row(TABLE, row, lambda row: _CONTROL.validate_json(row["control"])), etag)

    async def save_control(self, control: Stored[SweepControl], begun: SweepStart | None = None) -> None:
        """Replace it, and list a sweep that begins with it; raises Conflict if somebody changed it since."""
        row = {"PartitionKey": SHARED, "RowKey": "control", "control": _CONTROL.dump_json(control.value).decode()}
        writes: list[Write] = [create_or_replace(with_schema(row), control.etag)]
        if begun is not None:
            key = f"{LIST}{keys.sweep_list_key(begun.id, begun.started_at)}"
            place = {"PartitionKey": SHARED, "RowKey": key, "sweep_id": begun.id, "started_at": begun.started_at}
            writes.append(Upsert(with_schema(place)))
        await self._tables.transact(TABLE, writes)

    async def create(self, start: SweepStart) -> Stored[Sweep]:
        """Return a sweep that was begun; it is made if it is not there."""
        found = await self.find(start.id)
        if found is not None:
            return found
        sweep = Sweep(start, heartbeat_at=start.started_at)
        try:
            etags = await self._tables.transact(TABLE, [Create(_sweep_row(sweep))])
        except Conflict:  # another worker made it, or this one did and the response was lost
            return await self.create(start)
        return Stored(sweep, etags[0])

    async def find(self, sweep_id: SweepId) -> Stored[Sweep] | None:
        """Return a sweep, or None; raises Transient for a row that this version cannot read."""
        try:
            row, etag = await self._tables.get(TABLE, sweep_id, "progress")
        except NotFound:
            return None
        return Stored(read_row(TABLE, row, _sweep), etag)

    async def save(
        self, sweep: Stored[Sweep], *, decided: Sequence[SweepDecision] = (), acted: Sequence[SweepDecision] = ()
    ) -> Stored[Sweep]:
        """Write a sweep with up to 99 decisions, all or nothing; raises Conflict if somebody changed it since."""
        value, write_id = sweep.value, token_hex(8)
        writes: list[Write] = [create_or_replace({**_sweep_row(value), "write_id": write_id}, sweep.etag)]
        for each in (*decided, *acted):
            writes.append(Upsert(_decision_row(value.id, "tenant:", each)))
            if each.is_to_act:
                writes.append(Upsert(_decision_row(value.id, "act:", each)))
        writes += [Delete(_key(value.id, f"act:{each.slug}")) for each in acted if not each.is_to_act]
        try:
            etags = await self._tables.transact(TABLE, writes)
        except (Conflict, NotFound) as error:
            row, etag = await self._tables.get(TABLE, value.id, "progress")
            if row.get("write_id") != write_id:
                raise Conflict(f"the sweep {value.id} was changed by another worker") from error
            return Stored(value, etag)  # the write was done, only its response was lost
        return Stored(value, etags[0])

    async def written_at(self, sweep_id: SweepId) -> datetime:
        """Return when the row of a sweep was written, by the clock of the tables; raises NotFound."""
        return await self._tables.written_at(TABLE, sweep_id, "progress")

    async def to_act(self, sweep_id: SweepId) -> Sequence[SweepDecision]:
        """Return the decisions about which something is to be done, by slug."""
        where = "PartitionKey eq @sweep and RowKey gt 'act:' and RowKey lt 'act;'"
        rows = [row async for row, _ in self._tables.query(TABLE, where, {"sweep": sweep_id})]
        return readable(TABLE, rows, _decision)

    async def list(self, *, limit: int, token: str) -> Page[Sweep]:
        """Return up to `limit` sweeps, the newest first; raises Invalid for a token that is not ours."""
        where = "PartitionKey eq @shared and RowKey gt @after and RowKey lt 'list;'"
        parameters = {"shared": SHARED, "after": LIST + (keys.read_sweep_token(token) if token else "")}
        rows = (row async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit + 1))

        def token_after(row: Row) -> str:
            return keys.write_sweep_token(row["RowKey"].removeprefix(LIST))

        page = await page_of(TABLE, rows, lambda row: SweepId(row["sweep_id"]), limit=limit, token_after=token_after)
        found = await asyncio.gather(*(self.find(each) for each in page.items))
        return Page(tuple(each.value for each in found if each is not None), page.next_token)

    async def decisions(
        self, sweep_id: SweepId, outcome: Outcome | None, *, limit: int, token: str
    ) -> Page[SweepDecision]:
        """Return up to `limit` decisions by slug; raises Invalid for a token that is not ours."""
        where = "PartitionKey eq @sweep and RowKey gt @after and RowKey lt 'tenant;'"
        after = keys.tenant_key(keys.read_decision_token(token) if token else "")
        parameters = {"sweep": sweep_id, "after": after, "outcome": str(outcome or "")}
        where += " and outcome eq @outcome" if outcome else ""
        rows = (row async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit + 1))

        def token_after(row: Row) -> str:
            return keys.write_decision_token(row["RowKey"].removeprefix("tenant:"))

        return await page_of(TABLE, rows, _decision, limit=limit, token_after=token_after)


def _key(sweep_id: SweepId, row_key: str) -> Row:
    return {"PartitionKey": sweep_id, "RowKey": row_key}


def _sweep_row(sweep: Sweep) -> Row:
    return with_schema({**_key(sweep.id, "progress"), "sweep": _SWEEP.dump_json(sweep).decode()})


def _sweep(row: Row) -> Sweep:
    return _SWEEP.validate_json(row["sweep"])


def _decision_row(sweep_id: SweepId, prefix: str, decision: SweepDecision) -> Row:
    columns = {"outcome": decision.outcome.value, "decision": _DECISION.dump_json(decision).decode()}
    return with_schema({**_key(sweep_id, f"{prefix}{decision.slug}"), **columns})


def _decision(row: Row) -> SweepDecision:
    return _DECISION.validate_json(row["decision"])
