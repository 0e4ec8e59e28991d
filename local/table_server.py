"""Azurite's table server, which stands in for Azure Table Storage."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from local.ports import Ports
from local.processes import Processes

# Azurite's only account; its key is public, in Azurite's README.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running table server."""

    port: int

    @property
    def endpoint(self) -> str:
        """The address of the account's tables."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection(self) -> str:
        """The connection string."""
        return connection_string(self.endpoint)


def connection_string(endpoint: str) -> str:
    """Return the connection string of Azurite's account at an address."""
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};TableEndpoint={endpoint};"


async def start_azurite(
    processes: Processes, ports: Ports, environment: Mapping[str, str] | None = None, *, in_memory: bool = False
) -> Azurite:
    """Start a table server with no data, whose log has one line for each request; raises StackError.

    With `in_memory` it saves nothing to the disk: of some 100,000 rows it cannot, because all of them are one string.
    """
    azurite = Azurite(ports.take())
    location = ("--inMemoryPersistence",) if in_memory else ("--location", str(processes.directory / "azurite"))
    command = [
        *(os.environ["BERTH_NODE"], os.environ["BERTH_AZURITE"]),
        *("--tableHost", "127.0.0.1", "--tablePort", str(azurite.port)),
        *(*location, "--skipApiVersionCheck", "--disableTelemetry"),
    ]

    async def ready() -> bool:
        return await responds(azurite.endpoint)

    await processes.start("azurite", command, ready=ready, environment=environment)
    return azurite


async def responds(url: str, *, headers: dict[str, str] | None = None, status: int | None = None) -> bool:
    """Whether an HTTP server responds, with that status if one is given."""
    try:
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:  # noqa: S501 - nothing is sent that needs trust
            response = await http.get(url, headers=headers, timeout=2)
    except httpx.HTTPError:
        return False
    return status is None or response.status_code == status
