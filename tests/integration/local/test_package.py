"""The deployment package works where nothing else is installed: Microsoft's worker library loads it and calls it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from local.host.app import Function
from local.host.worker import FunctionFailedError, Worker
from local.processes import Processes
from local.stack import APP_SETTINGS, ROOT
from local.table_server import Azurite
from local.worker import protos
from tests.support.package import PACKAGES, make_package, size

LONGEST_IMPORT = 0.8  # seconds of processor time
LATER = ("kubernetes", "azure.identity", "azure.data.tables", "aiohttp", "jinja2", "yaml", "azure.monitor")
IMPORT = """
import json, sys, time
began = time.process_time()
import function_app
print(json.dumps({"seconds": time.process_time() - began, "modules": list(sys.modules)}))
"""
RUN = "import runpy; runpy.run_module('local.worker', run_name='__main__', alter_sys=True)"


@dataclass
class Package:
    app: Path
    library: Path

    def command(self, code: str) -> list[str]:
        """Return how a Python runs code that has the package and the worker library, and nothing that is installed."""
        paths = [str(self.app / PACKAGES), str(self.library), str(self.app)]
        return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {paths}\n{code}"]


@dataclass
class Loaded:
    worker: Worker
    functions: dict[str, Function]

    async def invoke(self, name: str, **data: Any) -> Any:
        function = self.functions[name]
        return await self.worker.invoke(function.id, {function.trigger["name"]: protos.TypedData(**data)})

    async def invoke_durable(self, name: str, **inputs: protos.TypedData) -> Any:
        """Call a function that has a client of a task hub, which is not there."""
        client = {"taskHubName": "berth", "rpcBaseUrl": "http://127.0.0.1:9", "connectionName": "none"}
        bound = protos.TypedData(string=json.dumps(client))
        return await self.worker.invoke(self.functions[name].id, {"client": bound, **inputs})


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    held = Package(tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("library"))
    make_package(held.app)
    for name in ("azure_functions_runtime", "azurefunctions"):
        found = find_spec(name)
        assert found is not None
        assert found.submodule_search_locations
        (held.library / name).symlink_to(next(iter(found.submodule_search_locations)))
    (held.library / "local").mkdir()
    (held.library / "local/worker").symlink_to(ROOT / "local/worker")
    return held


@pytest.fixture(scope="module")
async def loaded(package: Package, azurite: Azurite, processes: Processes) -> AsyncIterator[Loaded]:
    environment = {
        **APP_SETTINGS,
        "BERTH_TABLES_CONNECTION": azurite.connection,
        "BERTH_TENANTS_SECRET_SEED": token_hex(16),
        "BERTH_KUBERNETES_KUBECONFIG": str(processes.directory / "no.kubeconfig"),
    }
    worker = Worker(package.app, package.command(RUN), environment)
    try:
        functions = await worker.start()
        yield Loaded(worker, {each.name: each for each in functions})
    finally:
        await worker.stop()


async def test_it_handles_http(loaded: Loaded) -> None:
    response = await loaded.invoke("healthz", http={"method": "GET", "url": "https://berth.example/api/healthz"})
    assert (response.http.status_code, json.loads(response.http.body.bytes)) == ("200", {"status": "ok"})


async def test_it_runs_an_activity(loaded: Loaded) -> None:
    work = {"slug": "nobody", "operation_id": token_hex(8), "reason": ""}
    response = await loaded.invoke_durable("remove_tenant", work=protos.TypedData(json=json.dumps(work)))
    assert json.loads(response.json)["verdict"] == "ended"  # there is no such operation


async def test_it_runs_a_timer(loaded: Loaded) -> None:
    timer = protos.TypedData(json=json.dumps({"IsPastDue": False}))
    await loaded.invoke_durable("purge_old_records", timer=timer)


async def test_what_a_function_raises_comes_back(loaded: Loaded) -> None:
    with pytest.raises(FunctionFailedError) as caught:
        await loaded.invoke_durable("remove_tenant", work=protos.TypedData(json="{}"))
    assert (caught.value.kind, "slug" in str(caught.value)) == ("KeyError", True)


def test_it_is_imported_quickly(package: Package) -> None:
    took: list[float] = []
    while min(took, default=LONGEST_IMPORT) >= LONGEST_IMPORT and len(took) < 15:  # other tests slow the machine down
        said = subprocess.run(package.command(IMPORT), capture_output=True, text=True, check=True).stdout
        found = json.loads(said)
        took.append(found["seconds"])
        assert not set(LATER) & set(found["modules"])
    assert min(took) < LONGEST_IMPORT, took


def test_its_size(package: Package, capsys: pytest.CaptureFixture[str]) -> None:
    total, own = size(package.app / PACKAGES), size(package.app)
    with capsys.disabled():
        print(f"\nthe deployment package: {total + own:.0f} MB, {own:.1f} MB of them berth's own")
    assert own < 2  # a quarter of a megabyte are libraries of the ops pages
