"""Tenants' routes: what a gateway says of one, and what a gateway needs so that it can take them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.domain.pod_status import PodStatus

KIND = "HTTPRoute"
ROUTE_NAME = "product"  # of the one route in an instance's namespace
WAITING_ROOM = "waiting-room"  # the namespace of the waiting room, and the name of its route
_NEEDED = ("Accepted", "ResolvedRefs")

type Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """What the gateway has made of a route.

    `reason` is the reason that Kubernetes gives, or empty; `refused` says that the gateway cannot serve the route as it
    is, which waiting rarely heals.
    """

    serving: bool
    reason: str = ""
    message: str = ""
    refused: bool = False


def route_status(route: Json) -> RouteStatus:
    """Return what its gateway says of a route with one parent, as the API server gives it.

    What was said of an earlier generation, or by another parent, does not count.
    """
    [wanted] = route["spec"]["parentRefs"]
    return _status_at(route, wanted)


def _status_at(route: Json, wanted: Json) -> RouteStatus:
    """Return what is said of a route by the parent of one of its references."""
    metadata = route["metadata"]
    for parent in route.get("status", {}).get("parents") or ():
        if not _is_same(parent.get("parentRef", {}), wanted, metadata["namespace"]):
            continue
        said = {
            each["type"]: each
            for each in parent.get("conditions") or ()
            if each.get("observedGeneration", 0) >= metadata["generation"]
        }
        for kind in _NEEDED:
            if said.get(kind, {}).get("status") == "False":
                reason, message = str(said[kind].get("reason", "")), str(said[kind].get("message", ""))
                text = f"the gateway cannot serve the tenant's route: {reason}" + (f": {message}" if message else "")
                return RouteStatus(False, reason, text[:300], refused=True)
        if all(said.get(kind, {}).get("status") == "True" for kind in _NEEDED):
            return RouteStatus(True)
    return RouteStatus(False, message="the gateway has not taken the tenant's route yet")


def with_route(status: PodStatus, route: RouteStatus) -> PodStatus:
    """Return the status of a tenant whose pods are ready, and whose route has a status."""
    if route.serving:
        return status
    return replace(status, ready=False, reason=route.reason, message=route.message, doubtful=route.refused)


def waiting_room_problem(route: Json, *, namespace: str, name: str, domain: str) -> str:
    """Return what keeps tenants that have no route from the waiting room, or nothing.

    Args:
        route: The waiting room's route, as the API server gives it.
        namespace: That of the cluster's gateway.
        name: That of the cluster's gateway.
        domain: Under which tenants have their addresses.
    """
    spec = route["spec"]
    if f"*.{domain}" not in (spec.get("hostnames") or ()):
        return f"is not for *.{domain}"
    own: str = route["metadata"]["namespace"]
    parents = [
        each for each in spec.get("parentRefs") or () if (each.get("namespace", own), each["name"]) == (namespace, name)
    ]
    if not parents:
        return f"does not name the gateway {namespace}/{name}"
    found = [_status_at(route, each) for each in parents]
    if any(each.serving for each in found):
        return ""
    refused = next((each.reason for each in found if each.refused), "")
    return f"is refused by the gateway: {refused}" if refused else "is not served by the gateway yet"


def gateway_problems(gateway: Json, *, listener: str, domain: str, labels: Mapping[str, str]) -> Sequence[str]:
    """Return what a gateway lacks to serve tenants' routes, as sentences; nothing means that it can.

    Args:
        gateway: The Gateway, as the API server gives it.
        listener: The name of the one listener that routes join, or empty for any.
        domain: Under which tenants have their addresses.
        labels: The labels of a tenant's namespace.
    """
    name = f"the gateway {gateway['metadata']['namespace']}/{gateway['metadata']['name']}"
    problems: list[str] = []
    conditions = {each["type"]: each for each in gateway.get("status", {}).get("conditions") or ()}
    programmed = conditions.get("Programmed", {})
    if programmed.get("status") != "True":
        why = programmed.get("message") or programmed.get("reason") or "no controller has taken it"
        problems.append(f"{name} is not programmed: {why}")
    listeners: list[Json] = [each for each in gateway["spec"]["listeners"] if listener in ("", each["name"])]
    if not listeners:
        return [*problems, f"{name} has no listener {listener}"]
    lacking = [list(_listener_problems(each, gateway["metadata"]["namespace"], domain, labels)) for each in listeners]
    if all(lacking):
        problems += [
            f"{name}: the listener {each['name']} {what}"
            for each, lacks in zip(listeners, lacking, strict=True)
            for what in lacks
        ]
    return problems


def _listener_problems(listener: Json, namespace: str, domain: str, labels: Mapping[str, str]) -> Iterator[str]:
    if listener["protocol"] != "HTTPS":
        yield f"has the protocol {listener['protocol']}, not HTTPS"
    hostname: str = listener.get("hostname", "")
    # A wildcard stands for all hosts that end with it, so that of a parent domain will do.
    if hostname and not (hostname.startswith("*.") and f".{domain}".endswith(hostname[1:])):
        yield f"has the hostname {hostname}, which does not cover *.{domain}"
    allowed: Json = listener.get("allowedRoutes", {})
    kinds = allowed.get("kinds") or [{"kind": KIND}]
    if KIND not in {each["kind"] for each in kinds}:
        yield f"allows no {KIND}"
    namespaces: Json = allowed.get("namespaces", {})
    match namespaces.get("from", "Same"):
        case "All":
            pass
        case "Selector":
            if not _selects(namespaces.get("selector", {}), labels):
                yield "allows routes from namespaces by a selector that tenants' namespaces do not match"
        case where:
            yield f"allows routes from namespaces: {where}, not those of tenants"


def _is_same(given: Json, wanted: Json, namespace: str) -> bool:
    """Whether two references of a route are to the same parent; a namespace that is left out is the route's own."""

    def key(reference: Json) -> tuple[str, ...]:
        found = reference.get("namespace", namespace), reference.get("name", ""), reference.get("sectionName", "")
        return tuple(map(str, found))

    return key(given) == key(wanted)


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes something with these labels; an empty one takes everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions") or ():
        value, values = labels.get(each["key"]), each.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[each["operator"]]:
            return False
    return True
