"""The stand-in as a part of a stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import executable
from typing import Any
from uuid import uuid4

import httpx

from local.ports import Ports, listens
from local.processes import Processes
from local.telemetry.endpoint import STATISTICS_KEY

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A running stand-in.

    Attributes:
        port: Where it listens.
        key: The instrumentation key that it accepts.
    """

    port: int
    key: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """The app settings with which host and app export to it."""
        where = f"IngestionEndpoint={self.url}/;LiveEndpoint={self.url}/"
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={self.key};{where}",
            "PYTHON_ENABLE_OPENTELEMETRY": "true",
            # In Azure the exporter sends statistics about itself to Microsoft unless it is told not to.
            "APPLICATIONINSIGHTS_STATS_CONNECTION_STRING": f"InstrumentationKey={STATISTICS_KEY};{where}",
            # Milliseconds; so that somebody who looks need not wait for long.
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_BLRP_SCHEDULE_DELAY": "500",
            "OTEL_METRIC_EXPORT_INTERVAL": "10000",
        }

    async def envelopes(self, **query: str | int) -> list[dict[str, Any]]:
        """Return the envelopes that it has, as the query of its page says: `type`, `trace`, `after`, `limit`."""
        async with httpx.AsyncClient(trust_env=False) as http:
            response = await http.get(f"{self.url}/envelopes", params=query)
        return response.raise_for_status().json()["items"]


async def start_telemetry(
    processes: Processes, ports: Ports, environment: Mapping[str, str] | None = None
) -> Telemetry:
    """Start a stand-in; raises StackError."""
    telemetry = Telemetry(ports.take(), str(uuid4()))
    command = [executable, "-m", "local.telemetry", "--port", str(telemetry.port), "--key", telemetry.key]
    environment = {"PYTHONPATH": str(_ROOT), **(environment or {})}
    await processes.start("telemetry", command, ready=lambda: listens(telemetry.port), environment=environment)
    return telemetry
