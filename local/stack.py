"""The embedded stack: table server, task hub, telemetry, control planes, their waiting rooms and Functions host."""

import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from local.clock import MovableClock, new_clock
from local.gateway.process import NAME, NAMESPACE
from local.kubernetes.control_plane import BERTH, OWNER, ControlPlane, Options, start_control_plane
from local.ports import Ports, listens
from local.processes import Processes, StackError
from local.table_server import Azurite, responds, start_azurite
from local.telemetry.process import Telemetry, start_telemetry
from local.waiting_room import start_waiting_room

ROOT = Path(__file__).parent.parent
CAPACITY = 2000
REGISTER_SECONDS = 40.0  # in which a cluster has to pass its probe
WATCH_SECONDS = 0.25
MAX_RESTARTS = 5  # in a row
RESTARTED = ("telemetry", "task-hub", "host")  # the parts that are, in this order

# The app settings that do not depend on where the parts listen.
APP_SETTINGS = {
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "BERTH_RECOVERY_SCHEDULE": "*/30 * * * * *",
    "BERTH_TENANTS_OWNER": OWNER,
    "BERTH_SWEEP_SCHEDULE": "0 30 2 * * *",
    "BERTH_PRICES_SCHEDULE": "0 23 4 * * *",
    "BERTH_COSTS_PRICE_REGION": "westeurope",  # Azure has no region `local`
    "BERTH_TENANTS_IMAGE": "registry.example.com/product",
    "BERTH_TENANTS_DEFAULT_VERSION": "1.0.0",
    "BERTH_PROVISIONING_PROGRESS_INTERVAL": "2",
    "BERTH_RECOVERY_RESTART_AFTER": "30",
}


class Stack:
    """A running stack; use it as an async context manager.

    Args:
        settings: App settings that replace or extend APP_SETTINGS.
        control_planes: The names of the control planes; each is registered as a cluster of the same name.
        options: How the control planes behave.
        port: Where the host listens; by default a free port.
        workers: The number of worker processes that run the app.
        redelivery: After how many seconds the task hub gives the work of a worker or host that died or stalled to
            another one. Azure Storage does so after the visibility timeout in host.json.
        clock: Whether the clock of the host, its workers, the task hub, the tables and the telemetry can be moved.
        telemetry: Whether host and app export telemetry, to a stand-in for Application Insights. That takes time: it
            is off by default.
        before_host: Called when all parts but the host are running; returns more app settings, such as the address of a
            proxy.

    Raises:
        StackError: A part did not start.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        control_planes: Sequence[str] = ("local",),
        options: Options | None = None,
        port: int = 0,
        workers: int = 1,
        redelivery: float = 0.0,
        clock: bool = False,
        telemetry: bool = False,
        before_host: Callable[["Stack"], Awaitable[Mapping[str, str]]] | None = None,
    ) -> None:
        self._settings = dict(settings or {})
        self._names = control_planes
        self._options = options or Options()
        self._port = port
        self.workers = workers
        self.redelivery = redelivery
        self.has_clock = clock
        self.has_telemetry = telemetry
        self._before_host = before_host
        self.ports = Ports()
        self._watcher: asyncio.Task[None] | None = None
        self._keys = {"master": secrets.token_urlsafe(32), "default": secrets.token_urlsafe(32)}

    _hub: int
    processes: Processes
    azurite: Azurite
    clock: MovableClock  # only if it has one
    telemetry: Telemetry  # only if it has one
    control_planes: dict[str, ControlPlane]
    failed: asyncio.Future[StackError]

    @property
    def api_url(self) -> str:
        """Where the host listens, without /api."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def function_key(self) -> str:
        """The key for callers."""
        return self._keys["default"]

    @property
    def master_key(self) -> str:
        """The key for operators."""
        return self._keys["master"]

    @property
    def tables_connection(self) -> str:
        """The table server's connection string."""
        return self.azurite.connection

    @property
    def control_plane(self) -> ControlPlane:
        """The first control plane."""
        return self.control_planes[self._names[0]]

    @property
    def kubectl(self) -> list[str]:
        """The kubectl command for the first control plane, as its administrator."""
        return self.control_plane.kubectl

    async def __aenter__(self) -> Self:
        self.failed = asyncio.get_running_loop().create_future()
        self.processes = Processes()
        if self.has_clock:
            self.clock = new_clock(self.processes.directory / "clock")
        self._port = self._port or self.ports.take()
        self._hub = self.ports.take()
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._close()

    def registration(self, name: str) -> dict[str, Any]:
        """Return the body that registers the control plane with a name as a cluster."""
        return {
            "region": "local",
            "capacity": CAPACITY,
            "access": {"kubeconfig_context": name},
            "domain": self.control_planes[name].gateway.domain,
            "gateway": {"namespace": NAMESPACE, "name": NAME},
        }

    async def host_ready(self) -> bool:
        """Whether the Functions host serves requests."""
        return await responds(
            f"{self.api_url}/admin/host/status", headers={"x-functions-key": self.master_key}, status=200
        )

    async def _start(self) -> None:
        self.azurite, _, _, planes = await asyncio.gather(
            start_azurite(self.processes, self.ports, self._clock_environment),
            self._start_task_hub(),
            self._start_telemetry(),
            asyncio.gather(
                *(start_control_plane(self.processes, self.ports, name, self._options) for name in self._names)
            ),
        )
        self.control_planes = {plane.name: plane for plane in planes}
        if self._before_host is not None:
            self._settings |= await self._before_host(self)
        app = f"127.0.0.1:{self._port}"
        rooms = (start_waiting_room(self.processes, self.ports, plane, app) for plane in planes)
        await asyncio.gather(self._start_host(), *rooms)
        self._check_clock()
        for plane in planes:
            await self._register(plane)
        self._watcher = asyncio.create_task(self._watch())

    @property
    def _clock_environment(self) -> Mapping[str, str]:
        return self.clock.environment if self.has_clock else {}

    def _check_clock(self) -> None:
        pids = self.processes.pids()
        names = ("azurite", "task-hub", "host", *(("telemetry",) if self.has_telemetry else ()))
        for name in names if self.has_clock else ():
            if not self.clock.is_followed_by(pids[name]):
                raise StackError(
                    f"{name} has not loaded libfaketime; start the stack without a clock that can be moved"
                )

    async def _start_task_hub(self) -> None:
        command = [sys.executable, "-m", "local.task_hub", "--port", str(self._hub)]
        command += ["--redelivery", str(self.redelivery)]
        environment = {"PYTHONPATH": str(ROOT), **self._clock_environment}
        await self.processes.start("task-hub", command, ready=lambda: listens(self._hub), environment=environment)

    async def _start_telemetry(self) -> None:
        if self.has_telemetry:
            self.telemetry = await start_telemetry(self.processes, self.ports, self._clock_environment)

    async def _start_host(self) -> None:
        directory = self.processes.directory
        keys, config = directory / "keys.json", directory / "kubeconfig"
        for path, content in ((keys, self._keys), (config, self._kubeconfig())):
            path.touch(mode=0o600)
            path.write_text(json.dumps(content))
        environment = {
            **APP_SETTINGS,
            "PYTHONPATH": str(ROOT),
            "AzureWebJobsStorage": self.tables_connection,
            "BERTH_TABLES_CONNECTION": self.tables_connection,
            "BERTH_TENANTS_SECRET_SEED": secrets.token_urlsafe(32),
            "BERTH_OPS_SIGN_IN": "key",
            "BERTH_OPS_KEY": secrets.token_urlsafe(32),
            "BERTH_SAMPLE_ENABLED": "true",
            "BERTH_KUBERNETES_KUBECONFIG": str(config),
            **self._clock_environment,
            **self._telemetry_settings(),
            **self._settings,
        }
        command = [sys.executable, "-m", "local.host", "--app", str(ROOT), "--port", str(self._port)]
        command += ["--task-hub", f"127.0.0.1:{self._hub}", "--keys", str(keys)]
        command += ["--workers", str(self.workers), "--redelivery", str(self.redelivery)]
        await self.processes.start("host", command, ready=self.host_ready, environment=environment)

    def _telemetry_settings(self) -> Mapping[str, str]:
        if not self.has_telemetry:
            return {}
        # Where the exporter keeps what it could not send, so that nothing of a stack stays behind.
        temporary = self.processes.directory / "tmp"
        temporary.mkdir()
        return {"TMPDIR": str(temporary), **self.telemetry.settings}

    def _kubeconfig(self) -> dict[str, Any]:
        """Return a kubeconfig with a context for each control plane, of berth's own user."""
        merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
        for plane in self.control_planes.values():
            one = plane.context(BERTH)
            for part in ("clusters", "users", "contexts"):
                merged[part] += one[part]
        return merged

    async def _register(self, plane: ControlPlane) -> None:
        url, deadline = f"{self.api_url}/api/clusters/{plane.name}", time.monotonic() + REGISTER_SECONDS
        headers = {"x-functions-key": self.master_key}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            # An API server that has just started is slow, and does not know its roles yet: the probe may find nothing.
            while (response := await http.put(url, json=self.registration(plane.name), headers=headers)).is_error:
                if time.monotonic() > deadline:
                    raise StackError(f"the cluster {plane.name} could not be registered: {response.text}")
                await asyncio.sleep(1)

    async def _watch(self) -> None:
        """Restart the host, the task hub or the telemetry when it has ended; what the latter two held is gone.

        When any other part ends, the stack has failed.
        """
        restarts = 0
        while not self.failed.done():
            await asyncio.sleep(WATCH_SECONDS)
            dead = self.processes.dead()
            if not dead:
                restarts = 0
            elif set(dead) <= set(RESTARTED) and restarts < MAX_RESTARTS:
                restarts += 1
                with contextlib.suppress(StackError):  # it ended again while it started
                    await self.processes.restart(min(dead, key=RESTARTED.index))
            else:
                self.failed.set_result(self.processes.failure(dead[0]))

    async def _close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await self.processes.close()
        self.ports.release()
