"""What the gateway serves, applied by hand: a namespace, a Service, a pod and a route."""

import json
from typing import Any

import httpx

from local.gateway.backends import ADDRESS
from local.gateway.process import NAME, NAMESPACE
from local.kubernetes.control_plane import ControlPlane, kubectl
from tests.support.polling import until

GATEWAY_API = "gateway.networking.k8s.io/v1"


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(where: str, *, address: str = "") -> dict[str, Any]:
    metadata = {"name": "product", "namespace": where, "annotations": {ADDRESS: address} if address else {}}
    spec = {"selector": {"app": "product"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def pod(where: str) -> dict[str, Any]:
    metadata = {"name": "product", "namespace": where, "labels": {"app": "product"}}
    spec = {"containers": [{"name": "product", "image": "product:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def route(where: str, host: str, backend: str = "product") -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": backend, "port": 80}]}]
    spec = {"hostnames": [host], "parentRefs": [{"namespace": NAMESPACE, "name": NAME}], "rules": rules}
    metadata = {"name": "product", "namespace": where}
    return {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": metadata, "spec": spec}


async def apply(plane: ControlPlane, *objects: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    await kubectl(plane, "apply", "-f", "-", stdin=json.dumps(listed))


async def responds(plane: ControlPlane, host: str, status: int) -> httpx.Response:
    """Return the response once it has a status."""
    found: list[httpx.Response] = []

    async def has_it() -> bool:
        found.append(await plane.gateway.fetch(f"https://{host}/"))
        return found[-1].status_code == status

    await until(has_it)
    return found[-1]
