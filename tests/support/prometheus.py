"""A real Prometheus as a process."""

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from local.ports import Ports
from local.processes import Processes
from local.table_server import responds

JOB = "tenants-gateway"  # the default queries know gateways by it


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A Prometheus on loopback."""

    url: str
    name: str
    processes: Processes

    async def stop(self) -> None:
        """End it; what it has stored stays."""
        await self.processes.stop(self.name)

    async def start_again(self) -> None:
        """Start it again over what it has stored."""
        await self.processes.restart(self.name)


@asynccontextmanager
async def prometheus(
    processes: Processes, ports: Ports, gateways: Mapping[str, str], *, scrape: str = "500ms"
) -> AsyncGenerator[PrometheusServer]:
    """Run a Prometheus that scrapes the metrics of gateways, by address, each with the name of its cluster."""
    targets = [
        {"targets": [urlsplit(url).netloc], "labels": {"cluster": cluster} if cluster else {}}
        for url, cluster in gateways.items()
    ]
    job = {"job_name": JOB, "honor_labels": True, "static_configs": targets}
    intervals = {"scrape_interval": scrape, "scrape_timeout": scrape}
    async with run_prometheus(processes, ports, {"global": intervals, "scrape_configs": [job]}) as server:
        yield server


@asynccontextmanager
async def run_prometheus(
    processes: Processes, ports: Ports, config: Mapping[str, Any]
) -> AsyncGenerator[PrometheusServer]:
    """Run a Prometheus with a configuration."""
    port = ports.take()
    name = f"prometheus-{port}"
    path = processes.directory / f"{name}.yaml"
    path.write_text(json.dumps(config))
    command = [
        *(os.environ["BERTH_PROMETHEUS"], f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}"),
        *(f"--storage.tsdb.path={processes.directory / name}", "--log.level=warn"),
        "--scrape.discovery-reload-interval=100ms",  # else its first scrape is after 5 s
    ]
    url = f"http://127.0.0.1:{port}"
    await processes.start(name, command, ready=lambda: responds(f"{url}/-/ready", status=200))
    server = PrometheusServer(url, name, processes)
    try:
        yield server
    finally:
        await server.stop()
