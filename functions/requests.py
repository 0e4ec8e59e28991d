"""The JSON of the requests, and what else callers send. What is refused here shows in the API's description."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field, model_validator
from pydantic.config import JsonDict

from shared.application.lifecycle import SignupRequest
from shared.domain.clusters import AzureAccess, Cluster, ClusterState, KubeconfigAccess
from shared.domain.naming import LABEL, LONGEST, RESERVED, SHORTEST, check_slug
from shared.domain.plans import PLANS


def _slug(value: str) -> str:
    problem = check_slug(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _plan(value: str) -> str:
    if value not in PLANS:
        raise ValueError(f"there is no such plan; plans: {', '.join(PLANS)}")
    return value


def _display_name(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("give a name without control characters, line breaks or surrounding spaces")
    return value


# Where a validator says it better to a person, the schema says the same to programs.
_SLUG_SCHEMA: JsonDict = {
    "minLength": SHORTEST,
    "maxLength": LONGEST,
    "pattern": f"^{LABEL}$",
    "not": {"anyOf": [{"pattern": "--"}, {"pattern": "^kube-"}, {"enum": [*sorted(RESERVED)]}]},
}
Slug = Annotated[str, AfterValidator(_slug), Field(examples=["acme"], json_schema_extra=_SLUG_SCHEMA)]
PlanName = Annotated[str, AfterValidator(_plan), Field(json_schema_extra={"enum": list(PLANS)})]
Region = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$", examples=["westeurope"])]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", examples=["1.4.2"])]
DisplayName = Annotated[
    str,
    AfterValidator(_display_name),
    Field(min_length=1, max_length=100, examples=["Acme Ltd"], json_schema_extra={"pattern": r"^\S(.*\S)?$"}),
]
Capacity = Annotated[int, Field(ge=1, le=100_000)]
CLUSTER_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Signup(_Request):
    """A new tenant."""

    slug: Slug
    """Part of the tenant's address, and its name from then on."""
    plan: PlanName
    region: Region
    """One for which a cluster is registered."""
    email: Annotated[EmailStr, Field(max_length=254, examples=["owner@example.com"])]
    display_name: DisplayName
    version: Version = ""
    """The tag of the product's image; without it, the tenant gets the default one."""

    def to_domain(self) -> SignupRequest:
        """Return what the use case takes."""
        return SignupRequest(**self.model_dump())


class Retry(_Request):
    """What is to be otherwise when a failed tenant is provisioned once more."""

    version: Version = ""
    """The tag of the product's image; without it, the tenant keeps the one it has."""


class ClusterRegistration(_Request):
    """A cluster that takes tenants."""

    class Kubeconfig(_Request):
        """Reach it by a context of the kubeconfig file that berth was given."""

        kubeconfig_context: Annotated[str, Field(min_length=1, max_length=100)]

    class Azure(_Request):
        """Reach it by berth's own Microsoft Entra identity."""

        server: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]+)?$", max_length=300)]
        """The https address of its API server."""
        ca_pem: Annotated[str, Field(pattern=r"^-----BEGIN CERTIFICATE-----", max_length=20_000)]
        """The certificate authority that signed the API server's certificate."""

    region: Region
    capacity: Capacity
    """The plan weights that fit on it, a trial's being 1."""
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
    """What is to be otherwise of a cluster; what is left out, or null, stays as it is."""

    state: Annotated[ClusterState | None, Field(strict=False)] = None
    capacity: Capacity | None = None
    """In plan weights. Below what is allocated it moves nobody, and lets no new tenants in."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.state is None and self.capacity is None:
            raise ValueError("give a state, a capacity, or both")
        return self
