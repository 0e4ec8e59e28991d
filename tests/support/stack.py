"""A stack whose host reaches the API server and the tables through fault proxies, and what must hold on it."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import psutil

from cli.api import Api, Json, ProblemError
from cli.invariants import violations
from local.kubernetes.control_plane import BERTH, Options
from local.stack import Stack
from local.table_server import ACCOUNT, connection_string
from tests.support.builders import new_slug, signup_body
from tests.support.described_api import DescribedApi
from tests.support.fault_proxy import FaultProxy
from tests.support.polling import until

CALLER_TIMEOUT_SECONDS = 10.0  # after which a caller gives a request up: its worker may have been stopped
SETTINGS = {
    "BERTH_PROVISIONING_FAIL_AFTER": "12",
    "BERTH_RECOVERY_RESTART_AFTER": "2",
    "BERTH_KUBERNETES_WATCH_TIMEOUT": "5",
    "BERTH_RECOVERY_SCHEDULE": "*/2 * * * * *",
}


@dataclass
class ProxiedStack:
    """A running stack with its proxies and a caller of its API."""

    stack: Stack
    kubernetes: FaultProxy
    tables: FaultProxy
    api: Api
    operators: Api

    def workers(self) -> list[psutil.Process]:
        """The processes that run the app."""
        return psutil.Process(self.stack.processes.pids()["host"]).children()

    def worker_at(self, port: int) -> int:
        """Return the id of the worker process that has a connection with this port as its own end."""
        return next(
            worker.pid
            for worker in self.workers()
            if any(each.laddr.port == port for each in worker.net_connections("tcp4"))
        )

    async def late_work_done(self, worker: int, *, seconds: float = 60.0) -> None:
        """Wait until a worker has completed all the work that was given to another one while it was stopped."""

        async def done() -> bool:
            log = self.stack.processes.log("host").read_text()
            lost = log.count(f"worker process {worker} ended or stalled; the task hub")
            return log.count(f"worker process {worker} completed a work item late") == lost

        await until(done, seconds=seconds)

    def reset(self) -> None:
        """Let both proxies pass everything on again."""
        self.kubernetes.reset()
        self.tables.reset()

    async def sign_up(self, slug: str = "", **fields: str) -> Json:
        """Send a signup and return its operation."""
        return await self.api.call("POST", "tenants", signup_body(slug or new_slug(), **fields))

    async def ended(self, operation: Json, *, seconds: float = 60.0) -> Json:
        """Return the operation once it has ended, however often the host is away meanwhile."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(httpx.HTTPError, ProblemError, TimeoutError):
                    async with asyncio.timeout(CALLER_TIMEOUT_SECONDS):
                        operation = await self.api.call("GET", f"operations/{operation['id']}")
                    if operation.get("finished_at"):
                        return operation
                await asyncio.sleep(0.25)

    async def at_rest(self, *, seconds: float = 60.0) -> None:
        """Wait until all invariants hold: what follows from an operation's end may come a moment after it."""
        found = await self.violations_after(seconds=seconds)
        assert not found, found

    async def violations_after(self, *, seconds: float) -> list[str]:
        """Return what is still wrong after so many seconds, or nothing as soon as all invariants hold."""
        found = ["nothing was checked yet"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while found:
                    if await self.stack.host_ready():
                        found = await violations(self.stack, self.operators)
                    if found:
                        await asyncio.sleep(1)
        return found


@asynccontextmanager
async def proxied_stack(
    environment: Mapping[str, str] | None = None, *, workers: int = 1, redelivery: float = 0.0, telemetry: bool = False
) -> AsyncGenerator[ProxiedStack]:
    """Run a stack with fault proxies, its host with more environment variables than the usual ones."""
    proxies: list[FaultProxy] = []

    async def put_proxies_in_front(stack: Stack) -> Mapping[str, str]:
        plane = stack.control_plane
        pair = plane.authority.client(BERTH)
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server = plane.authority.server()
        serving.load_cert_chain(server.certificate, server.key)
        calling = ssl.create_default_context(cafile=str(plane.authority.certificate))
        calling.load_cert_chain(pair.certificate, pair.key)
        kubernetes = FaultProxy(plane.server, tls=serving, upstream_tls=calling)
        tables = FaultProxy(f"http://127.0.0.1:{stack.azurite.port}")
        proxies.extend((kubernetes, tables))
        server_url = await kubernetes.start(stack.ports.take())
        tables_url = await tables.start(stack.ports.take())
        config = stack.processes.directory / "proxied.kubeconfig"
        config.write_text(json.dumps(plane.context(BERTH, server=server_url)))
        connection = connection_string(f"{tables_url}/{ACCOUNT}")
        return {"BERTH_KUBERNETES_KUBECONFIG": str(config), "BERTH_TABLES_CONNECTION": connection}

    stack = Stack(
        {**SETTINGS, **(environment or {})},
        options=Options(ready_seconds=0.3, slow_seconds=4),
        workers=workers,
        redelivery=redelivery,
        telemetry=telemetry,
        before_host=put_proxies_in_front,
    )
    try:
        async with (
            stack,
            DescribedApi(stack.api_url, stack.function_key) as api,
            DescribedApi(stack.api_url, stack.master_key) as operators,
        ):
            yield ProxiedStack(stack, proxies[0], proxies[1], api, operators)
    finally:
        for proxy in proxies:
            await proxy.close()
