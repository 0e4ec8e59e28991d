"""The gateway as a process of a local cluster, and the objects that register it there."""

import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.gateway.controller import CONTROLLER
from local.kubernetes.certificates import Authority
from local.ports import Ports
from local.processes import Processes
from local.table_server import responds

CLASS, NAMESPACE, NAME, LISTENER = "simulated", "gateway", "tenants", "https"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A gateway that serves on loopback.

    Attributes:
        domain: Under which its hosts are.
        authority: The certificate that its clients trust.
    """

    domain: str
    https_port: int
    http_port: int
    metrics_port: int
    authority: Path

    @property
    def metrics_url(self) -> str:
        """Where its counters are."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    async def fetch(self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Request an address of one of its hosts, which no name server has to know."""
        target = httpx.URL(url)
        tls = ssl.create_default_context(cafile=str(self.authority))
        async with httpx.AsyncClient(trust_env=False, verify=tls, timeout=10) as http:
            return await http.request(
                method,
                target.copy_with(host="127.0.0.1", port=self.https_port),
                headers={**(headers or {}), "Host": target.host},
                extensions={"sni_hostname": target.host},
            )

    def curl(self, url: str) -> str:
        """Return the command by which a person does the same."""
        return f"curl --cacert {self.authority} --connect-to ::127.0.0.1:{self.https_port} {url}"

    def manifests(self) -> dict[str, Any]:
        """Return its class and its gateway, whose routes come from the namespaces of berth."""
        allowed = {"from": "Selector", "selector": {"matchLabels": {"app.kubernetes.io/managed-by": "berth"}}}
        listener = {
            "name": LISTENER,
            "protocol": "HTTPS",
            "port": self.https_port,
            "hostname": f"*.{self.domain}",
            "tls": {"options": {"local.berth.dev/certificate": "wildcard"}},
            "allowedRoutes": {"namespaces": allowed},
        }
        api = "gateway.networking.k8s.io/v1"
        items = [
            {
                "apiVersion": api,
                "kind": "GatewayClass",
                "metadata": {"name": CLASS},
                "spec": {"controllerName": CONTROLLER},
            },
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": api,
                "kind": "Gateway",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": {"gatewayClassName": CLASS, "listeners": [listener]},
            },
        ]
        return {"apiVersion": "v1", "kind": "List", "items": items}


def new_gateway(ports: Ports, authority: Authority, domain: str) -> GatewayProcess:
    """Return a gateway for the hosts under a domain, which is not started yet."""
    return GatewayProcess(domain, ports.take(), ports.take(), ports.take(), authority.certificate)


async def start_gateway(
    processes: Processes, gateway: GatewayProcess, authority: Authority, *, plane: str, kubeconfig: Path
) -> None:
    """Start a gateway and wait until its Gateway is programmed; raises StackError."""
    pair = authority.wildcard(gateway.domain)
    command = [
        *(sys.executable, "-m", "local.gateway", "--kubeconfig", str(kubeconfig)),
        *("--certificate", str(pair.certificate), "--key", str(pair.key)),
        *("--https-port", str(gateway.https_port), "--http-port", str(gateway.http_port)),
        *("--metrics-port", str(gateway.metrics_port), "--name", NAME, "--namespace", NAMESPACE),
    ]

    async def ready() -> bool:
        return await responds(f"http://127.0.0.1:{gateway.metrics_port}/readyz", status=200)

    environment = {"PYTHONPATH": str(ROOT)}
    await processes.start(f"{plane}-gateway", command, ready=ready, environment=environment, seconds=60)
