"""Cost exports as files: each format, compressed or not, and what is wrong in one."""

import csv
import gzip
import io
import tracemalloc
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.bill_rules import load_bill_rules
from shared.adapters.bills import CsvExport, open_exports
from shared.application.ports.bills import UnreadableRow
from shared.application.read_bill import ReadBill, read_bill
from shared.domain.bill import BillGroup, BillLine, Charge
from shared.domain.bill_matching import BillRules
from shared.errors import Invalid
from tests.support import cost_exports as exports
from tests.support.cost_exports import FLEET, FOCUS_1_2, NAMESPACE, NODE_GROUP, Charged

DAY = PERIOD = date(2026, 10, 1)
FORMATS: dict[str, Callable[[], str]] = {
    "FOCUS 1.0, EffectiveCost": exports.focus,
    "FOCUS 1.2, EffectiveCost": lambda: exports.focus(header=FOCUS_1_2),
    "cost details, Cost": exports.enterprise,
    "cost details, costInBillingCurrency": exports.customer,
}
SUMS = {
    BillGroup.NODES: Decimal("5.312"),
    BillGroup.VOLUMES: Decimal("0.0442191780821917"),
    BillGroup.DATABASES: Decimal("1.44"),
    BillGroup.NETWORK: Decimal("0.0000001741"),
    BillGroup.OVERHEAD: Decimal("3.9724"),
    BillGroup.UNMATCHED: Decimal("0.528"),
    BillGroup.PURCHASES: Decimal(0),
}
RULES = BillRules(own_groups=frozenset({exports.OWN_GROUP}))


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(*paths: Path, rules: BillRules = RULES, share: str = "0") -> ReadBill:
    return read_bill(open_exports(paths), rules, max_unreadable=Decimal(share))


def changed(text: str, fields: dict[str, str]) -> str:
    """Return an export with other fields in its rows."""
    rows = list(csv.DictReader(io.StringIO(text)))
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(row | fields for row in rows)
    return out.getvalue()


def wrong(*paths: Path) -> list[str]:
    with pytest.raises(Invalid) as raised:
        read(*paths)
    return [f"{place}: {text}" for place, text in raised.value.errors]


@pytest.mark.parametrize("source", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, source: str) -> None:
    bill = read(written(tmp_path / "export.csv", FORMATS[source]()))
    assert (bill.source, bill.currency, bill.rows, bill.unreadable) == (source, "USD", len(FLEET), 0)
    assert bill.sums.periods == {PERIOD: {DAY: SUMS}}
    assert bill.sums.tenants == {NAMESPACE: SUMS[BillGroup.VOLUMES]}
    assert bill.sums.unmatched == {"microsoft.cache/redis": Decimal("0.528")}
    assert bill.sums.total == sum(SUMS.values())
    # The nodes are paid by a reservation: used here, invoiced when it was bought.
    invoiced = bill.sums.total - Decimal("4.992") + 150
    assert bill.sums.invoiced == (invoiced if source.startswith("FOCUS") else None)


@pytest.mark.parametrize("compressed", [False, True])
def test_gzip_and_a_byte_order_mark_are_read(tmp_path: Path, compressed: bool) -> None:
    content = exports.focus().encode("utf-8-sig")  # whose first column is read
    path = tmp_path / "part_0.csv"  # what it is says the content, not the name
    path.write_bytes(gzip.compress(content) if compressed else content)
    assert read(path).sums.periods == {PERIOD: {DAY: SUMS}}


def test_the_files_of_one_export_add_up(tmp_path: Path) -> None:
    parts = [written(tmp_path / f"{number}.csv", exports.focus(FLEET[number::2])) for number in (0, 1)]
    assert read(*parts).sums.periods == {PERIOD: {DAY: SUMS}}


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-10-01T00:00Z", DAY),
        ("2026-10-01T00:00:00Z", DAY),
        ("2026-10-01 00:00:00", DAY),
        ("2026-10-01", DAY),
        ("10/01/2026", DAY),
        ("2026-10-01T01:00+02:00", date(2026, 9, 30)),
        ("31/10/2026", None),
        ("soon", None),
    ],
)
def test_days_have_several_forms(tmp_path: Path, text: str, day: date | None) -> None:
    content = exports.focus(FLEET[:1]).replace("2026-10-01T00:00Z", text)
    [row] = CsvExport(written(tmp_path / "export.csv", content)).rows()
    assert (row.day if isinstance(row, BillLine) else None) == day


@pytest.mark.parametrize("export", [exports.focus, exports.enterprise, exports.customer])
def test_late_charges_are_of_the_period_that_bills_them(tmp_path: Path, export: Callable[..., str]) -> None:
    late = Charged(exports.DISK, "-0.02", tags=exports.driver_tags(), period="2026-11-01")
    path = written(tmp_path / "a.csv", export([FLEET[0], late]))
    assert read(path).sums.periods == {
        PERIOD: {DAY: {BillGroup.VOLUMES: Decimal(FLEET[0].cost)}},
        date(2026, 11, 1): {DAY: {BillGroup.VOLUMES: Decimal("-0.02")}},
    }


@pytest.mark.parametrize(
    ("words", "charge"),
    [
        ({"ChargeCategory": "Usage"}, Charge.USAGE),
        ({"ChargeCategory": "Tax"}, Charge.TAX),
        ({"ChargeCategory": "Credit"}, Charge.CREDIT),
        ({"ChargeCategory": "Purchase"}, Charge.PURCHASE),
        ({"ChargeCategory": "Adjustment"}, Charge.ADJUSTMENT),
        ({"ChargeCategory": "Gift"}, Charge.OTHER),
        ({"ChargeCategory": "Usage", "ChargeClass": "Correction"}, Charge.ADJUSTMENT),
        ({"ChargeCategory": "Usage", "CommitmentDiscountStatus": "Unused"}, Charge.UNUSED),
        ({"ChargeCategory": "Usage", "CommitmentDiscountStatus": "Used"}, Charge.USAGE),
        ({"ChargeType": "Refund"}, Charge.REFUND),
        ({"ChargeType": "UnusedReservation"}, Charge.UNUSED),
        ({"ChargeType": "UnusedSavingsPlan"}, Charge.UNUSED),
        ({"ChargeType": "RoundingAdjustment"}, Charge.ADJUSTMENT),
    ],
)
def test_charges_are_told_apart(tmp_path: Path, words: dict[str, str], charge: Charge) -> None:
    text = exports.focus(FLEET[:1]) if "ChargeCategory" in words else exports.enterprise(FLEET[:1])
    [row] = CsvExport(written(tmp_path / "export.csv", changed(text, words))).rows()
    assert isinstance(row, BillLine)
    assert row.charge is charge


def test_all_that_is_wrong_is_in_one_message(tmp_path: Path) -> None:
    focus = written(tmp_path / "focus.csv", exports.focus().replace("EffectiveCost", "Cost").replace("Tags", "tag"))
    other = written(tmp_path / "other.csv", "Date,Cost,Cost,BillingCurrency\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "export.parquet").write_bytes(b"PAR1....")
    (tmp_path / "binary.csv").write_bytes(b"x" * 200_000)
    names = ("empty.csv", "export.parquet", "binary.csv", "none.csv")
    paths = [focus, other, *(tmp_path / each for each in names)]
    assert wrong(*paths) == [
        "focus.csv: the column EffectiveCost is missing (read as FOCUS 1.0)",
        "focus.csv: the column Tags is missing (read as FOCUS 1.0)",
        "other.csv: the column Cost occurs twice (read as cost details)",
        "other.csv: the column ChargeType is missing (read as cost details)",
        "other.csv: the column MeterCategory is missing (read as cost details)",
        "other.csv: the column ResourceId or InstanceId is missing (read as cost details)",
        "other.csv: the column Tags is missing (read as cost details)",
        "empty.csv: the file is empty",
        "export.parquet: this is Parquet: export CSV, which may be compressed by gzip",
        "binary.csv: this is no CSV: field larger than field limit (131072)",
        "none.csv: the file cannot be read: No such file or directory",
    ]


def test_what_could_count_twice_is_refused(tmp_path: Path) -> None:
    focus, legacy = (written(tmp_path / f"{each.__name__}.csv", each()) for each in (exports.focus, exports.enterprise))
    assert wrong(focus, focus) == [": a file is given twice, so its costs would count twice"]
    [message] = wrong(focus, legacy)
    assert message.endswith("costs could count twice: FOCUS 1.0, EffectiveCost; cost details, Cost")


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.csv.gz"
    path.write_bytes(gzip.compress(exports.focus(FLEET * 100).encode())[:-200])
    [message] = wrong(path)
    assert message.startswith("export.csv.gz: the file breaks off: get it again")


def test_an_export_without_rows_is_refused(tmp_path: Path) -> None:
    assert wrong(written(tmp_path / "a.csv", exports.focus(()))) == [
        ": the export has no rows: there is nothing to import"
    ]


def test_several_currencies_are_refused(tmp_path: Path) -> None:
    lines = [*FLEET, Charged(exports.DISK, "1", currency="EUR")]
    [message] = wrong(written(tmp_path / "a.csv", exports.focus(lines)))
    assert message == ": the export has lines in USD and in EUR: export one currency"


def test_unreadable_rows_are_named_and_in_no_sum(tmp_path: Path) -> None:
    header, first, *others = exports.focus().splitlines()
    bad = [
        first.replace("2026-10-01T00:00Z", "01.10.2026"),
        first.replace("0.0394520547945205", "NaN"),
        first.replace("USD", "dollars"),
        first + ",more",
    ]
    path = written(tmp_path / "a.csv", "\n".join([header, *bad, "", first, *others]))
    assert wrong(path) == [
        ": 4 of 17 rows cannot be read, more than 0 %",
        "a.csv, line 2: the date is neither like 2026-10-31 nor like 10/31/2026, month first",
        "a.csv, line 3: the cost is not a number",
        "a.csv, line 4: the currency is not one such as USD",
        f"a.csv, line 5: the row has {len(header.split(',')) + 1} fields, the header {len(header.split(','))}",
    ]
    bill = read(path, share="0.25")
    assert (bill.unreadable, bill.rows, [each.line for each in bill.named]) == (4, 17, [2, 3, 4, 5])
    assert bill.sums.periods == {PERIOD: {DAY: SUMS}}


def test_a_field_without_an_end_loses_one_row_only(tmp_path: Path) -> None:
    header, first, *others = exports.enterprise(FLEET * 200).splitlines()
    path = written(tmp_path / "a.csv", "\n".join([header, f'"{first.replace('"', "")}', *others]))
    rows = list(CsvExport(path).rows())
    unreadable = [each for each in rows if isinstance(each, UnreadableRow)]
    assert unreadable
    assert sum(isinstance(each, BillLine) for each in rows) > len(FLEET) * 100


@pytest.mark.parametrize("tags", ["{", "not tags", '"a" "b"', "[]"])
def test_tags_that_cannot_be_read_leave_a_disk_unmatched(tmp_path: Path, tags: str) -> None:
    path = written(tmp_path / "a.csv", changed(exports.customer(FLEET[:1]), {"tags": tags}))
    assert read(path).sums.periods == {PERIOD: {DAY: {BillGroup.UNMATCHED: Decimal(FLEET[0].cost)}}}


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks: list[int] = []
    for times in (20, 2_000):
        path = tmp_path / f"{times}.csv.gz"
        path.write_bytes(gzip.compress(exports.focus(FLEET * times).encode(), 1))
        tracemalloc.start()
        assert read(path).rows == times * len(FLEET)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000, peaks  # bytes; the larger file has 15 MB


AMOUNTS = st.builds("{}E{}".format, st.integers(-(10**17), 10**17), st.integers(-40, 0))
CHARGED = st.builds(
    Charged,
    resource=st.sampled_from([each.resource for each in FLEET] + ["Microsoft.Unknown/things/one", "x"]),
    cost=AMOUNTS,
    day=st.dates(date(2026, 1, 1), date(2026, 12, 31)).map(str),
    service=st.sampled_from([each.service for each in FLEET]) | st.text(st.characters(codec="ascii"), max_size=5),
    group=st.sampled_from([NODE_GROUP, exports.OWN_GROUP, "rg-other", ""]),
    charge=st.sampled_from(["Usage", "Usage", "Purchase", "Tax", "Credit", "Refund", "Adjustment", "?", ""]),
    tags=st.sampled_from([exports.driver_tags(), exports.driver_tags("monitoring"), {}, {"a": 'b",'}]),
)
GIVEN_RULES = st.sampled_from(
    [
        BillRules(),
        RULES,
        BillRules(node_groups=frozenset({"mc_other"})),
        BillRules(tenant_groups={"rg-other": "acme", NODE_GROUP.lower(): "beta"}),
    ]
)


@given(
    st.lists(CHARGED, min_size=1, max_size=30),
    st.sampled_from([exports.focus, exports.enterprise, exports.customer]),
    GIVEN_RULES,
)
def test_nothing_is_lost_and_nothing_added(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[Charged],
    export: Callable[[list[Charged]], str],
    rules: BillRules,
) -> None:
    bill = read(written(tmp_path_factory.mktemp("bill") / "a.csv", export(lines)), rules=rules)
    total = sum(Fraction(each.cost) for each in lines)
    days = [(day, sums) for period in bill.sums.periods.values() for day, sums in period.items()]
    assert sum(Fraction(amount) for _, sums in days for amount in sums.values()) == total
    assert Fraction(bill.sums.total) == total
    assert {str(day) for day, _ in days} == {each.day for each in lines}


def test_rules_are_read_in_lower_case(tmp_path: Path) -> None:
    resource = f"{exports.SUBSCRIPTION}/resourceGroups/Shared/providers/Microsoft.Sql/servers/One"
    path = written(
        tmp_path / "rules.yaml",
        f"node_resource_groups: [MC_One]\nresource_groups: [RG-Berth]\n"
        f"tenants:\n  acme:\n    resource_groups: [RG-Acme]\n    resources: [{resource}]\n",
    )
    rules = load_bill_rules(path)
    assert rules.node_groups == {"mc_one"}
    assert rules.own_groups == {"rg-berth"}
    assert (rules.tenant_groups, rules.tenant_resources) == ({"rg-acme": "acme"}, {resource.lower(): "acme"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters: [a]", "rules.yaml: clusters: Extra inputs are not permitted"),
        ("tenants: {Acme: {}}", "rules.yaml: tenants.Acme.[key]: String should match pattern"),
        ("tenants: {a: {resources: [disks/one]}}", "rules.yaml: tenants.a.resources.0: String should match pattern"),
        ("tenants: {a: {resource_groups: [g]}, b: {resource_groups: [G]}}", "rules.yaml: g is of several tenants"),
        ("a: [", "rules.yaml: while parsing"),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        load_bill_rules(written(tmp_path / "rules.yaml", text))
    assert str(raised.value).startswith(message)
