"""etcd, API server, controller manager, scheduler, KWOK and the simulated gateway as processes on loopback.

The programs of Kubernetes are the real ones. Only the nodes and the gateway are simulated: no image is pulled, no probe
is run, no data is stored and no network policy takes effect.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.gateway.process import GatewayProcess, new_gateway, start_gateway
from local.kubernetes.certificates import Authority, KeyPair
from local.kubernetes.objects import PRIORITIES, ROLE, filled_in
from local.ports import Ports
from local.processes import Processes, StackError
from local.programs import run_program
from local.table_server import responds

HERE = Path(__file__).parent
ADMIN = "berth-admin"
BERTH = "berth"  # the user to whom its role is bound, and whom the admission policy confines
OWNER = "stack"  # to the namespaces with this owner
DOMAIN = "berth.localhost"  # each cluster has its tenants under its own name in this domain
NODES = 3
# Go collects garbage half as often as by default: a fifth less CPU time for a quarter more memory.
COLLECT_LESS = {"GOGC": "200"}
PODS_PER_NODE = 2000  # simulated nodes cost nothing; with the real default of 110, 1,000 tenants would need 10 of them


@dataclass(frozen=True)
class Options:
    """How a control plane behaves.

    Attributes:
        ready_seconds: How long a pod takes to become ready.
        slow_seconds: The same for images whose tag begins with `slow`.
        stock: Keep Kubernetes' default rate limits, 20 requests a second for the controllers; else there are none.
    """

    ready_seconds: float = 1.0
    slow_seconds: float = 20.0
    stock: bool = False


@dataclass
class ControlPlane:
    """A running control plane."""

    name: str
    directory: Path
    port: int
    authority: Authority
    processes: Processes
    gateway: GatewayProcess

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON line for each request."""
        return self.directory / "audit.log"

    @property
    def kubectl(self) -> list[str]:
        """The kubectl command, as the cluster's administrator."""
        return [binary("kubectl"), "--kubeconfig", str(self.directory / "admin.kubeconfig")]

    async def crash(self) -> None:
        """Kill the API server and etcd together and start them again on the same data."""
        await self.processes.crash([f"{self.name}-etcd", f"{self.name}-apiserver"])

    def context(self, user: str, group: str = "", *, server: str = "") -> dict[str, Any]:
        """Return a kubeconfig with one context, named like the control plane, for that user.

        Args:
            user: The user's name; `system:masters` as the group makes an administrator.
            group: The user's group.
            server: Another address than the API server's own, such as a proxy's.
        """
        pair = self.authority.client(user, group)
        # Paths, not the contents: clients would write these to temporary files, and leave them behind when killed.
        return kubeconfig(self.name, server or self.server, self.authority.certificate, pair)


def binary(name: str) -> str:
    """Return the path of one of the Kubernetes programs."""
    return str(Path(os.environ["BERTH_KUBE_BINARIES"]) / name)


def kubeconfig(name: str, server: str, authority: Path, pair: KeyPair) -> dict[str, Any]:
    """Return a kubeconfig with one context."""
    user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


async def start_control_plane(processes: Processes, ports: Ports, name: str, options: Options) -> ControlPlane:
    """Start a control plane with three nodes and a storage class; raises StackError."""
    directory = processes.directory / name
    authority = Authority(directory / "pki")
    gateway = new_gateway(ports, authority, f"{name}.{DOMAIN}")
    plane = ControlPlane(name, directory, ports.take(), authority, processes, gateway)
    admin = directory / "admin.kubeconfig"
    admin.write_text(json.dumps(plane.context(ADMIN, "system:masters")))
    etcd = f"http://127.0.0.1:{ports.take()}"
    key = str(authority.service_account_key())

    async def run(part: str, command: Sequence[str], ready: Callable[[], Awaitable[bool]]) -> None:
        full = [binary(command[0]), *command[1:]]
        await processes.start(f"{name}-{part}", full, ready=ready, environment=COLLECT_LESS, seconds=60)

    def responding(url: str) -> Callable[[], Awaitable[bool]]:
        return lambda: responds(url, status=200)

    await run("etcd", _etcd(directory, etcd, f"http://127.0.0.1:{ports.take()}"), responding(f"{etcd}/health"))
    await run("apiserver", _api_server(plane, etcd, key, options), responding(f"{plane.server}/readyz"))
    manager, scheduler, kwok = ports.take(), ports.take(), ports.take()
    await asyncio.gather(
        run(
            "controllers",
            _controllers(plane, key, manager, options),
            responding(f"https://127.0.0.1:{manager}/healthz"),
        ),
        run("scheduler", _scheduler(plane, scheduler, options), responding(f"https://127.0.0.1:{scheduler}/healthz")),
        run("kwok", _kwok(plane, kwok, options), responding(f"http://127.0.0.1:{kwok}/healthz")),
        _create_basics(plane),
        _serve_gateway_api(plane),
        start_gateway(processes, gateway, authority, plane=name, kubeconfig=admin),
    )
    return plane


async def kubectl(plane: ControlPlane, *arguments: str, stdin: str = "") -> str:
    """Run kubectl as the administrator and return its output; raises StackError with its error output."""
    ended = await run_program(*plane.kubectl, *arguments, stdin=stdin)
    if ended.code:
        raise StackError(f"kubectl {' '.join(arguments)}: {ended.errors}")
    return ended.output


async def _create_basics(plane: ControlPlane) -> None:
    """Create the nodes, the storage class, and what an operator applies: berth's rights and limits, the priorities."""
    capacity = {"cpu": "2000", "memory": "4000Gi", "ephemeral-storage": "4000Gi", "pods": str(PODS_PER_NODE)}
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}", "labels": {"kubernetes.io/hostname": f"node-{number}"}},
            "status": {"allocatable": capacity, "capacity": capacity},
        }
        for number in range(NODES)
    ]
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
    await kubectl(plane, "apply", "--server-side", "-f", "-", stdin=objects)
    files = ["-f", str(HERE / "storage-class.yaml"), "-f", str(ROLE), "-f", str(PRIORITIES), "-f", "-"]
    values = {"OBJECT-ID": BERTH, "OWNER": OWNER}
    names = ("admission-policy.yaml", "cluster-role-binding.yaml", "flow-control.yaml")
    text = "---\n".join(filled_in(name, values) for name in names)
    await kubectl(plane, "apply", "--server-side", *files, stdin=text)
    await kubectl(plane, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")


async def _serve_gateway_api(plane: ControlPlane) -> None:
    """Have the API server serve the kinds of the Gateway API, as AKS does, and create the gateway of the tenants."""
    await kubectl(plane, "create", "-f", os.environ["BERTH_GATEWAY_API"])
    await kubectl(plane, "wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=30s")
    await kubectl(plane, "create", "-f", "-", stdin=json.dumps(plane.gateway.manifests()))


def _etcd(directory: Path, client: str, peer: str) -> list[str]:
    return [
        *("etcd", "--data-dir", str(directory / "etcd"), "--name", "default", "--log-level", "warn"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
        # The data does not have to survive a power failure.
        *("--unsafe-no-fsync", "--quota-backend-bytes", str(4 << 30)),
    ]


def _api_server(plane: ControlPlane, etcd: str, service_account_key: str, options: Options) -> list[str]:
    pair = plane.authority.server()
    unlimited = [
        *("--max-requests-inflight", "0", "--max-mutating-requests-inflight", "0"),
        "--enable-priority-and-fairness=false",
    ]
    return [
        *("kube-apiserver", "--etcd-servers", etcd),
        *("--bind-address", "127.0.0.1", "--secure-port", str(plane.port), "--endpoint-reconciler-type", "none"),
        *("--tls-cert-file", str(pair.certificate), "--tls-private-key-file", str(pair.key)),
        *("--client-ca-file", str(plane.authority.certificate), "--authorization-mode", "Node,RBAC"),
        *("--service-account-issuer", "https://kubernetes.default.svc"),
        *("--service-account-key-file", service_account_key, "--service-account-signing-key-file", service_account_key),
        *("--service-cluster-ip-range", "10.96.0.0/16", "--allow-privileged"),
        *("--audit-policy-file", str(HERE / "audit-policy.yaml"), "--audit-log-path", str(plane.audit_log)),
        *([] if options.stock else unlimited),
    ]


def _controllers(plane: ControlPlane, service_account_key: str, port: int, options: Options) -> list[str]:
    admin = str(plane.directory / "admin.kubeconfig")
    return [
        *("kube-controller-manager", "--kubeconfig", admin, "--leader-elect=false", "--bind-address", "127.0.0.1"),
        *("--secure-port", str(port), "--authorization-always-allow-paths", "/healthz,/readyz,/livez,/metrics"),
        *("--service-account-private-key-file", service_account_key),
        *("--root-ca-file", str(plane.authority.certificate)),
        *([] if options.stock else ["--kube-api-qps", "5000", "--kube-api-burst", "10000"]),
    ]


def _scheduler(plane: ControlPlane, port: int, options: Options) -> list[str]:
    admin = str(plane.directory / "admin.kubeconfig")
    return [
        *("kube-scheduler", "--kubeconfig", admin, "--leader-elect=false", "--bind-address", "127.0.0.1"),
        *("--secure-port", str(port), "--authorization-always-allow-paths", "/healthz,/readyz,/livez,/metrics"),
        *([] if options.stock else ["--kube-api-qps", "5000", "--kube-api-burst", "10000"]),
    ]


def _kwok(plane: ControlPlane, port: int, options: Options) -> list[str]:
    config = (HERE / "kwok.yaml.in").read_text(encoding="utf-8")
    config = config.replace("READY_MS", str(round(options.ready_seconds * 1000)))
    config = config.replace("SLOW_MS", str(round(options.slow_seconds * 1000)))
    path = plane.directory / "kwok.yaml"
    path.write_text(config, encoding="utf-8")
    return [
        *("kwok", "--kubeconfig", str(plane.directory / "admin.kubeconfig"), "--config", str(path)),
        *("--manage-all-nodes=true", "--node-lease-duration-seconds", "40", "--cidr", "10.244.0.0/16"),
        *("--node-ip", "10.0.0.1", "--server-address", f"127.0.0.1:{port}"),
    ]
