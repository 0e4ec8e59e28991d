"""Whether a route may join a gateway and whether its backends are there, with the Gateway API's own reasons. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local.gateway.precedence import intersection
from local.gateway.resources import GROUP, Gateway, Json, Key, Listener, ParentRef, Route

HTTPS = "HTTPS"  # the only protocol that this gateway serves


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a status, without its time."""

    type: str
    holds: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What became of a route's request to join a gateway: the listeners and hostnames it serves under, if any."""

    accepted: Condition
    listeners: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()


def attach(route: Route, parent: ParentRef, gateway: Gateway, namespace_labels: Mapping[str, str]) -> Attachment:
    """Decide whether a route joins a gateway.

    Args:
        route: The route.
        parent: Its reference to this gateway.
        gateway: The gateway.
        namespace_labels: The labels of the route's namespace.
    """
    named = [
        each
        for each in gateway.listeners
        if parent.section in ("", each.name) and parent.port in (0, each.port) and each.protocol == HTTPS
    ]
    if not named:
        return _refused("NoMatchingParent", "the gateway has no such HTTPS listener")
    allowing = [each for each in named if _allows(each, route, gateway, namespace_labels)]
    if not allowing:
        return _refused("NotAllowedByListeners", f"no listener allows routes from the namespace {route.key[0]}")
    joined = {each.name: _common_hostnames(each, route) for each in allowing}
    hostnames = sorted({name for names in joined.values() for name in names})
    if not hostnames:
        return _refused("NoMatchingListenerHostname", "no listener has a hostname of the route")
    if route.unsupported:
        return _refused("UnsupportedValue", f"the simulated gateway cannot do: {route.unsupported}")
    return Attachment(
        Condition("Accepted", True, "Accepted"), tuple(name for name in joined if joined[name]), tuple(hostnames)
    )


def resolved_refs(route: Route, ports_of: Callable[[Key], Sequence[int] | None]) -> Condition:
    """Say whether all backends of a route are there.

    Args:
        route: The route.
        ports_of: Returns the ports of a Service, or None if there is no such Service.
    """
    for backend in (rule.backend for rule in route.rules):
        if backend is None:
            continue
        name = "/".join(backend.key)
        ports = ports_of(backend.key)
        if backend.kind != "Service":
            return _unresolved("InvalidKind", f"the backend {name} is a {backend.kind}, not a Service")
        if backend.key[0] != route.key[0]:  # no ReferenceGrant allows it: the local cluster has no such kind
            return _unresolved("RefNotPermitted", f"the backend {name} is in another namespace")
        if ports is None:
            return _unresolved("BackendNotFound", f"there is no Service {name}")
        if backend.port not in ports:
            return _unresolved("BackendNotFound", f"the Service {name} has no port {backend.port}")
    return Condition("ResolvedRefs", True, "ResolvedRefs")


def _allows(listener: Listener, route: Route, gateway: Gateway, labels: Mapping[str, str]) -> bool:
    if listener.kinds is not None and (GROUP, "HTTPRoute") not in listener.kinds:
        return False
    match listener.allowed_from:
        case "All":
            return True
        case "Selector":
            return listener.selector is not None and selects(listener.selector, labels)
        case _:
            return route.key[0] == gateway.key[0]


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a Kubernetes label selector takes something with these labels; an empty one takes everything."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", ()):
        key, values = each["key"], each.get("values", ())
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds[each["operator"]]:
            return False
    return True


def _common_hostnames(listener: Listener, route: Route) -> set[str]:
    common = (intersection(listener.hostname, each) for each in route.hostnames or ("",))
    return {each for each in common if each is not None}


def _refused(reason: str, message: str) -> Attachment:
    return Attachment(Condition("Accepted", False, reason, message))


def _unresolved(reason: str, message: str) -> Condition:
    return Condition("ResolvedRefs", False, reason, message)


def with_times(conditions: Sequence[Condition], generation: int, before: Sequence[Json], now: str) -> list[Json]:
    """Return conditions as JSON; one that says the same as before keeps the time since when it does."""
    since = {(each["type"], each["status"]): each["lastTransitionTime"] for each in before}
    found: list[Json] = []
    for each in conditions:
        status = "True" if each.holds else "False"
        found.append(
            {
                "type": each.type,
                "status": status,
                "reason": each.reason,
                "message": each.message,
                "observedGeneration": generation,
                "lastTransitionTime": since.get((each.type, status), now),
            }
        )
    return found
