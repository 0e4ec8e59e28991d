"""What answers in place of a Service: a sample page, a server on this machine, or nobody."""

from collections.abc import Iterable
from dataclasses import dataclass

from local.gateway.resources import BackendRef, Json, Key

ADDRESS = "local.berth.dev/address"  # annotation of a Service: the HOST:PORT behind it, when no pod really runs


@dataclass(frozen=True, slots=True)
class SamplePage:
    """Simulated pods, of which at least one is ready: the gateway itself answers for them."""


@dataclass(frozen=True, slots=True)
class Server:
    """A real server, reached over HTTP at HOST:PORT."""

    address: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No pod is ready: 503, as the specification asks for."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """There is no such backend: 500, as the specification asks for."""


type Backend = SamplePage | Server | Unavailable | Invalid


def resolve(backend: BackendRef | None, service: Json | None, slices: Iterable[Json]) -> Backend:
    """Return what answers a request.

    Args:
        backend: The backend of the rule.
        service: Its Service, or None if there is none that the route may use.
        slices: The Service's EndpointSlices.
    """
    if backend is None or service is None:
        return Invalid()
    spec = service["spec"]
    if address := service["metadata"].get("annotations", {}).get(ADDRESS):
        return Server(address)
    if spec.get("type") == "ExternalName":
        return Server(f"{spec['externalName']}:{backend.port}")
    endpoints = (endpoint for each in slices for endpoint in each.get("endpoints") or ())
    is_ready = any(each.get("conditions", {}).get("ready", True) for each in endpoints)
    return SamplePage() if is_ready else Unavailable()


def service_of(endpoint_slice: Json) -> Key:
    """Return the Service that an EndpointSlice belongs to."""
    metadata = endpoint_slice["metadata"]
    return metadata["namespace"], metadata.get("labels", {}).get("kubernetes.io/service-name", "")
