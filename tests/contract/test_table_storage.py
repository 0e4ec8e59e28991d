"""Table storage: conditions, atomicity, queries, pages, and the values that come back."""

from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables.aio import TableServiceClient

from local.table_server import ACCOUNT, KEY, Azurite
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.tables.storage import Create, Delete, Replace, Row, TableStorage, Upsert, Write
from shared.errors import Conflict, NotFound, Permanent, Transient
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

TABLE = "contract"


@pytest.fixture
def partition() -> str:
    """A partition that no other test has."""
    return "p" + token_hex(8)


def row(partition: str, key: str = "one", **values: Any) -> Row:
    return {"PartitionKey": partition, "RowKey": key, **values}


async def create(storage: TableStorage, value: Row) -> str:
    return (await storage.transact(TABLE, [Create(value)]))[0]


async def keys(storage: TableStorage, where: str, page_size: int = 1000, **parameters: Any) -> list[str]:
    found = storage.query(TABLE, where, parameters, page_size=page_size)
    return [value["RowKey"] async for value, _ in found]


async def test_a_row_comes_back_with_its_etag(storage: TableStorage, partition: str) -> None:
    etag = await create(storage, row(partition, text="a"))
    found, found_etag = await storage.get(TABLE, partition, "one")
    assert (found, found_etag) == (row(partition, text="a"), etag)


async def test_a_row_says_when_it_was_written(storage: TableStorage, partition: str) -> None:
    before = datetime.now(UTC)
    await create(storage, row(partition, text="a"))
    written_at = await storage.written_at(TABLE, partition, "one")
    assert abs(written_at - before) < timedelta(seconds=30)
    with pytest.raises(NotFound):
        await storage.written_at(TABLE, partition, "two")


async def test_each_write_gives_a_new_etag(storage: TableStorage, partition: str) -> None:
    first = await create(storage, row(partition, number=1))
    second = (await storage.transact(TABLE, [Replace(row(partition, number=2), first)]))[0]
    third = (await storage.transact(TABLE, [Upsert(row(partition, number=2, other=1))]))[0]
    assert len({first, second, third, ""}) == 4
    assert (await storage.get(TABLE, partition, "one"))[1] == third


async def test_a_row_that_is_not_there_is_not_found(storage: TableStorage, partition: str) -> None:
    with pytest.raises(NotFound):
        await storage.get(TABLE, partition, "one")


async def test_creating_what_exists_conflicts(storage: TableStorage, partition: str) -> None:
    await create(storage, row(partition, number=1))
    with pytest.raises(Conflict):
        await create(storage, row(partition, number=2))
    assert (await storage.get(TABLE, partition, "one"))[0]["number"] == 1


@pytest.mark.parametrize("kind", [Replace, Delete])
async def test_a_stale_etag_conflicts(
    storage: TableStorage, partition: str, kind: type[Replace] | type[Delete]
) -> None:
    stale = await create(storage, row(partition, number=1))
    await storage.transact(TABLE, [Replace(row(partition, number=2), stale)])
    with pytest.raises(Conflict):
        await storage.transact(TABLE, [kind(row(partition, number=3), stale)])
    assert (await storage.get(TABLE, partition, "one"))[0]["number"] == 2


@pytest.mark.parametrize("kind", [Replace, Delete])
async def test_a_missing_row_is_not_changed(
    storage: TableStorage, partition: str, kind: type[Replace] | type[Delete]
) -> None:
    etag = await create(storage, row(partition))
    await storage.transact(TABLE, [Delete(row(partition), etag)])
    with pytest.raises(NotFound):
        await storage.transact(TABLE, [kind(row(partition), etag)])


async def test_a_deleted_row_is_gone_and_has_no_etag(storage: TableStorage, partition: str) -> None:
    etag = await create(storage, row(partition))
    assert await storage.transact(TABLE, [Delete(row(partition), etag)]) == [""]
    with pytest.raises(NotFound):
        await storage.get(TABLE, partition, "one")


async def test_a_replaced_row_keeps_no_old_property(storage: TableStorage, partition: str) -> None:
    etag = await create(storage, row(partition, old=1))
    etag = (await storage.transact(TABLE, [Replace(row(partition, new=1), etag)]))[0]
    assert (await storage.get(TABLE, partition, "one"))[0] == row(partition, new=1)
    await storage.transact(TABLE, [Upsert(row(partition, newest=1))])
    assert (await storage.get(TABLE, partition, "one"))[0] == row(partition, newest=1)


async def test_a_transaction_is_all_or_nothing(storage: TableStorage, partition: str) -> None:
    etag = await create(storage, row(partition, "b", number=1))
    writes: list[Write] = [Create(row(partition, "a")), Replace(row(partition, "b", number=2), 'W/"stale"')]
    with pytest.raises(Conflict):
        await storage.transact(TABLE, writes)
    assert await keys(storage, "PartitionKey eq @p", p=partition) == ["b"]
    writes[1] = Replace(row(partition, "b", number=2), etag)
    etags = await storage.transact(TABLE, writes)
    found = [(await storage.get(TABLE, partition, key))[1] for key in ("a", "b")]
    assert found == etags


async def test_a_transaction_has_a_hundred_writes(storage: TableStorage, partition: str) -> None:
    writes = [Create(row(partition, f"{number:03}")) for number in range(101)]
    with pytest.raises(Permanent):
        await storage.transact(TABLE, writes)
    assert await keys(storage, "PartitionKey eq @p", p=partition) == []
    assert len(await storage.transact(TABLE, writes[:100])) == 100


async def test_a_transaction_writes_to_one_partition(storage: TableStorage, partition: str) -> None:
    with pytest.raises(Permanent):
        await storage.transact(TABLE, [Create(row(partition)), Create(row(partition + "x"))])


async def test_a_transaction_writes_a_row_once(storage: TableStorage, partition: str) -> None:
    with pytest.raises(Permanent):
        await storage.transact(TABLE, [Upsert(row(partition)), Upsert(row(partition))])


async def test_values_come_back_as_they_were(storage: TableStorage, partition: str) -> None:
    moment = datetime(2026, 2, 28, 12, 0, 0, 123456, tzinfo=UTC)
    values = {
        "text": "Ünïcode 🚀 'quoted'",
        "empty": "",
        "whole": 7,
        "share": 0.5,
        "yes": True,
        "no": False,
        "at": moment,
    }
    await create(storage, {**row(partition), **values, "nothing": None})
    found, _ = await storage.get(TABLE, partition, "one")
    assert found == {**row(partition), **values}
    assert found["at"].utcoffset() is not None
    assert [type(found[name]) for name in ("text", "whole", "share", "yes")] == [str, int, float, bool]


async def test_rows_come_in_the_order_of_their_keys(storage: TableStorage, partition: str) -> None:
    names = ["b", "a", "a-b", "a0", "ab", "tenant;", "tenant:", "B"]
    for name in names:
        await create(storage, row(partition, name))
    assert await keys(storage, "PartitionKey eq @p", p=partition) == sorted(names)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("RowKey gt 'b' and RowKey lt 'd'", "c"),
        ("RowKey ge 'b' and RowKey le 'd'", "bcd"),
        ("RowKey ne 'c'", "abde"),
        ("open eq true", "ac"),
        ("open eq false", "bde"),
        ("plan eq @plan", "d"),
        ("plan eq 'it''s'", "d"),
        ("at lt @now", "ab"),
        ("missing eq 'x'", ""),
    ],
)
async def test_filters(storage: TableStorage, partition: str, where: str, expected: str) -> None:
    for number, key in enumerate("abcde"):
        at = datetime(2026, 2, 28, number, tzinfo=UTC)
        plan = "it's" if key == "d" else "trial"
        await create(storage, row(partition, key, open=key in "ac", plan=plan, at=at))
    now = datetime(2026, 2, 28, 2, tzinfo=UTC)
    found = await keys(storage, f"PartitionKey eq @p and {where}", p=partition, plan="it's", now=now)
    assert found == list(expected)


@pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
async def test_pages_give_each_row_once(storage: TableStorage, partition: str, page_size: int) -> None:
    await storage.transact(TABLE, [Create(row(partition, key, match=key in "bf")) for key in "abcdef"])
    assert await keys(storage, "PartitionKey eq @p", page_size, p=partition) == list("abcdef")
    assert await keys(storage, "PartitionKey eq @p and match eq true", page_size, p=partition) == ["b", "f"]


async def test_more_rows_than_one_page_of_the_service(storage: TableStorage, partition: str) -> None:
    names = [f"{number:04}" for number in range(1100)]
    for start in range(0, len(names), 100):
        await storage.transact(TABLE, [Create(row(partition, name)) for name in names[start : start + 100]])
    assert await keys(storage, "PartitionKey eq @p", p=partition) == names


async def test_a_row_of_another_table_is_another_row(storage: TableStorage, partition: str) -> None:
    await create(storage, row(partition))
    await storage.transact("another", [Create(row(partition))])
    with pytest.raises(NotFound):
        await storage.get("third", partition, "one")


async def test_a_lost_response_to_a_write_conflicts(faulty: FaultyTables, faults: Faults, partition: str) -> None:
    faults.lose(1)
    with pytest.raises(Conflict):
        await create(faulty, row(partition, number=1))
    found, etag = await faulty.get(TABLE, partition, "one")
    assert found["number"] == 1
    faults.lose(len(faults.calls) + 1)
    with pytest.raises(NotFound):
        await faulty.transact(TABLE, [Delete(found, etag)])


async def test_an_account_that_is_away_is_transient(dead_tables: TableStorage) -> None:
    with pytest.raises(Transient):
        await dead_tables.get(TABLE, "p", "one")
    with pytest.raises(Transient):
        await dead_tables.transact(TABLE, [Create(row("p"))])


async def test_a_table_that_was_deleted_is_made_anew(tables: AzureTableStorage, azurite: Azurite) -> None:
    table = "gone" + token_hex(4)
    await tables.transact(table, [Create(row("p"))])
    async with TableServiceClient(azurite.endpoint, credential=AzureNamedKeyCredential(ACCOUNT, KEY)) as service:
        await service.delete_table(table)
        with pytest.raises(NotFound):
            await tables.get(table, "p", "one")
        await service.delete_table(table)
    await tables.transact(table, [Create(row("p"))])
    assert (await tables.get(table, "p", "one"))[0]["RowKey"] == "one"
