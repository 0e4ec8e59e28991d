"""`./berth bill`: imports a cost export of Azure, and shows how far the cost ledger is off the bill.

The export is read here, row by row, and only the sums of each day and group go to the app: a request for each month,
however many tenants there are. A tenant's volumes are found without a list of tenants: the disk driver's tag has the
namespace, whose name has the instance's id, which is never used again.
"""

import argparse
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from rich.table import Table

from cli.amounts import money
from cli.api import Api, Json
from cli.output import console
from cli.running import connect
from shared.adapters.bill_rules import load_bill_rules
from shared.adapters.bills import open_exports
from shared.application.read_bill import MAX_UNREADABLE, ReadBill, percent, read_bill
from shared.domain.bill_matching import BillRules
from shared.errors import Invalid

PATH = "reports/bill"


class BillError(Exception):
    """A cost export cannot be imported; the message lists everything that is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action and the arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to use another berth than the running stack."
    parser.add_argument("--from", dest="first", metavar="DAY", help="the first day (default: that of the month)")
    parser.add_argument("--to", dest="last", metavar="DAY", help="the last day (default: today)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    text = "import a cost export: FOCUS 1.0 or 1.2, or cost details, as CSV or CSV compressed by gzip"
    add = actions.add_parser("import", help=text, description=text)
    add.add_argument("files", nargs="+", type=Path, metavar="FILE", help="all files of one export")
    add.add_argument("--rules", type=Path, metavar="FILE", help="what belongs to what, as docs/bill.md says")
    add.add_argument("--dry-run", action="store_true", help="only compare, and store nothing")
    add.add_argument(
        "--max-unreadable",
        type=_share,
        default=MAX_UNREADABLE,
        metavar="PERCENT",
        help=f"how many rows in a hundred may be unreadable (default: {percent(MAX_UNREADABLE)})",
    )
    add.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    add.set_defaults(fail=add.error)


def read(options: argparse.Namespace) -> ReadBill | None:
    """Return what the files of an import say, or None for another action; raises BillError."""
    if options.action != "import":
        return None
    try:
        rules = load_bill_rules(options.rules) if options.rules else BillRules()
        return read_bill(open_exports(options.files), rules, max_unreadable=options.max_unreadable)
    except Invalid as error:
        wrong = "".join(f"\n  {place}: {text}" if place else f"\n  {text}" for place, text in error.errors)
        raise BillError(f"nothing was imported:{wrong}") from error


async def run(options: argparse.Namespace, bill: ReadBill | None) -> int:
    """Import a bill that was read, or show the comparison, and return the exit code."""
    async with connect(operator=True) as api:
        if bill is None:
            days = {"from": options.first, "to": options.last}
            report = await api.call("GET", PATH, **{name: day for name, day in days.items() if day})
        else:
            report = await _send(api, bill, dry_run=options.dry_run)
    if options.json:
        print(json.dumps(report if bill is None else _facts(bill) | {"report": report}, indent=2))
        return 0
    out = console()
    if bill is None and not report["days"]:
        out.print(f"no bill was imported for {report['first']} to {report['last']}; --from and --to show other days")
        return 0
    if bill is not None:
        out.print(*_summary(bill, dry_run=options.dry_run), sep="\n")
    out.print(_table(report, "days", "day"), "", _table(report, "months", "month"), sep="\n")
    return 0


async def _send(api: Api, bill: ReadBill, *, dry_run: bool) -> Json:
    """Send the sums, those of one month and billing period with each request, and return the comparison of all."""
    months: dict[tuple[date, str], list[Json]] = {}
    for period, days in sorted(bill.sums.periods.items()):
        for day, sums in sorted(days.items()):
            months.setdefault((period, f"{day:%Y-%m}"), []).append({"day": str(day), "sums": _texts(sums)})
    report: Json = {"currency": bill.currency, "days": [], "months": []}
    for (period, _), days in months.items():
        about = {"period": str(period), "currency": bill.currency, "source": bill.source, "dry_run": dry_run}
        part = await api.call("PUT", PATH, {**about, "days": days})
        report["days"] += part["days"]
        report["months"] += part["months"]
    return report


def _facts(bill: ReadBill) -> Json:
    sums = bill.sums
    return {
        "source": bill.source,
        "currency": bill.currency,
        "rows": bill.rows,
        "unreadable": bill.unreadable,
        "unreadable_rows": [{"file": each.file, "line": each.line, "reason": each.reason} for each in bill.named],
        "total": f"{sums.total:f}",
        "invoiced": None if sums.invoiced is None else f"{sums.invoiced:f}",
        "tenants": _texts(sums.tenants),
        "unmatched": _texts(sums.unmatched),
    }


def _summary(bill: ReadBill, *, dry_run: bool) -> list[str]:
    sums = bill.sums
    invoiced = "" if sums.invoiced is None else f"; invoiced in this time {money(sums.invoiced)}"
    days = {day for period in sums.periods.values() for day in period}
    done = "a dry run, nothing was stored" if dry_run else "imported"
    lines = [
        f"{done}: {bill.rows} rows of {bill.source}, {len(days)} days, {len(sums.tenants)} tenants with resources "
        "of their own",
        f"total {money(sums.total)} {bill.currency}{invoiced}",
    ]
    if bill.unreadable:
        lines.append(f"{bill.unreadable} rows cannot be read and are in no sum:")
        lines += [f"  {each.file}, line {each.line}: {each.reason}" for each in bill.named]
    if sums.unmatched:
        lines.append("unmatched, largest first:")
        largest = sorted(sums.unmatched.items(), key=lambda each: -abs(each[1]))
        lines += [f"  {money(amount):>12}  {what}" for what, amount in largest[:10]]
    return [*lines, ""]


def _table(report: Json, part: str, period: str) -> Table:
    table = Table(period, "group", box=None, title=f"{part}, in {report['currency']}", title_justify="left")
    for name in ("billed", "ledger", "difference", "%"):
        table.add_column(name, justify="right")
    for each in report[part]:
        amounts = (each["billed"], each["ledger"], each["difference"], each["percent"])
        shown = ("" if amount is None else money(Decimal(amount)) for amount in amounts)
        table.add_row(each["period"], each["group"], *shown)
    return table


def _texts[K: str](amounts: Mapping[K, Decimal]) -> dict[str, str]:
    return {str(name): f"{amount:f}" for name, amount in sorted(amounts.items())}


def _share(text: str) -> Decimal:
    with suppress(InvalidOperation):  # no number
        share = Decimal(text) / 100
        if 0 <= share <= 1:
            return share
    raise argparse.ArgumentTypeError("must be from 0 to 100")
