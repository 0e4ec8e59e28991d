"""Generated valid and invalid requests from the API's description, against a stack of their own."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.api import Api
from cli.invariants import violations
from local.stack import Stack
from tests.support.polling import until

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 10  # for each operation, in addition to the hundreds of cases that cover the schemas
CLUSTER_WRITES = "/api/clusters/{name}"


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack() as held:
        yield held


async def fuzz(stack: Stack, directory: Path, *selection: str) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIG)),
        *("run", f"{stack.api_url}/api/openapi.json", "--header", f"x-functions-key: {stack.master_key}"),
        *("--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--max-examples", str(EXAMPLES)),
        *("--seed", "1", "--generation-database", "none", *selection),
    ]
    done = await asyncio.to_thread(subprocess.run, command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr


@pytest.mark.timeout(400)  # it sends thousands of requests, beside other tests
async def test_generated_requests_match_the_description(stack: Stack, tmp_path: Path) -> None:
    async with Api(stack.api_url, stack.master_key) as api:

        async def at_rest() -> bool:
            return not await violations(stack, api)

        await api.call(
            "PUT", "clusters/local", stack.registration("local") | {"region": "westeurope"}
        )  # the region in the description's examples
        await fuzz(stack, tmp_path, "--exclude-path", CLUSTER_WRITES)
        assert await api.all("tenants")  # some of the generated signups were valid
        await until(at_rest, seconds=60)
        await fuzz(stack, tmp_path, "--include-path", CLUSTER_WRITES)
