from typing import Any

import pytest

from local.gateway.attachment import Condition, attach, resolved_refs, selects, with_times
from local.gateway.backends import ADDRESS, Backend, Invalid, SamplePage, Server, Unavailable, resolve
from local.gateway.resources import BackendRef, gateway_of, route_of

TENANT = {"kind": "tenant"}


def gateway(**listener: Any) -> dict[str, Any]:
    usual = {
        "name": "https",
        "protocol": "HTTPS",
        "port": 443,
        "hostname": "*.example.com",
        "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": TENANT}}},
    }
    metadata = {"namespace": "gateway", "name": "tenants", "generation": 1}
    return {"metadata": metadata, "spec": {"gatewayClassName": "ours", "listeners": [usual | listener]}}


def route(parent: dict[str, Any] | None = None, rule: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    backend = {"name": "product", "port": 80}
    usual = {
        "hostnames": ["acme.example.com"],
        "parentRefs": [{"namespace": "gateway", "name": "tenants"} | (parent or {})],
        "rules": [{"backendRefs": [backend]} | (rule or {})],
    }
    metadata = {"namespace": "t", "name": "product", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": usual | spec}


def decided(given_route: dict[str, Any], given_gateway: dict[str, Any]) -> tuple[bool, str, tuple[str, ...]]:
    read = route_of(given_route)
    found = attach(read, read.parents[0], gateway_of(given_gateway), TENANT)
    return found.accepted.holds, found.accepted.reason, found.hostnames


def test_a_route_that_fits_joins_under_its_hostname():
    assert decided(route(), gateway()) == (True, "Accepted", ("acme.example.com",))
    assert decided(route(hostnames=[]), gateway()) == (True, "Accepted", ("*.example.com",))
    assert decided(route({"sectionName": "https", "port": 443}), gateway())[0]


@pytest.mark.parametrize(
    ("changed_route", "changed_gateway", "reason"),
    [
        (route({"sectionName": "other"}), gateway(), "NoMatchingParent"),
        (route({"port": 8443}), gateway(), "NoMatchingParent"),
        (route(), gateway(protocol="HTTP"), "NoMatchingParent"),
        (route(), gateway(allowedRoutes={}), "NotAllowedByListeners"),
        (route(), gateway(allowedRoutes={"namespaces": {"from": "Selector"}}), "NotAllowedByListeners"),
        (
            route(),
            gateway(allowedRoutes={"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}),
            "NotAllowedByListeners",
        ),
        (route(hostnames=["acme.example.org"]), gateway(), "NoMatchingListenerHostname"),
        (route(rule={"filters": [{"type": "URLRewrite"}]}), gateway(), "UnsupportedValue"),
        (route(rule={"matches": [{"headers": [{"name": "a", "value": "b"}]}]}), gateway(), "UnsupportedValue"),
    ],
)
def test_a_route_that_does_not_fit_is_refused_with_the_reason(
    changed_route: dict[str, Any], changed_gateway: dict[str, Any], reason: str
):
    assert decided(changed_route, changed_gateway) == (False, reason, ())


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ({}, "ResolvedRefs"),
        ({"name": "other"}, "BackendNotFound"),
        ({"port": 81}, "BackendNotFound"),
        ({"namespace": "elsewhere"}, "RefNotPermitted"),
        ({"kind": "Function", "group": "example.com"}, "InvalidKind"),
    ],
)
def test_backends_are_resolved_or_the_reason_is_said(backend: dict[str, Any], reason: str):
    rule = {"backendRefs": [{"name": "product", "port": 80} | backend]}
    ports = {("t", "product"): [80], ("elsewhere", "product"): [80]}
    found = resolved_refs(route_of(route(rule=rule)), ports.get)
    assert (found.holds, found.reason) == (reason == "ResolvedRefs", reason)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchLabels": {"b": "1"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_label_selectors(selector: dict[str, Any], expected: bool):
    assert selects(selector, {"a": "1"}) is expected


def test_a_condition_keeps_its_time_until_its_status_changes():
    before = with_times([Condition("Accepted", True, "Accepted")], 1, (), "one")
    same = with_times([Condition("Accepted", True, "Accepted")], 2, before, "two")
    assert [(each["lastTransitionTime"], each["observedGeneration"]) for each in same] == [("one", 2)]
    changed = with_times([Condition("Accepted", False, "NoMatchingParent")], 2, before, "two")
    assert changed[0]["lastTransitionTime"] == "two"


def slice_with(*ready: bool | None) -> list[dict[str, Any]]:
    conditions = [{} if each is None else {"ready": each} for each in ready]
    return [{"endpoints": [{"conditions": each} for each in conditions]}]


@pytest.mark.parametrize(
    ("service", "slices", "expected"),
    [
        ({}, slice_with(False, True), SamplePage()),
        ({}, slice_with(None), SamplePage()),  # unknown counts as ready
        ({}, slice_with(False), Unavailable()),
        ({}, [{"endpoints": None}], Unavailable()),
        ({}, [], Unavailable()),
        ({"type": "ExternalName", "externalName": "localhost"}, [], Server("localhost:80")),
        (None, [], Invalid()),
    ],
)
def test_what_answers_for_a_service(service: dict[str, Any] | None, slices: list[dict[str, Any]], expected: Backend):
    manifest = None if service is None else {"metadata": {}, "spec": service}
    assert resolve(BackendRef(("t", "product"), 80, "Service"), manifest, slices) == expected


def test_an_annotation_leads_to_a_server_on_this_machine():
    service = {"metadata": {"annotations": {ADDRESS: "127.0.0.1:8080"}}, "spec": {}}
    assert resolve(BackendRef(("t", "product"), 80, "Service"), service, []) == Server("127.0.0.1:8080")
