"""What an operator's kubectl does on one cluster: server-side apply, and looking whether something is there."""

import base64
import json
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cli.deploy.azure import Azure
from cli.deploy.commands import CommandError, Commands
from cli.deploy.deployment import DeployedCluster
from cli.deploy.waiting import NotYetError, Waiting

# What passes by itself in the first minutes of a cluster, by how kubectl says it.
_PASSING: Mapping[str, Sequence[str]] = {
    "your role on the cluster is missing, or takes some minutes yet": ("(Forbidden)", "(Unauthorized)"),
    "the API server is not reached yet": (
        "no such host",
        "i/o timeout",
        "connection refused",
        "TLS handshake timeout",
    ),
    "a webhook of the cluster does not respond yet": ("failed calling webhook",),
}


class Kubectl:
    """kubectl with a kubeconfig file of one context."""

    def __init__(self, commands: Commands, kubeconfig: Path, waiting: Waiting) -> None:
        self._commands = commands
        self._kubeconfig = kubeconfig
        self._waiting = waiting

    async def apply(self, text: str) -> None:
        """Apply objects as `kubectl apply --server-side` by hand does; what others have set stays, and is an error."""
        await self._run("apply", "--server-side", "-f", "-", stdin=text)

    async def apply_directory(self, directory: Path) -> None:
        """Apply a directory with a kustomization in the same way."""
        await self._run("apply", "--server-side", "-k", str(directory))

    async def get(self, *what: str) -> Mapping[str, Any] | None:
        """Return an object, or None if there is none."""
        found = await self._run("get", *what, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else None

    async def authority(self) -> str:
        """Return the certificate authority of the API server, in PEM form."""
        config = json.loads(await self._run("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        return base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode().strip()

    async def _run(self, *arguments: str, stdin: str = "") -> str:
        async def attempt() -> str:
            try:
                return await self._commands.run(
                    "kubectl", "--kubeconfig", str(self._kubeconfig), *arguments, stdin=stdin
                )
            except CommandError as error:
                for passing, said in _PASSING.items():
                    if any(each in str(error) for each in said):
                        raise NotYetError(f"{passing}: {error}") from error
                raise

        return await self._waiting.until(attempt)


@asynccontextmanager
async def connected(
    azure: Azure, commands: Commands, cluster: DeployedCluster, waiting: Waiting
) -> AsyncGenerator[Kubectl]:
    """Connect to a cluster as whoever is signed in to the Azure CLI; nothing of that stays on the machine."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "kubeconfig"
        await azure.kubeconfig(cluster, path)
        yield Kubectl(commands, path, waiting)
