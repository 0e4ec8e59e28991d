"""`./berth bill`: an export on disk becomes one request for each month, and the comparison a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.api import Api, Json
from cli.bill import BillError
from tests.support import cost_exports as exports
from tests.support.cost_exports import FLEET, NAMESPACE, OWN_GROUP, Charged

LINE: Json = {
    "period": "2026-10-01",
    "group": "nodes",
    "billed": "1005.312",
    "ledger": "4.7",
    "difference": "-1000.612",
    "percent": "-99.53",
    "days": 1,
}
UNMATCHED = LINE | {"group": "unmatched", "billed": "0.528", "ledger": None, "difference": None, "percent": None}
REPORT: Json = {"currency": "USD", "days": [LINE, UNMATCHED], "months": [LINE | {"period": "2026-10"}]}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any, dict[str, Any]]]:
    """The requests that were sent; each gets the same comparison."""
    requests: list[tuple[str, str, Any, dict[str, Any]]] = []
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BERTH_KEY", "key")

    async def call(_: Api, method: str, path: str, body: Json | None = None, **query: Any) -> Json:
        requests.append((method, path, body, query))
        return REPORT

    monkeypatch.setattr(Api, "call", call)
    return requests


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export of two months, with one row that cannot be read."""
    lines = [*FLEET, *(Charged(exports.DISK, "0.04", day="2026-11-01", tags=exports.driver_tags()) for _ in range(99))]
    path = tmp_path / "export.csv"
    path.write_text(exports.focus([*lines, Charged(exports.DISK, "much")]))
    return path


def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(f"resource_groups: [{OWN_GROUP}]\n")
    return str(path)


def test_each_month_is_one_request(
    sent: list[Any], export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bill", "import", str(export), "--rules", rules(tmp_path), "--max-unreadable", "1"]) == 0
    assert [(method, path) for method, path, _, _ in sent] == [("PUT", "reports/bill")] * 2
    october, november = (body for _, _, body, _ in sent)
    assert october == {
        "period": "2026-10-01",
        "currency": "USD",
        "source": "FOCUS 1.0, EffectiveCost",
        "dry_run": False,
        "days": [
            {
                "day": "2026-10-01",
                "sums": {
                    "databases": "1.44",
                    "network": "0.0000001741",
                    "nodes": "5.312",
                    "overhead": "3.9724",
                    "purchases": "0",
                    "unmatched": "0.528",
                    "volumes": "0.0442191780821917",
                },
            }
        ],
    }
    assert november["days"] == [{"day": "2026-11-01", "sums": {"volumes": "3.96"}}]
    out = capsys.readouterr().out
    assert "imported: 113 rows of FOCUS 1.0, EffectiveCost, 2 days, 1 tenants with resources of their own" in out
    assert "total 15.26 USD; invoiced in this time 160.26" in out
    assert "1 rows cannot be read and are in no sum:\n  export.csv, line 114: the cost is not a number" in out
    assert "0.53  microsoft.cache/redis" in out
    assert ["2026-10-01", "nodes", "1,005.31", "4.70", "-1,000.61", "-99.53"] in [
        each.split() for each in out.splitlines()
    ]
    assert ["2026-10-01", "unmatched", "0.53"] in [each.split() for each in out.splitlines()]


def test_json_has_everything(sent: list[Any], export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bill", "import", str(export), "--dry-run", "--json", "--max-unreadable", "1"]) == 0
    assert all(body["dry_run"] for _, _, body, _ in sent)
    printed = json.loads(capsys.readouterr().out)
    assert printed["tenants"] == {NAMESPACE: "4.0042191780821917"}
    assert (printed["rows"], printed["unreadable"], printed["total"]) == (113, 1, "15.2566193521821917")
    assert printed["unreadable_rows"] == [{"file": "export.csv", "line": 114, "reason": "the cost is not a number"}]
    assert printed["report"] == {"currency": "USD", "days": REPORT["days"] * 2, "months": REPORT["months"] * 2}


def test_what_is_wrong_sends_nothing(sent: list[Any], export: Path, tmp_path: Path) -> None:
    with pytest.raises(BillError) as raised:
        main(["bill", "import", str(export)])
    assert str(raised.value) == (
        "nothing was imported:\n  1 of 113 rows cannot be read, more than 0.1 %\n"
        "  export.csv, line 114: the cost is not a number"
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text("nodes: []\n")
    with pytest.raises(BillError, match=r"bad\.yaml: nodes: Extra inputs"):
        main(["bill", "import", str(export), "--rules", str(bad)])
    assert not sent


def test_the_comparison_is_a_table(sent: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bill", "--from", "2026-10-01", "--to", "2026-10-31"]) == 0
    assert sent == [("GET", "reports/bill", None, {"from": "2026-10-01", "to": "2026-10-31"})]
    out = [each.split() for each in capsys.readouterr().out.splitlines()]
    assert ["month", "group", "billed", "ledger", "difference", "%"] in out
    assert ["2026-10", "nodes", "1,005.31", "4.70", "-1,000.61", "-99.53"] in out
    assert main(["bill", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == REPORT
    assert sent[-1] == ("GET", "reports/bill", None, {})


def test_days_without_a_bill_are_said(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty: Json = {**REPORT, "first": "2026-11-01", "last": "2026-11-29", "days": [], "months": []}
    monkeypatch.setitem(globals(), "REPORT", empty)
    assert main(["bill"]) == 0
    assert capsys.readouterr().out.startswith("no bill was imported for 2026-11-01 to 2026-11-29; ")


@pytest.mark.parametrize("percent", ["-1", "101", "nan", "some"])
def test_the_share_of_unreadable_rows_is_a_percent(
    sent: list[Any], capsys: pytest.CaptureFixture[str], percent: str
) -> None:
    with pytest.raises(SystemExit):
        main(["bill", "import", "a.csv", f"--max-unreadable={percent}"])
    assert "must be from 0 to 100" in capsys.readouterr().err
    assert not sent
