"""`./berth report`: the arguments, and where the report goes."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from cli.costs import facts_table, fleet_facts
from cli.output import console
from cli.report.collect import Report, collect
from cli.report.tables import all_tables
from cli.running import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to use another berth than the running stack."
    parser.add_argument("--from", metavar="DAY", help="first day in UTC, such as 2026-03-01 (default: 29 days before)")
    parser.add_argument("--to", metavar="DAY", help="last day in UTC (default: today)")
    parser.add_argument("--json", action="store_true", help="print JSON, with all digits")
    parser.add_argument("--html", type=file, metavar="FILE", help="also write a page with charts that needs no network")


async def run(options: argparse.Namespace) -> int:
    """Print a report, and write its page if that was asked."""
    async with connect(operator=True) as api:
        report = await collect(api, getattr(options, "from"), options.to)
    if options.json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print_report(console(), report)
    if options.html is not None:
        write_page(report, options.html)
        console(stderr=options.json).print(f"\nthe page is {options.html}")
    return 0


def print_report(out: Console, report: Report) -> None:
    """Print the tables of a report."""
    for title, grid, note in all_tables(report):
        out.print(title)
        if grid.rows:
            out.print(grid.table)
        if note:
            out.print(f" {note}")
        out.print()
    out.print(facts_table(fleet_facts(report.by_plan)))


def write_page(report: Report, path: Path) -> None:
    """Write the page of a report; raises OSError."""
    from cli.report.page import page  # here, because the library of the charts takes half a second to import

    path.write_text(page(report), encoding="utf-8")


def file(text: str) -> Path:
    """Return an argument that names a file that can be written."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path
