"""The JSON that goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, EmailStr, Field, field_validator, model_validator

from shared.application.lifecycle import SignupRequest
from shared.domain.clusters import AzureAccess, Cluster, ClusterState, KubeconfigAccess
from shared.domain.naming import check_slug
from shared.domain.operations import Operation, Step
from shared.domain.plans import PLANS
from shared.domain.tenants import AuditEntry, Tenant


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Signup(_Request):
    """Body of POST /tenants."""

    slug: Annotated[str, Field(max_length=100)]
    plan: str
    region: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$")]
    email: Annotated[EmailStr, Field(max_length=254)]
    display_name: Annotated[str, Field(min_length=1, max_length=100)]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")] = ""

    @field_validator("slug")
    @classmethod
    def _slug(cls, value: str) -> str:
        problem = check_slug(value)
        if problem is not None:
            raise ValueError(str(problem))
        return value

    @field_validator("plan")
    @classmethod
    def _plan(cls, value: str) -> str:
        if value not in PLANS:
            raise ValueError(f"there is no such plan; plans: {', '.join(PLANS)}")
        return value

    @field_validator("display_name")
    @classmethod
    def _display_name(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise ValueError("give a name without control characters, line breaks or surrounding spaces")
        return value

    def to_domain(self) -> SignupRequest:
        """Return what the use case takes."""
        return SignupRequest(**self.model_dump())


class Retry(_Request):
    """Body of POST /tenants/{slug}/retry; may be left out."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")] = ""


class ClusterRegistration(_Request):
    """Body of PUT /clusters/{name}."""

    class Kubeconfig(_Request):
        """By a context of the kubeconfig file."""

        kubeconfig_context: Annotated[str, Field(min_length=1, max_length=100)]

    class Azure(_Request):
        """By berth's own Microsoft Entra identity."""

        server: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]+)?$", max_length=300)]
        ca_pem: Annotated[str, Field(pattern=r"^-----BEGIN CERTIFICATE-----", max_length=20_000)]

    region: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$")]
    capacity: Annotated[int, Field(ge=1, le=100_000)]
    state: Annotated[ClusterState, Field(strict=False)] = ClusterState.OPEN
    access: Kubeconfig | Azure

    def to_domain(self, name: str) -> Cluster:
        """Return what the use case takes."""
        match self.access:
            case self.Kubeconfig(kubeconfig_context=context):
                access = KubeconfigAccess(context)
            case self.Azure(server=server, ca_pem=ca_pem):
                access = AzureAccess(server, ca_pem)
        return Cluster(name, self.region, self.capacity, self.state, access)


class ClusterChange(_Request):
    """Body of PATCH /clusters/{name}; what is left out, or null, stays as it is."""

    state: Annotated[ClusterState | None, Field(strict=False)] = None
    capacity: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.state is None and self.capacity is None:
            raise ValueError("give a state, a capacity, or both")
        return self


def operation_json(operation: Operation) -> dict[str, Any]:
    """Return an operation as callers see it; times are ISO 8601 in UTC."""
    return {
        "id": operation.id,
        "kind": operation.kind,
        "tenant": operation.slug,
        "state": operation.state,
        "percent": operation.percent,
        "reason": operation.reason,
        "cancel_requested": operation.cancel_requested,
        "created_at": _iso(operation.created_at),
        "started_at": _iso(operation.started_at),
        "finished_at": _iso(operation.finished_at),
        "updated_at": _iso(operation.heartbeat_at),
        "steps": [_step_json(step) for step in operation.steps],
        "links": {
            "self": f"/api/operations/{operation.id}",
            "tenant": f"/api/tenants/{operation.slug}",
        },
    }


def tenant_json(tenant: Tenant, *, domain: str) -> dict[str, Any]:
    """Return a tenant as callers see it: what is recorded, and what was observed and when."""
    observed = tenant.observed
    return {
        "slug": tenant.slug,
        "state": tenant.state,
        "plan": tenant.plan,
        "region": tenant.region,
        "version": tenant.version,
        "email": tenant.email,
        "display_name": tenant.display_name,
        "cluster": tenant.cluster,
        "url": f"https://{tenant.slug}.{domain}",
        "created_at": _iso(tenant.created_at),
        "changed_at": _iso(tenant.changed_at),
        "observed": observed and {"ready": observed.ready, "message": observed.message, "at": _iso(observed.at)},
        "operation": tenant.operation.id,
        "quarantine_until": _iso(tenant.quarantine_until),
        "links": {
            "self": f"/api/tenants/{tenant.slug}",
            "operation": f"/api/operations/{tenant.operation.id}",
        },
    }


def audit_json(entry: AuditEntry) -> dict[str, Any]:
    """Return one change of a tenant: who, what, why, before and after."""
    return {
        "at": _iso(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
        "operation": entry.operation_id,
    }


def cluster_json(cluster: Cluster) -> dict[str, Any]:
    """Return a cluster as operators see it; how to reach it stays inside."""
    return {
        "name": cluster.name,
        "region": cluster.region,
        "state": cluster.state,
        "capacity": cluster.capacity,
        "allocated": cluster.allocated,
        "free": cluster.free,
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "state": step.state,
        "message": step.message,
        "started_at": _iso(step.started_at),
        "finished_at": _iso(step.finished_at),
        "seconds": step.seconds,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment and moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
