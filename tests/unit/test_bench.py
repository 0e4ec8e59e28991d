"""What the benchmarks count, and how `--check` judges it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.tables.storage import MAX_WRITES, Create
from shared.settings import ProvisioningSettings
from tests.bench import burst, ledgers, scale, sweep, wake
from tests.bench.bulk import transactions
from tests.bench.counted import CountedTables, CountedWorkflows, is_scan
from tests.bench.goals import Goal, growth, judged
from tests.support.builders import new_tenant
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.memory_tables import MemoryTables

GOOD = burst.Signup("succeeded", "", rejections=1, polls=3, broken_connections=0, unavailable=(), seconds=1.0)
COST = scale.Cost(requests=20, rows=500, hub=0, seconds=1.0, scans=0)
BUSY = sweep.Night(due=5000, requests=5500, scans=0, seconds=9.0, cpu=5.0)
IDLE = sweep.Night(due=0, requests=33, scans=0, seconds=0.5, cpu=0.1)
SAME = wake.Same(1000, 5.0, operations=1, tables=2100, refused=Counter())
STARTED = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=each) for each in range(2 * wake.SLOTS)]
OTHERS = wake.Others(200, 60.0, range(1, len(STARTED) + 1), STARTED, failed=0, silent=wake.SLOTS)
WAITING = scale.Cost(requests=0.1, rows=2, hub=0, seconds=0.1, scans=0)


def missed(goals: Sequence[Goal]) -> list[str]:
    return [goal.name for goal in goals if not goal.met]


def burst_result(accepted: burst.Accepted, *signups: burst.Signup, violations: Sequence[str] = ()) -> Sequence[Goal]:
    result = burst.Burst([GOOD, *signups], 10.0, accepted, 1, 15, 13, list(violations))
    return burst.goals(result, ProvisioningSettings(max_concurrent=64, max_queued=500, wake_slots=0))


def scale_result(many: scale.Cost = COST, waiting: scale.Cost = WAITING) -> Sequence[Goal]:
    costs = {1000: {"timer": COST, "POST": COST}, 100_000: {"timer": COST, "POST": many}}
    return scale.Scale(60.0, costs, {1000: 1, 100_000: 1}, waiting).goals


def test_the_exit_code_is_1_only_with_check_and_a_miss(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Goal("failed", 0, 0), Goal("accepted", 565, 564)
    assert judged([good], check=True) == 0
    assert judged([good, bad], check=False) == 0
    assert "MISSED" in capsys.readouterr().out
    assert judged([good, bad], check=True) == 1


def test_growth_is_in_percent() -> None:
    assert growth(20, 20) == 0
    assert growth(20, 22) == pytest.approx(10)
    assert growth(0, 0) == 0
    assert growth(0, 1) == float("inf")


def test_a_burst_within_the_limits_meets_all_goals() -> None:
    assert not missed(burst_result(burst.Accepted(64, 500, 564, 570)))


def test_a_burst_misses_what_is_beyond_a_limit() -> None:
    assert missed(burst_result(burst.Accepted(65, 499, 564, 564))) == ["starting at once"]
    assert missed(burst_result(burst.Accepted(64, 501, 565, 565))) == ["queued at once", "accepted at once"]
    failed = replace(GOOD, state="failed", reason="no")
    assert missed(burst_result(burst.Accepted(), failed, violations=["x"])) == ["failed", "broken invariants"]


def test_scale_meets_all_goals_while_nothing_grows() -> None:
    assert not missed(scale_result())


@pytest.mark.parametrize(
    ("goals", "names"),
    [
        (scale_result(many=replace(COST, requests=23)), ["growth of table requests, percent"]),
        (scale_result(many=replace(COST, rows=1000)), ["growth of rows read, percent"]),
        (scale_result(many=replace(COST, scans=1)), ["scans"]),
        (scale_result(waiting=replace(WAITING, requests=4.1)), ["table requests a waiting signup and minute"]),
        (scale_result(waiting=replace(WAITING, hub=2.1)), ["task hub calls a waiting signup and minute"]),
    ],
)
def test_scale_misses_what_grows_or_scans(goals: Sequence[Goal], names: Sequence[str]) -> None:
    assert missed(goals) == names


def sweep_result(busy: sweep.Night = BUSY, idle: sweep.Night = IDLE, memory: float = 150.0) -> Sequence[Goal]:
    return sweep.Measured(100_000, 5000, busy, idle, memory, floor=busy.cpu - 2.0).goals


def test_a_sweep_within_the_limits_meets_all_goals() -> None:
    assert not missed(sweep_result())


@pytest.mark.parametrize(
    ("goals", "names"),
    [
        (sweep_result(replace(BUSY, due=4999)), ["due tenants not looked at"]),
        (sweep_result(replace(BUSY, requests=5501)), ["table requests a due tenant"]),
        (sweep_result(replace(BUSY, scans=1)), ["scans"]),
        (sweep_result(replace(BUSY, cpu=5.1)), ["ms of CPU a due tenant"]),
        (sweep_result(idle=replace(IDLE, due=1)), ["tenants looked at with nothing due"]),
        (sweep_result(idle=replace(IDLE, seconds=5.1)), ["seconds with nothing due"]),
        (sweep_result(memory=201), ["memory, MB"]),
    ],
)
def test_a_sweep_misses_what_is_beyond_a_limit(goals: Sequence[Goal], names: Sequence[str]) -> None:
    assert missed(goals) == [f"100000: {name}" for name in names]


def test_a_sweep_that_needs_much_beyond_the_floor_misses() -> None:
    measured = sweep.Measured(100_000, 5000, BUSY, IDLE, 150.0, floor=BUSY.cpu - 2.6)
    assert missed(measured.goals) == ["100000: of that beyond the floor"]


RUN = ledgers.Run(requests=100, seconds=10.0, cpu=8.0, growth=10.0)
FLEET = ledgers.Fleet(1000, RUN, RUN, RUN)


def test_ledgers_within_the_limits_meet_all_goals() -> None:
    assert not missed(
        ledgers.Measured(FLEET, replace(FLEET, hourly=replace(RUN, requests=70)), replace(RUN, seconds=0.9)).goals
    )


@pytest.mark.parametrize(
    ("fleet", "name"),
    [
        (replace(FLEET, final=replace(RUN, seconds=61)), "seconds to meter a day"),
        (replace(FLEET, hourly=replace(RUN, growth=61)), "MB that it needs meanwhile"),
        (replace(FLEET, hourly=replace(RUN, requests=1300)), "table requests a day for each tenant awake"),
    ],
)
def test_ledgers_miss_what_is_beyond_a_limit(fleet: ledgers.Fleet, name: str) -> None:
    asleep = replace(FLEET, hourly=replace(RUN, requests=70))
    assert missed(ledgers.Measured(fleet, asleep, replace(RUN, seconds=0.9)).goals) == [name]


def test_a_slow_report_and_costly_sleep_are_missed() -> None:
    slow, costly = replace(RUN, seconds=1.1), replace(FLEET, hourly=replace(RUN, requests=90))
    found = missed(ledgers.Measured(FLEET, costly, slow).goals)
    assert found == ["table requests a day for each tenant asleep", "seconds for a report of a year"]


def wake_result(*, beside: float = 1.0, same: wake.Same = SAME, others: wake.Others = OTHERS) -> Sequence[Goal]:
    alone = [wake.Round(seconds, 0.1, {}) for seconds in (0.9, 1.0, 9.0)]
    after = [replace(each, wake=beside * each.wake) for each in alone]
    return wake.goals([wake.Times(1000, alone, alone), wake.Times(5000, alone, after)], same, others)


def test_wakes_within_the_limits_meet_all_goals() -> None:
    assert not missed(wake_result(beside=1.09))


@pytest.mark.parametrize(
    ("goals", "name"),
    [
        (wake_result(beside=1.2), "growth beside 5000, percent"),
        (wake_result(same=replace(SAME, operations=2)), "operations for one tenant, beside 1"),
        (wake_result(same=replace(SAME, operations=0)), "operations for one tenant, beside 1"),
        (wake_result(same=replace(SAME, refused=Counter(["no"]))), "wakes of one tenant that were refused"),
        (wake_result(others=replace(OTHERS, failed=1)), "wakes of others that failed"),
        (wake_result(others=replace(OTHERS, started=OTHERS.started[::-1])), "wakes of others that overtook others"),
        (wake_result(others=replace(OTHERS, silent=wake.SLOTS + 1)), "wakes of others without a slot or a position"),
    ],
)
def test_wakes_miss_what_is_beyond_a_limit(goals: Sequence[Goal], name: str) -> None:
    assert missed(goals) == [name]


def test_wakes_of_one_moment_overtake_nobody() -> None:
    swapped = [*OTHERS.started[1::-1], *OTHERS.started[2:]]
    assert replace(OTHERS, started=swapped).overtaken == 0


def test_the_middle_of_few_values_is_wide() -> None:
    assert wake.middle([5.0, 1.0, 3.0]) == (1.0, 5.0)
    assert wake.middle([float(each) for each in range(1, 101)]) == (41.0, 60.0)


def test_the_defaults_are_those_of_the_goals() -> None:
    options = scale.parse([])
    assert (options.tenants, options.baseline, options.waiting, options.minutes) == (100_000, 1000, 500, 5)
    assert not options.check
    assert burst.parse(["--workers", "3", "--check"]).workers == 3
    assert burst.parse([]).signups == 1000
    assert list(sweep.parse([]).tenants) == [1000, 10_000, 100_000]
    assert list(wake.parse([]).asleep) == [1000, 5000]
    assert wake.parse([]).same == 1000


@pytest.mark.parametrize(
    ("parse", "arguments"),
    [
        (scale.parse, ["--tenants", "1000"]),
        (scale.parse, ["--waiting", "0"]),
        (burst.parse, ["--workers", "0"]),
        (burst.parse, ["--signups", "1"]),
        (sweep.parse, ["--due", "0"]),
        (wake.parse, ["--rounds", "0"]),
        (wake.parse, ["--asleep", "5", "4"]),
    ],
)
def test_a_wrong_number_prints_the_usage(
    parse: Callable[[Sequence[str]], object], arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(arguments)
    assert raised.value.code == 2
    assert "usage: ./berth bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "scan"),
    [
        ("PartitionKey eq @on and RowKey gt 'waiting:' and RowKey lt 'waiting;'", False),
        ("PartitionKey eq 'cluster'", False),
        ("RowKey gt 'open:' and RowKey lt 'open;'", True),
        ("PartitionKey eq @shard and state eq 'active'", True),
        ("", True),
    ],
)
def test_a_filter_by_more_than_a_range_of_keys_scans(where: str, scan: bool) -> None:
    assert is_scan(where) is scan


async def test_gets_pages_and_transactions_are_counted() -> None:
    memory = MemoryTables()
    await memory.transact("t", [Create({"PartitionKey": "p", "RowKey": f"{each}"}) for each in range(5)])
    counted = CountedTables(memory)
    await counted.get("t", "p", "1")
    await counted.transact("t", [Create({"PartitionKey": "p", "RowKey": "9"})])
    assert (counted.requests, counted.rows) == (2, 0)
    found = [each async for each in counted.query("t", "PartitionKey eq 'p'", {}, page_size=2)]
    assert len(found) == 6
    assert (counted.requests, counted.rows, counted.scans) == (5, 6, 0)


async def test_a_caller_that_stops_reads_no_further_page() -> None:
    memory = MemoryTables()
    await memory.transact("t", [Create({"PartitionKey": "p", "RowKey": f"{each}"}) for each in range(5)])
    counted = CountedTables(memory)
    tables = FaultyTables(counted, Faults())
    async for _ in tables.query("t", "PartitionKey eq 'p'", {}, page_size=2):
        break
    assert (counted.requests, counted.rows) == (1, 2)
    assert len([each async for each in tables.query("t", "PartitionKey eq 'p'", {}, page_size=2)]) == 5


async def test_each_call_of_the_task_hub_is_counted() -> None:
    workflows, operation = CountedWorkflows(), new_tenant().operation
    await workflows.start(operation)
    assert await workflows.is_running(operation)
    assert workflows.calls == 2


def test_rows_are_sent_in_transactions_of_one_partition() -> None:
    rows = [{"PartitionKey": f"{each % 2}", "RowKey": f"{each}"} for each in range(2 * MAX_WRITES + 2)]
    sent = transactions(rows)
    assert [len(each) for each in sent] == [MAX_WRITES, 1, MAX_WRITES, 1]
    assert all(len({row["PartitionKey"] for row in each}) == 1 for each in sent)
