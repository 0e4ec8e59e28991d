"""What NetworkPolicies allow, as the API describes them: the embedded stack has no network that could enforce them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

type Json = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """The other end of a connection: a pod with labels in a namespace with labels, or an address that is of no pod."""

    address: str = ""
    pod: Mapping[str, str] = field(default_factory=dict[str, str])
    namespace: Mapping[str, str] = field(default_factory=dict[str, str])


def allows(
    policies: Sequence[Json], direction: str, peer: Peer, port: int, protocol: str = "TCP", *, home: Peer
) -> bool:
    """Whether a pod may have a connection.

    Args:
        policies: All NetworkPolicies in the pod's namespace.
        direction: `Ingress` or `Egress`, as seen by the pod.
        peer: The other end.
        port: The port that is connected to, on whichever side.
        protocol: `TCP`, `UDP` or `SCTP`.
        home: The pod itself.
    """
    specs = [each["spec"] for each in policies if direction in each["spec"]["policyTypes"]]
    specs = [spec for spec in specs if _selects(spec["podSelector"], home.pod)]
    if not specs:
        return True  # a pod that no policy selects is not isolated
    side = "from" if direction == "Ingress" else "to"
    rules = [rule for spec in specs for rule in spec.get(direction.lower(), ())]
    return any(_has_port(rule, port, protocol) and _has_peer(rule.get(side), peer, home) for rule in rules)


def _has_port(rule: Json, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        each.get("protocol", "TCP") == protocol and each["port"] <= port <= each.get("endPort", each["port"])
        for each in ports
    )


def _has_peer(allowed: Sequence[Json] | None, peer: Peer, home: Peer) -> bool:
    return not allowed or any(_is_peer(each, peer, home) for each in allowed)


def _is_peer(allowed: Json, peer: Peer, home: Peer) -> bool:
    if "ipBlock" in allowed:
        block = allowed["ipBlock"]
        return (
            bool(peer.address)
            and _within(peer.address, block["cidr"])
            and not any(_within(peer.address, each) for each in block.get("except", ()))
        )
    if peer.address:
        return False
    in_namespace = (
        _selects(allowed["namespaceSelector"], peer.namespace)
        if "namespaceSelector" in allowed
        else peer.namespace == home.namespace
    )
    return in_namespace and _selects(allowed.get("podSelector", {}), peer.pod)


def _within(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()) and all(
        _matches(each, labels) for each in selector.get("matchExpressions", ())
    )


def _matches(expression: Json, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None
