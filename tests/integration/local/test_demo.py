"""The demo succeeds: the only run of the nightly timer, its sweep and all that follows on a whole stack."""

import asyncio
import json
import sys
from pathlib import Path

from cli.demo.fleet import MIN_TENANTS

ROOT = Path(__file__).parents[3]


async def test_the_demo_passes_its_own_checks() -> None:
    arguments = ["-m", "cli", "demo", "--json", "--tenants", str(MIN_TENANTS)]
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
