"""The demo succeeds: the only run of the nightly timer, its sweep, metering and all else on a whole stack."""

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path

from cli.demo.fleet import MIN_TENANTS
from tests.support.html_page import elements

ROOT = Path(__file__).parents[3]


async def test_the_demo_passes_its_own_checks(tmp_path: Path) -> None:
    arguments = ["-m", "cli", "demo", "--json", "--tenants", str(MIN_TENANTS), "--html", str(tmp_path / "report.html")]
    pipe = asyncio.subprocess.PIPE
    demo = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(180):
        output, errors = await demo.communicate()
    assert demo.returncode == 0, errors.decode()
    report = json.loads(output)
    assert report["failures"] == []
    assert (report["sweep"]["actor"], report["sweep"]["hibernated"]) == ("timer", 2)
    outcomes = {each["tenant"]: each["outcome"] for each in report["sweep"]["decisions"]}
    assert outcomes == {"demo-001": "keep", "demo-002": "keep", "demo-003": "hibernate", "demo-004": "hibernate"}
    costs = report["report"]["by_day"]
    assert Decimal(costs["total"]) > Decimal(costs["unshared"]) == 0
    assert Decimal(costs["saved"]) > 0
    assert 22 <= len(costs["items"]) <= 24  # the first day, two weeks and a day at most, and one more week
    page = elements(Path(report["page"]).read_text(encoding="utf-8"))
    assert len([each for each in page if each.tag == "svg"]) == 9  # three of costs, five of latency, one of sweeps
