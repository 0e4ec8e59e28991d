"""What the gateway reads of the Gateway API's objects: classes, gateways and routes, without their JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

GROUP = "gateway.networking.k8s.io"

type Json = Mapping[str, Any]
type Key = tuple[str, str]
"""A namespace and a name."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One entrance of a gateway.

    `hostname` is empty for any; `allowed_from` and `selector` say from which namespaces routes may join, and `kinds`
    which ones (None: all that the protocol can have).
    """

    name: str
    protocol: str
    port: int
    hostname: str
    allowed_from: str
    selector: Json | None
    kinds: tuple[Key, ...] | None


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway of any class."""

    key: Key
    class_name: str
    generation: int
    listeners: tuple[Listener, ...]


@dataclass(frozen=True, slots=True)
class ParentRef:
    """The gateway that a route wants to join; `section` and `port` name listeners, or are empty and 0 for all.

    `as_given` is its JSON, which the status repeats.
    """

    gateway: Key
    section: str
    port: int
    as_given: Json


@dataclass(frozen=True, slots=True)
class BackendRef:
    """Where a rule sends requests. `kind` is `Service`, or the group and kind of something else."""

    key: Key
    port: int
    kind: str


@dataclass(frozen=True, slots=True)
class PathMatch:
    """Which paths a rule takes: this one only, or all that begin with its elements."""

    exact: bool
    value: str

    def matches(self, path: str) -> bool:
        """Whether a request's path is one of them; `/a` is no prefix of `/ab`."""
        if self.exact:
            return path == self.value
        prefix = self.value.rstrip("/")
        return path == prefix or path.startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True)
class Rule:
    """The paths of one rule, and its backend, or None if it has none."""

    paths: tuple[PathMatch, ...]
    backend: BackendRef | None


@dataclass(frozen=True, slots=True)
class Route:
    """An HTTPRoute. `unsupported` names what it asks for and this gateway cannot do, or is empty."""

    key: Key
    created: str
    generation: int
    hostnames: tuple[str, ...]
    parents: tuple[ParentRef, ...]
    rules: tuple[Rule, ...]
    unsupported: str


def gateway_of(manifest: Json) -> Gateway:
    """Read a Gateway as the API server gives it, with its defaults filled in."""
    metadata, spec = manifest["metadata"], manifest["spec"]
    listeners = tuple(_listener(each) for each in spec["listeners"])
    return Gateway(
        (metadata["namespace"], metadata["name"]), spec["gatewayClassName"], metadata["generation"], listeners
    )


def route_of(manifest: Json) -> Route:
    """Read an HTTPRoute as the API server gives it, with its defaults filled in."""
    metadata, spec = manifest["metadata"], manifest["spec"]
    namespace = metadata["namespace"]
    rules: list[Json] = spec.get("rules", ())
    return Route(
        key=(namespace, metadata["name"]),
        created=metadata["creationTimestamp"],
        generation=metadata["generation"],
        hostnames=tuple(spec.get("hostnames", ())),
        parents=tuple(
            ParentRef(
                (each.get("namespace", namespace), each["name"]),
                each.get("sectionName", ""),
                each.get("port", 0),
                each,
            )
            for each in spec.get("parentRefs", ())
            if (each.get("group", GROUP), each.get("kind", "Gateway")) == (GROUP, "Gateway")
        ),
        rules=tuple(_rule(each, namespace) for each in rules),
        unsupported=", ".join(sorted({what for rule in rules for what in _unsupported(rule)})),
    )


def _listener(listener: Json) -> Listener:
    allowed = listener.get("allowedRoutes", {})
    namespaces = allowed.get("namespaces", {})
    kinds = allowed.get("kinds")
    return Listener(
        name=listener["name"],
        protocol=listener["protocol"],
        port=listener["port"],
        hostname=listener.get("hostname", ""),
        allowed_from=namespaces.get("from", "Same"),
        selector=namespaces.get("selector"),
        kinds=tuple((each.get("group", GROUP), each["kind"]) for each in kinds) if kinds else None,
    )


def _rule(rule: Json, namespace: str) -> Rule:
    paths = [each.get("path", {}) for each in rule.get("matches", ())] or [{}]
    backends: list[Json] = rule.get("backendRefs", ())
    return Rule(
        tuple(PathMatch(each.get("type") == "Exact", each.get("value", "/")) for each in paths),
        _backend(backends[0], namespace) if backends else None,
    )


def _backend(reference: Json, namespace: str) -> BackendRef:
    group, kind = reference.get("group", ""), reference.get("kind", "Service")
    key = reference.get("namespace", namespace), reference["name"]
    return BackendRef(key, reference.get("port", 0), f"{group}/{kind}" if group else kind)


def _unsupported(rule: Json) -> Iterator[str]:
    if rule.get("filters") or any(each.get("filters") for each in rule.get("backendRefs", ())):
        yield "filters"
    if len(rule.get("backendRefs", ())) > 1:
        yield "several backends"
    if rule.get("timeouts"):
        yield "timeouts"
    for match in rule.get("matches", ()):
        yield from sorted({"headers", "queryParams", "method"} & match.keys())
        if match.get("path", {}).get("type") == "RegularExpression":
            yield "regular expressions"
