"""What a gateway says of a route, and what it needs to take one."""

from typing import Any

import pytest

from shared.domain.routes import gateway_problems, route_status, waiting_room_problem

LABELS = {"app.kubernetes.io/managed-by": "berth", "berth.dev/instance": "x"}


def condition(kind: str, status: str = "True", generation: int = 2, **fields: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": kind, **fields}


def route(*conditions: dict[str, Any], **parent: str) -> dict[str, Any]:
    """Return a route of generation 2 to `gateway/tenants`, and what was said by one parent."""
    wanted = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "gateway", "name": "tenants"}
    status = {"parents": [{"parentRef": wanted | parent, "controllerName": "a/b", "conditions": list(conditions)}]}
    metadata = {"namespace": "tenant-x", "name": "product", "generation": 2}
    return {"metadata": metadata, "spec": {"parentRefs": [wanted]}, "status": status}


def test_a_route_is_served_when_accepted_and_resolved() -> None:
    assert route_status(route(condition("Accepted"), condition("ResolvedRefs"))).serving


@pytest.mark.parametrize(
    "waiting",
    [
        route(),
        route(condition("Accepted")),
        route(condition("ResolvedRefs")),
        route(condition("Accepted", generation=1), condition("ResolvedRefs", generation=1)),
        route(condition("Accepted", "Unknown"), condition("ResolvedRefs")),
        route(condition("Accepted"), condition("ResolvedRefs"), name="other"),
        route(condition("Accepted"), condition("ResolvedRefs"), namespace="tenant-x"),
        route(condition("Accepted"), condition("ResolvedRefs"), sectionName="http"),
        {**route(), "status": {}},
    ],
)
def test_a_route_waits_until_its_own_parent_has_said_both(waiting: dict[str, Any]) -> None:
    status = route_status(waiting)
    assert (status.serving, status.refused) == (False, False)
    assert status.message == "the gateway has not taken the tenant's route yet"


def test_a_refused_route_has_the_gateways_reason() -> None:
    refusal = condition("Accepted", "False", reason="NotAllowedByListeners", message="no listener allows it")
    status = route_status(route(refusal, condition("ResolvedRefs")))
    assert (status.serving, status.refused, status.reason) == (False, True, "NotAllowedByListeners")
    assert status.message == (
        "the gateway cannot serve the tenant's route: NotAllowedByListeners: no listener allows it"
    )
    missing = condition("ResolvedRefs", "False", reason="BackendNotFound")
    assert route_status(route(condition("Accepted"), missing)).message.endswith(": BackendNotFound")


def wildcard(*conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return the waiting room's route, and what its gateway said of it."""
    found = route(*conditions)
    return {**found, "spec": {"hostnames": ["*.example.com"], **found["spec"], **spec}}


SERVED = (condition("Accepted"), condition("ResolvedRefs"))


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (wildcard(*SERVED), ""),
        (wildcard(*SERVED, hostnames=["*.example.org", "*.example.com"]), ""),
        (wildcard(*SERVED, hostnames=["*.example.org"]), "is not for *.example.com"),
        (wildcard(*SERVED, hostnames=["acme.example.com"]), "is not for *.example.com"),
        (wildcard(*SERVED, hostnames=None), "is not for *.example.com"),
        (wildcard(*SERVED, parentRefs=[{"name": "tenants"}]), "does not name the gateway gateway/tenants"),
        (wildcard(*SERVED, parentRefs=None), "does not name the gateway gateway/tenants"),
        (wildcard(condition("Accepted")), "is not served by the gateway yet"),
        (wildcard(condition("Accepted", generation=1), condition("ResolvedRefs")), "is not served by the gateway yet"),
        (
            wildcard(condition("Accepted"), condition("ResolvedRefs", "False", reason="BackendNotFound")),
            "is refused by the gateway: BackendNotFound",
        ),
    ],
)
def test_what_keeps_tenants_from_the_waiting_room_is_named(found: dict[str, Any], problem: str) -> None:
    assert waiting_room_problem(found, namespace="gateway", name="tenants", domain="example.com") == problem


def gateway(*listeners: dict[str, Any], programmed: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "gateway", "name": "tenants"},
        "spec": {"listeners": list(listeners)},
        "status": {"conditions": [{"type": "Programmed", "status": programmed, "reason": "AddressNotAssigned"}]},
    }


def listener(name: str = "https", **fields: Any) -> dict[str, Any]:
    allowed = {"namespaces": {"from": "All"}}
    usual = {"name": name, "protocol": "HTTPS", "hostname": "*.example.com", "allowedRoutes": allowed}
    return usual | fields


def selecting(**selector: Any) -> dict[str, Any]:
    return {"namespaces": {"from": "Selector", "selector": selector}}


def problems(found: dict[str, Any], name: str = "") -> str:
    return "; ".join(gateway_problems(found, listener=name, domain="example.com", labels=LABELS))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"hostname": ""},
        {"hostname": "*.com"},
        {"allowedRoutes": selecting(matchLabels={"app.kubernetes.io/managed-by": "berth"})},
        {"allowedRoutes": selecting(matchExpressions=[{"key": "berth.dev/instance", "operator": "Exists"}])},
        {"allowedRoutes": {"kinds": [{"kind": "HTTPRoute"}], "namespaces": {"from": "All"}}},
    ],
)
def test_a_gateway_that_fits_has_no_problems(fields: dict[str, Any]) -> None:
    assert problems(gateway(listener("http", protocol="HTTP"), listener(**fields))) == ""


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"protocol": "HTTP"}, "the listener https has the protocol HTTP, not HTTPS"),
        ({"hostname": "example.com"}, "has the hostname example.com, which does not cover *.example.com"),
        ({"hostname": "*.a.example.com"}, "does not cover *.example.com"),
        ({"hostname": "*.ample.com"}, "does not cover *.example.com"),
        ({"allowedRoutes": {}}, "allows routes from namespaces: Same, not those of tenants"),
        ({"allowedRoutes": selecting(matchLabels={"team": "a"})}, "a selector that tenants' namespaces do not match"),
        (
            {"allowedRoutes": selecting(matchExpressions=[{"key": "berth.dev/instance", "operator": "DoesNotExist"}])},
            "a selector that tenants' namespaces do not match",
        ),
        ({"allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}], "namespaces": {"from": "All"}}}, "allows no HTTPRoute"),
    ],
)
def test_what_a_gateway_lacks_is_named(fields: dict[str, Any], problem: str) -> None:
    found = problems(gateway(listener(**fields)))
    assert found.startswith("the gateway gateway/tenants: ")
    assert found.endswith(problem)
    assert problems(gateway(listener(**fields), listener("other"))) == ""
    assert problems(gateway(listener(**fields), listener("other")), "https").endswith(problem)


def test_a_gateway_nobody_runs_and_a_missing_listener_are_named() -> None:
    assert problems(gateway(listener(), programmed="False")) == (
        "the gateway gateway/tenants is not programmed: AddressNotAssigned"
    )
    assert problems(gateway(listener()), "web") == "the gateway gateway/tenants has no listener web"
