"""The bill over HTTP, on fakes: days are imported once, and compared with the ledger, in JSON and as CSV."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import pytest

from cli.api import Json
from functions.http import bills
from functions.http.bill_requests import MAX_DAYS
from shared.adapters.tables.bills import TABLE, TableBillRepository
from shared.application.bills import Bills
from shared.domain.bill import BillGroup
from shared.domain.bill_error import LedgerDay
from shared.domain.cost_components import Component
from tests.support.clock import FakeClock
from tests.support.fake_ledger import FakeLedger
from tests.support.memory_tables import MemoryTables
from tests.support.registered import registered_functions

DAY = date(2026, 10, 31)
COSTS = {Component.COMPUTE: Decimal("3.1"), Component.ATTACH: Decimal("1.6"), Component.VOLUME: Decimal("0.0411")}
SUMS = {"nodes": "4.992", "volumes": "0.0394520547945205", "unmatched": "-0.5"}
BODY: dict[str, Any] = {
    "period": "2026-10-01",
    "currency": "USD",
    "source": "FOCUS 1.0, EffectiveCost",
    "days": [{"day": "2026-10-31", "sums": SUMS}],
}


class Services:
    """What the handlers ask the container for."""

    def __init__(self, *days: LedgerDay) -> None:
        self.tables = MemoryTables()
        repository, ledger = TableBillRepository(self.tables), FakeLedger(*days)
        self.clock = FakeClock(datetime(2026, 11, 2, 9, tzinfo=UTC))
        self.bills = Bills(bills=repository, ledger=ledger, currency="USD", clock=self.clock)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    made = Services(LedgerDay(DAY, COSTS))
    monkeypatch.setattr(bills, "container", lambda: made)
    return made


async def call(name: str, body: Any = None, query: str = "") -> func.HttpResponse:
    """Call a registered trigger as the worker does."""
    content = b"" if body is None else json.dumps(body).encode()
    req = func.HttpRequest(
        method="PUT" if body else "GET",
        url=f"https://berth.example.com/api/reports/bill{f'?{query}' if query else ''}",
        params=dict(parse_qsl(query)),
        body=content,
        headers={"Content-Type": "application/json"},
    )
    return await registered_functions()[name].get_user_function()(req)


def read(response: func.HttpResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.get_body()
    return json.loads(response.get_body())


def errors(response: func.HttpResponse) -> list[tuple[str, str]]:
    return [(each["pointer"], each["detail"]) for each in read(response, 422)["errors"]]


async def test_an_import_logs_how_far_the_ledger_is_off(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await call("import_bill", BODY, "dry_run=true")
    assert caplog.messages == []
    await call("import_bill", BODY)
    assert caplog.messages == ["bill compared day=2026-10-31 billed=5.0314520547945205 ledger=4.7411"]


async def test_an_import_is_compared_with_the_ledger(services: Services) -> None:
    report = read(await call("import_bill", BODY))
    assert (report["currency"], report["first"], report["last"]) == ("USD", "2026-10-31", "2026-10-31")
    volumes = {
        "period": "2026-10-31",
        "group": "volumes",
        "billed": "0.0394520547945205",
        "ledger": "0.0411",
        "difference": "0.0016479452054795",
        "percent": "4.18",
        "days": 1,
    }
    assert report["days"][2] == volumes
    unmatched = {"group": "unmatched", "billed": "-0.5", "ledger": None, "difference": None, "percent": None}
    assert report["days"][3] == volumes | unmatched
    assert [each["group"] for each in report["days"]] == ["total", "nodes", "volumes", "unmatched"]
    assert report["months"] == [each | {"period": "2026-10"} for each in report["days"]]
    shown = read(await call("show_bill", query="from=2026-10-01&to=2026-10-31"))
    assert shown == report | {"first": "2026-10-01"}


async def test_importing_again_replaces_days(services: Services) -> None:
    await call("import_bill", BODY)
    before = {key: row for key, (row, _) in services.tables.rows[TABLE].items()}
    assert len(before) == len(BillGroup)
    await call("import_bill", BODY)
    assert {key: row for key, (row, _) in services.tables.rows[TABLE].items()} == before
    days: list[Json] = [{"day": "2026-10-31", "sums": {"volumes": "1"}}, {"day": "2026-11-01", "sums": {}}]
    await call("import_bill", BODY | {"days": days})
    report = read(await call("show_bill", query="from=2026-10-31"))
    assert [(each["group"], each["billed"]) for each in report["days"]] == [
        ("total", "1"),
        ("nodes", "0"),
        ("volumes", "1"),
    ]


async def test_a_later_bill_adds_to_a_day(services: Services) -> None:
    await call("import_bill", BODY)
    late = BODY | {"period": "2026-11-01", "days": [{"day": "2026-10-31", "sums": {"nodes": "0.008"}}]}
    for dry_run in (True, False, False):
        report = read(await call("import_bill", late | {"dry_run": dry_run}))
        assert [each["billed"] for each in report["days"] if each["group"] == "nodes"] == ["5.000"]
    assert read(await call("show_bill", query="from=2026-10-31"))["days"] == report["days"]
    again = read(await call("import_bill", BODY))
    assert again["days"] == report["days"]


async def test_a_dry_run_compares_and_stores_nothing(services: Services) -> None:
    report = read(await call("import_bill", BODY | {"dry_run": True}))
    assert report["days"][1]["ledger"] == "4.7"
    assert TABLE not in services.tables.rows
    assert read(await call("show_bill", query="from=2026-10-01"))["days"] == []


async def test_another_currency_is_not_converted(services: Services) -> None:
    [(pointer, detail)] = errors(await call("import_bill", BODY | {"currency": "EUR"}))
    assert pointer == "/currency"
    assert detail == (
        "the bill is in EUR and the price book in USD, and berth does not convert: export the bill in USD, or enter "
        "your prices in EUR into shared/prices.yaml"
    )
    assert TABLE not in services.tables.rows


async def test_the_days_come_as_csv(services: Services) -> None:
    await call("import_bill", BODY)
    response = await call("show_bill", query="from=2026-10-31&format=csv")
    assert response.mimetype == "text/csv"
    lines = list(csv.DictReader(io.StringIO(response.get_body().decode())))
    assert lines[1] == {
        "period": "2026-10-31",
        "group": "nodes",
        "billed": "4.992",
        "ledger": "4.7",
        "difference": "-0.292",
        "percent": "-5.85",
        "days": "1",
    }
    assert (lines[3]["group"], lines[3]["billed"], lines[3]["ledger"]) == ("unmatched", "-0.5", "")


async def test_the_range_is_this_month_by_default(services: Services) -> None:
    report = read(await call("show_bill"))
    assert (report["first"], report["last"]) == ("2026-11-01", "2026-11-02")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("from=2026-10-02&to=2026-10-01", ("?to", "give a day that is not before 2026-10-02")),
        ("from=2026-07-31&to=2026-10-31", ("?from", "give at most 92 days")),
        ("from=1759276800", ("?from", "give a day of this millennium, such as 2026-03-01")),
        ("to=2026-02-30", ("?to", "give a day of this millennium, such as 2026-03-01")),
    ],
)
async def test_wrong_ranges_are_refused(services: Services, query: str, error: tuple[str, str]) -> None:
    assert errors(await call("show_bill", query=query)) == [error]


WRONG: list[tuple[list[Json], str]] = [
    ([], "/days"),
    (
        [{"day": f"2026-{each // 28 + 1:02}-{each % 28 + 1:02}", "sums": {}} for each in range(MAX_DAYS + 1)],
        "/days",
    ),
    ([{"day": "2026-10-31", "sums": {}}] * 2, ""),
    ([{"day": "2026-10-32", "sums": {}}], "/days/0/day"),
    ([{"day": "2026-10-31", "sums": {"nodes": 4.992}}], "/days/0/sums/nodes"),
    ([{"day": "2026-10-31", "sums": {"nodes": "1e5"}}], "/days/0/sums/nodes"),
    ([{"day": "2026-10-31", "sums": {"total": "1"}}], "/days/0/sums/total/[key]"),
]


@pytest.mark.parametrize(("days", "pointer"), WRONG)
async def test_wrong_imports_are_refused(services: Services, days: Any, pointer: str) -> None:
    assert [each for each, _ in errors(await call("import_bill", BODY | {"days": days}))] == [pointer]
    assert TABLE not in services.tables.rows


async def test_a_month_of_the_longest_amounts_fits_a_body(services: Services) -> None:
    longest = "-" + "9" * 18 + "." + "9" * 40
    sums = {group.value: longest for group in BillGroup}
    days = [{"day": f"2026-10-{day:02}", "sums": sums} for day in range(1, MAX_DAYS + 1)]
    assert read(await call("import_bill", BODY | {"days": days}))["days"]
