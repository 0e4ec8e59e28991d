"""What passes by itself on a new cluster is waited for, and nothing else."""

from pathlib import Path

import pytest

from cli.deploy.commands import CommandError
from cli.deploy.kubernetes import Kubectl
from cli.deploy.objects import GATEWAYS
from cli.deploy.waiting import Waiting


class FailingKubectl:
    """kubectl, which fails a few times before it finds nothing."""

    def __init__(self, error: str) -> None:
        self._error = error
        self.left = 2

    async def run(self, *command: str, stdin: str = "") -> str:
        if self.left:
            self.left -= 1
            raise CommandError(f"kubectl: {self._error}")
        return ""


async def got(commands: FailingKubectl) -> list[str]:
    lines: list[str] = []
    kubectl = Kubectl(commands, Path("kubeconfig"), Waiting(5, pause=0, say=lines.append))
    assert await kubectl.get(GATEWAYS) is None
    return lines


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ('Error from server (Forbidden): gateways is forbidden: User "x" cannot list', "your role on the cluster"),
        ("error: You must be logged in to the server (Unauthorized)", "your role on the cluster"),
        ("dial tcp: lookup berth-x.hcp.westeurope.azmk8s.io: no such host", "the API server is not reached yet"),
        ("dial tcp 203.0.113.7:443: i/o timeout", "the API server is not reached yet"),
        ("The connection to the server x was refused - connect: connection refused", "the API server is not reached"),
        ("net/http: TLS handshake timeout", "the API server is not reached yet"),
        ('failed calling webhook "x.gateway.networking.k8s.io": no endpoints', "a webhook of the cluster"),
    ],
)
async def test_what_passes_by_itself_is_waited_for(error: str, says: str) -> None:
    commands = FailingKubectl(error)
    [line] = await got(commands)
    assert line.startswith(f"waiting, up to 5 s: {says}")
    assert line.endswith(error)
    assert commands.left == 0


async def test_a_refusal_that_stays_is_not_waited_for() -> None:
    commands = FailingKubectl('Apply failed with 1 conflict: conflict with "somebody"')
    with pytest.raises(CommandError, match="conflict"):
        await got(commands)
    assert commands.left == 1
