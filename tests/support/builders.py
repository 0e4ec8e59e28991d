"""Values for tests, with everything filled in that a test does not care about."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from functools import cache
from secrets import token_hex
from typing import Any

from pydantic import SecretStr

from local.gateway.process import NAME, NAMESPACE
from local.kubernetes.control_plane import DOMAIN, OWNER
from shared.adapters.assets import load_assets
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.domain.clusters import Cluster, ClusterName, ClusterState, GatewayRef, KubeconfigAccess
from shared.domain.failures import FailureClass
from shared.domain.instances import new_instance_id
from shared.domain.latency import LatencyKind, Sample
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import OperationState, new_operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.domain.workloads import Workload
from shared.settings import (
    ActivitySettings,
    IdempotencySettings,
    PricesSettings,
    ProvisioningSettings,
    RecoverySettings,
    Settings,
    SweepSettings,
    TableSettings,
    TenantSettings,
)
from tests.support.clock import START

TENANT_SETTINGS = TenantSettings(
    owner=OWNER,
    image="registry.example.com/product",
    default_version="1.0.0",
    secret_seed=SecretStr("0123456789abcdef"),
)
PLANS = load_plans()  # the document that is deployed
PRICES = load_prices()
ASSETS = load_assets()
PRODUCT = (Workload("product", claims=frozenset({"data"})),)  # what the templates make


def new_slug() -> Slug:
    """Return a slug that no other test has."""
    return Slug("t" + token_hex(6))


def new_tenant(slug: str = "acme", **fields: Any) -> Tenant:
    """Return a tenant that is being provisioned, with some fields changed."""
    instance = new_instance_id()
    operation = new_operation(OperationKind.PROVISION, Slug(slug), actor="portal", now=START)
    usual: dict[str, Any] = {
        "slug": Slug(slug),
        "state": TenantState.PROVISIONING,
        "plan": "trial",
        "region": "local",
        "version": "1.0.0",
        "email": "owner@example.com",
        "display_name": "Acme",
        "created_at": START,
        "changed_at": START,
        "state_since": START,
        "operation": replace(operation, instance=instance),
        "instance": instance,
        "next_size": PLANS["trial"].size,
    }
    return Tenant(**(usual | fields))


def new_cluster(name: str = "one", **fields: Any) -> Cluster:
    """Return an open cluster that holds ten trials, with some fields changed."""
    usual: dict[str, Any] = {
        "name": ClusterName(name),
        "region": "local",
        "capacity": 10,
        "state": ClusterState.OPEN,
        "access": KubeconfigAccess(name),
        "domain": f"{name}.example.com",
        "gateway": GatewayRef("gateway", "tenants", "", "gateway"),
        "uid": f"uid-of-{name}",
    }
    return Cluster(**(usual | fields))


GATEWAY = GatewayRef(NAMESPACE, NAME, "", NAMESPACE)
"""The gateway of a real control plane."""
LOCAL = new_cluster("local", domain=f"local.{DOMAIN}", gateway=GATEWAY)
"""The registration of a real control plane with this name."""


@cache  # pydantic searches the environment for each field: longer than making all the rest of a world
def new_settings(**provisioning: Any) -> Settings:
    """Return settings with some fields of the provisioning section changed."""
    return Settings(
        tables=TableSettings(connection=SecretStr("AccountName=none")),
        provisioning=ProvisioningSettings(**provisioning),
        recovery=RecoverySettings(schedule="0 * * * * *"),
        activity=ActivitySettings(max_gap_seconds=0),
        sweep=SweepSettings(schedule="0 30 2 * * *"),
        prices=PricesSettings(schedule="0 23 4 * * *"),
        idempotency=IdempotencySettings(),
        tenants=TENANT_SETTINGS,
    )


def registration_body(**fields: Any) -> dict[str, Any]:
    """Return the body of a good registration of a cluster, with some fields changed."""
    usual = {
        "region": "westeurope",
        "capacity": 500,
        "access": {"kubeconfig_context": "weu-1"},
        "domain": "weu-1.example.com",
        "gateway": {"namespace": "gateway", "name": "tenants"},
    }
    return usual | fields


def signup_body(slug: str, **fields: str) -> dict[str, Any]:
    """Return the body of a good signup, with some fields changed."""
    body = {"slug": slug, "plan": "trial", "region": "local", "email": "a@example.com", "display_name": "A"}
    return body | fields


def new_sample(day: date, *, seconds: float = 9.0, **fields: Any) -> Sample:
    """Return how long a signup took that ended on a day, with some fields changed; a third of it was work."""
    usual: dict[str, Any] = {
        "id": f"acme.{token_hex(10)}",
        "kind": LatencyKind.PROVISION,
        "ended_at": datetime.combine(day, time(13, tzinfo=UTC)),
        "outcome": OperationState.SUCCEEDED,
        "failure": FailureClass.NONE,
        "cluster": "one",
        "plan": "trial",
        "version": "1.0.0",
        "slug": "acme",
        "queued_seconds": seconds / 3,
        "total_seconds": seconds,
        "steps": {"place": seconds / 3, "apply": seconds / 3, "start": seconds / 3},
    }
    return Sample(**(usual | fields))
