"""The JSON of the requests, and the types of their parameters. The API's description is made from these models."""

import contextlib
import re
import ssl
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict

from shared.application.cluster_registry import Registration
from shared.application.record_activity import Report
from shared.application.signup import SignupRequest
from shared.domain import clusters, instances, policy, slugs
from shared.domain.clusters import AzureAccess, ClusterState, GatewayRef, KubeconfigAccess
from shared.domain.slugs import LABEL, MAX_LENGTH, MIN_LENGTH, RESERVED, check_slug

DEFAULT_ACTOR, MAX_ACTOR_LENGTH = "api", 100  # characters
NO_ADDRESS = "^[^@]*$"  # no e-mail address: the audit trail outlives the tenant
_JOINERS = "\u200c\u200d"
_TIME = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_DAY = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}")
MAX_ENTRIES = 500  # of a batch, which with the longest names is within the limit of a body
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000  # items of a page


def _slug(value: str) -> str:
    problem = check_slug(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _one_line(value: str) -> str:
    if not _without_joiners(value).isprintable() or value != value.strip():
        raise ValueError("leave out control, invisible and unassigned characters, line breaks and surrounding spaces")
    return value


def _without_joiners(value: str) -> str:
    """Leave out the zero-width joiners of words and emoji: Persian, Malayalam and others cannot be written without.

    Each has a letter, a mark or a symbol before it, and something other than a joiner after it.
    """

    def belongs(index: int) -> bool:
        before, after = value[index - 1 : index], value[index + 1 : index + 2]
        return bool(before and after) and unicodedata.category(before)[0] in "LMS" and after not in _JOINERS

    return "".join(each for index, each in enumerate(value) if each not in _JOINERS or not belongs(index))


def _address_alone(value: Any) -> Any:
    # pydantic would take the address out of `Name <address>` and silently drop the rest.
    if isinstance(value, str) and ("<" in value or value != value.strip()):
        raise ValueError("give the address alone, without a name, brackets or surrounding spaces")
    return value


def _server(value: str) -> str:
    try:
        port = urlsplit(value).port
    except ValueError:  # beyond 65535, or no number
        port = 0
    if port == 0:
        raise ValueError("give an https address; its port, if there is one, is from 1 to 65535")
    return value


def _certificates(value: str) -> str:
    # Checked with the library that connects: a certificate that it cannot read would make the cluster unreachable.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=value)
    except (ssl.SSLError, ValueError, TypeError) as error:  # the last for what is not ASCII
        raise ValueError("give certificates in PEM form, from BEGIN CERTIFICATE to END CERTIFICATE") from error
    return value


def _time(value: Any) -> Any:
    if isinstance(value, str) and _TIME.fullmatch(value):
        with contextlib.suppress(ValueError):  # no such day or hour
            return datetime.fromisoformat(value).astimezone(UTC)
    raise ValueError("give a time with its zone, of this millennium, such as 2026-03-01T12:00:00Z")


def _day(value: Any) -> Any:
    if isinstance(value, str) and _DAY.fullmatch(value):
        with contextlib.suppress(ValueError):  # no such day
            return date.fromisoformat(value)
    raise ValueError("give a day of this millennium, such as 2026-03-01")


def _few(entries: list[Any]) -> list[Any]:
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"give at most {MAX_ENTRIES} entries")
    return entries


def _digits(value: Any) -> Any:
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MAX_LIMIT))):
        raise ValueError(f"give a whole number from 1 to {MAX_LIMIT}")
    return value


def _given(field: str) -> JsonDict:
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


# A validator has the clearer message for people; the schema has the same rule for programs.
_SLUG_SCHEMA: JsonDict = {
    "minLength": MIN_LENGTH,
    "maxLength": MAX_LENGTH,
    "pattern": f"^{LABEL}$",
    "not": {"anyOf": [{"pattern": "--"}, {"pattern": "^kube-"}, {"enum": [*sorted(RESERVED)]}]},
}
Slug = Annotated[str, AfterValidator(_slug), Field(examples=["acme"], json_schema_extra=_SLUG_SCHEMA)]
PlanName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$", examples=["trial"])]
Region = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$", examples=["westeurope"])]
SlugPrefix = Annotated[str, Field(max_length=MAX_LENGTH, pattern=r"^[a-z0-9-]+$", examples=["acme"])]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", examples=["1.4.2"])]
DisplayName = Annotated[
    str,
    AfterValidator(_one_line),
    Field(min_length=1, max_length=100, examples=["Acme Ltd"], json_schema_extra={"pattern": r"^\S(.*\S)?$"}),
]
Days = Annotated[int, Field(ge=1, le=3650)]
Time = Annotated[
    datetime,
    BeforeValidator(_time),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-01T12:00:00Z"]}),
]
Day = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "pattern": f"^{_DAY.pattern}$", "examples": ["2026-03-01"]}),
]
Capacity = Annotated[int, Field(ge=1, le=100_000)]
MaxInstances = Annotated[int, Field(ge=1, le=100_000)]
CLUSTER_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
_DNS_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Domain = Annotated[
    str, Field(max_length=180, pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})+$", examples=["weu-1.example.com"])
]
Namespace = Annotated[str, Field(pattern=f"^{_DNS_LABEL}$")]
ObjectName = Annotated[str, Field(max_length=253, pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$")]
ClusterName = Annotated[str, Field(pattern=CLUSTER_NAME, examples=["weu-1"])]
DEFAULT_SOURCE = "heartbeat"
SourceName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", examples=[DEFAULT_SOURCE])]
Limit = Annotated[
    int, BeforeValidator(_digits), Field(ge=1, le=MAX_LIMIT, json_schema_extra={"default": DEFAULT_LIMIT})
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Signup(_Request):
    """A new tenant."""

    slug: Slug
    """Part of the tenant's address; it never changes."""
    plan: PlanName
    """One of the document of plans."""
    region: Region
    """One for which a cluster is registered."""
    email: Annotated[EmailStr, BeforeValidator(_address_alone), Field(max_length=254, examples=["owner@example.com"])]
    display_name: DisplayName
    version: Version = ""
    """The tag of the product's image; without it, the tenant gets the default one."""

    def to_domain(self) -> SignupRequest:
        """Return what the use case takes."""
        return SignupRequest(**{**self.model_dump(), "slug": slugs.Slug(self.slug)})


class Retry(_Request):
    """What changes when a failed tenant is provisioned once more."""

    version: Version = ""
    """The tag of the product's image; without it, the tenant keeps the one it has."""


class PolicyOverride(_Request):
    """What differs from the plan's policy for one tenant; what is left out, or null, is the plan's."""

    idle_days: Days | None = None
    """Days without activity after which it is hibernated."""
    never_active_days: Days | None = None
    """Days of a new instance in which it is not hibernated."""
    exempt: bool | None = None
    """Whether it is never hibernated."""
    keep_awake_until: Time | None = None
    """Until when it is not hibernated."""

    def to_domain(self) -> policy.PolicyOverride:
        """Return what the use case takes."""
        return policy.PolicyOverride(**self.model_dump())


class ActivityReport(_Request):
    """That a tenant is used."""

    at: Time | None = None
    """When; by default now."""
    source: SourceName = DEFAULT_SOURCE


class ActivityBatch(_Request):
    """What a source that watches many tenants has seen."""

    class Entry(_Request):
        """One tenant that was active, by its slug or by its namespace."""

        model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["slug"]}, {"required": ["namespace"]}]})

        slug: Slug | None = None
        namespace: Annotated[str, Field(pattern=r"^tenant-[a-z0-9]{1,40}$")] | None = None
        """On the cluster that the batch names."""
        at: Time | None = None
        """When; by default now."""

        @model_validator(mode="after")
        def _exactly_one(self) -> Self:
            if (self.slug is None) == (self.namespace is None):
                raise ValueError("give either a slug or a namespace")
            return self

        def to_domain(self) -> Report:
            """Return what the use case takes."""
            instance = instances.InstanceId((self.namespace or "").removeprefix(instances.NAMESPACE_PREFIX))
            return Report(self.at, slugs.Slug(self.slug) if self.slug else None, instance)

    class Watched(_Request):
        """A time in which the source has seen all activity there was."""

        since: Time
        until: Time

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            if self.since > self.until:
                raise ValueError("the end is before the beginning")
            return self

    source: SourceName
    cluster: ClusterName | None = None
    """Where the namespaces are, and what was watched; without it, all clusters were."""
    entries: Annotated[list[Entry], AfterValidator(_few), Field(json_schema_extra={"maxItems": MAX_ENTRIES})] = []
    watched: Watched | None = None
    """Send it with the last batch about this time: it vouches that no other tenant was active."""

    @model_validator(mode="after")
    def _cluster_of_namespaces(self) -> Self:
        if self.cluster is None and any(each.namespace for each in self.entries):
            raise ValueError("name the cluster on which the namespaces are")
        return self


class Forget(_Request):
    """Why an operator gives a tenant's instance up."""

    reason: Annotated[
        str,
        AfterValidator(_one_line),
        Field(min_length=1, max_length=500, pattern=NO_ADDRESS, examples=["region lost"]),
    ]
    """For the audit trail; no e-mail address."""


class SweepBegin(_Request):
    """A sweep that is to be started."""

    dry_run: bool = False
    """Whether it only decides, and puts nobody to sleep."""


class SweepSwitch(_Request):
    """The kill switch of sweeps."""

    enabled: bool
    """With false, a sweep that runs ends before its next action, and only dry runs can be started."""


class ClusterRegistration(_Request):
    """A cluster that takes tenants."""

    class Access(_Request):
        """How to reach it: by a context of the kubeconfig file, or with berth's own Microsoft Entra identity.

        Either `kubeconfig_context` alone, or `server` and `ca_pem`. One model for both: a union's errors would
        point at its alternatives, which the caller does not know.
        """

        model_config = ConfigDict(
            json_schema_extra={"oneOf": [{"required": ["kubeconfig_context"]}, {"required": ["server", "ca_pem"]}]}
        )

        kubeconfig_context: Annotated[str, AfterValidator(_one_line), Field(min_length=1, max_length=100)] = ""
        server: Annotated[
            str,
            AfterValidator(_server),
            Field(max_length=300, pattern=r"^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$"),
        ] = ""
        """The https address of its API server, in one of the domains of AKS (`BERTH_KUBERNETES_AKS_DOMAINS`)."""
        ca_pem: Annotated[
            str, AfterValidator(_certificates), Field(max_length=20_000, pattern=r"^-----BEGIN CERTIFICATE-----")
        ] = ""
        """The certificate authority that signed the API server's certificate."""

        @model_validator(mode="after")
        def _exactly_one(self) -> Self:
            if self.model_fields_set not in ({"kubeconfig_context"}, {"server", "ca_pem"}):
                raise ValueError("give either kubeconfig_context alone, or server and ca_pem")
            return self

    class Gateway(_Request):
        """The Gateway of the Gateway API that tenants' routes join."""

        namespace: Namespace
        name: ObjectName
        listener: ObjectName = ""
        """The name of one of its HTTPS listeners; without it, routes join every one that fits."""
        pods_namespace: Namespace = ""
        """Where the pods run that carry its traffic, the only ones that may reach a tenant; without it, `namespace`."""

    region: Region
    capacity: Capacity
    """The plan weights that fit on it, a trial's being 1. Tenants that sleep have none."""
    max_instances: MaxInstances | None = None
    """How many tenants fit on it, awake or asleep, because each has a volume; null, or left out, is no limit."""
    state: Annotated[ClusterState, Field(strict=False)] | None = None
    """Without it, or with null, a registered cluster keeps its state, and a new one is open."""
    access: Access
    domain: Domain
    """Each tenant on it has the address `https://SLUG.DOMAIN`."""
    gateway: Gateway

    def to_domain(self, name: clusters.ClusterName) -> Registration:
        """Return what the use case takes."""
        given = self.access
        if given.kubeconfig_context:
            access = KubeconfigAccess(given.kubeconfig_context)
        else:
            access = AzureAccess(given.server, given.ca_pem)
        gateway = self.gateway
        return Registration(
            name,
            self.region,
            self.capacity,
            self.state,
            access,
            self.domain,
            GatewayRef(gateway.namespace, gateway.name, gateway.listener, gateway.pods_namespace or gateway.namespace),
            self.max_instances,
        )


class ClusterChange(_Request):
    """What changes of a cluster; what is left out, or null, stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [_given("state"), _given("capacity"), _given("max_instances")]}
    )

    state: Annotated[ClusterState | None, Field(strict=False)] = None
    capacity: Capacity | None = None
    """In plan weights. Below what is allocated it moves nobody, and lets no new tenants in."""
    max_instances: MaxInstances | None = None
    """Below what is there it moves nobody, and lets no new tenants in. To have no limit, replace the registration."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.state is None and self.capacity is None and self.max_instances is None:
            raise ValueError("give a state, a capacity, a number of instances, or several of these")
        return self
