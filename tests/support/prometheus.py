"""A real Prometheus as a process."""

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
    port = ports.take()
    name = f"prometheus-{port}"
    targets = [
        {"targets": [urlsplit(url).netloc], "labels": {"cluster": cluster} if cluster else {}}
        for url, cluster in gateways.items()
    ]
    job = {"job_name": JOB, "honor_labels": True, "static_configs": targets}
    config = processes.directory / f"{name}.yaml"
    intervals = {"scrape_interval": scrape, "scrape_timeout": scrape}
    config.write_text(json.dumps({"global": intervals, "scrape_configs": [job]}))
    command = [
        *(os.environ["BERTH_PROMETHEUS"], f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"),
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
