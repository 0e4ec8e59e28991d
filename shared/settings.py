"""Everything that an operator may set, read once from the environment.

Each setting is the variable BERTH_SECTION_FIELD, for example BERTH_PROVISIONING_FAIL_AFTER. `Settings.from_environment`
lists all that is wrong in one message; `describe()` prints the table that docs/settings.md holds.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

PREFIX = "BERTH"


class SettingsError(Exception):
    """The environment does not describe a berth that could work; the message lists everything that is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TableSettings(_Section):
    """Where the records are."""

    endpoint: str = ""
    """Address of the storage account's table service, reached as berth's own identity: https://NAME.table.core.windows.net"""
    connection: SecretStr = SecretStr("")
    """A connection string instead of the endpoint: for Azurite, whose only credential is a key."""
    try_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that one try of a call may take. The service itself answers or gives up within 30."""
    budget_seconds: Annotated[float, Field(gt=0, le=300)] = 30.0
    """Seconds that a call may take with all its repeats."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.endpoint) == bool(self.connection.get_secret_value()):
            raise ValueError("set exactly one of BERTH_TABLES_ENDPOINT and BERTH_TABLES_CONNECTION")
        return self


class KubernetesSettings(_Section):
    """How berth talks to a cluster's API server."""

    kubeconfig: str = ""
    """Path of the kubeconfig file for clusters reached by one of its contexts; empty takes the usual one."""
    try_seconds: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Seconds that one try of a request may take (kubespawner's default)."""
    budget_seconds: Annotated[float, Field(gt=0, le=300)] = 30.0
    """Seconds that a request may take with all its repeats (kubespawner's default)."""
    max_in_flight: Annotated[int, Field(ge=1, le=500)] = 50
    """Requests at once to one cluster from one worker; the API server's own default ceiling is 600 for everybody."""
    watch_seconds: Annotated[int, Field(ge=5, le=300)] = 30
    """Seconds after which a watch is renewed; a silent connection goes unnoticed for no longer."""
    watch_linger_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Seconds that a watch stays open after the last waiter left."""
    crash_limit: Annotated[int, Field(ge=1, le=20)] = 3
    """Restarts of a crashing container after which a tenant counts as unable ever to start."""
    delete_grace_seconds: Annotated[int, Field(ge=0, le=300)] = 1
    """Seconds that a deleted tenant's containers get to stop."""


class ProvisioningSettings(_Section):
    """How long a provisioning may take."""

    warn_after: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds of waiting after which the operation's message says that it takes longer than usual (kubespawner's)."""
    fail_after: Annotated[int, Field(ge=5, le=3600)] = 300
    """Seconds after which a tenant that is not ready has failed (Zero to JupyterHub's start time-out)."""
    at_once: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Provisionings at once in all (Zero to JupyterHub's concurrent spawns); those beyond it wait in order."""
    at_once_per_cluster: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Provisionings at once on one cluster, whose controllers are what sets the pace."""
    waiting: Annotated[int, Field(ge=0, le=100_000)] = 500
    """Signups that may wait; those beyond it are answered 429."""
    retry_after: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds after which a signup that was answered 429 should come back: so many, up to twice as many, by chance, so
    that a burst does not come back as one (JupyterHub suggests 30 to 60)."""
    progress_seconds: Annotated[float, Field(ge=0.5, le=30)] = 5.0
    """Seconds between two looks at an operation while its tenant starts: how old a message or a cancellation can be."""
    resume_after: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds without a sign of life after which the reaper asks whether an operation's orchestration is there."""
    stuck_after: Annotated[int, Field(ge=150, le=86400)] = 300
    """Seconds without a sign of life after which an operation's orchestration is ended and started again (Coder's)."""
    key_hours: Annotated[float, Field(ge=0.01, le=720)] = 24.0
    """Hours for which an idempotency key is known (Stripe keeps them for at least 24)."""


class TenantSettings(_Section):
    """What tenants are made from."""

    domain: Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$")] = "tenants.example.com"
    """The domain under which every tenant has its address: SLUG.DOMAIN."""
    image: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9./:_-]+$")]
    """The product's container image without its tag; the tenant's version is the tag."""
    default_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
    """The version of a tenant whose signup names none."""
    secret_seed: Annotated[SecretStr, Field(min_length=16)]
    """What every tenant's own secret is derived from: at least 16 random characters, kept in a key vault. With another
    seed, tenants provisioned from then on get other secrets."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """The port that the product listens on."""
    ingress_class: str = "webapprouting.kubernetes.azure.com"
    """The ingress class; the default is the application routing add-on of AKS."""
    ingress_namespace: str = "app-routing-system"
    """The namespace of the ingress controller, the only one that may reach a tenant."""
    storage_class: str = ""
    """The storage class of tenants' volumes; empty takes the cluster's default."""
    quarantine_days: Annotated[float, Field(ge=0, le=3650)] = 30.0
    """Days that a deleted tenant's slug stays taken, so that old links and cookies never reach a stranger."""


class Settings(_Section):
    """The whole tree."""

    tables: TableSettings
    kubernetes: KubernetesSettings = KubernetesSettings()
    provisioning: ProvisioningSettings = ProvisioningSettings()
    tenants: TenantSettings

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the tree from variables named BERTH_SECTION_FIELD.

        Raises:
            SettingsError: Something is missing, out of range, or has a name that no setting has.
        """
        tree: dict[str, dict[str, str]] = {name: {} for name in cls.model_fields}
        unknown: list[str] = []
        for variable, value in environment.items():
            prefix, _, rest = variable.partition("_")
            section, _, field = rest.lower().partition("_")
            if prefix != PREFIX or section not in tree:
                continue
            if field in _fields(cls)[section]:
                tree[section][field] = value
            else:
                unknown.append(f"  {variable}: there is no such setting")
        try:
            settings = cls.model_validate(tree)
        except ValidationError as error:
            wrong = [f"  {_variable(each['loc'])}: {each['msg']}" for each in error.errors()]
            raise SettingsError("\n".join(["berth's settings are wrong:", *wrong, *unknown])) from None
        if unknown:
            raise SettingsError("\n".join(["berth's settings are wrong:", *unknown]))
        return settings


def describe() -> Iterator[tuple[str, str, str]]:
    """Yield the variable, the default and the meaning of every setting."""
    for section, fields in _fields(Settings).items():
        for name, field in fields.items():
            default = field.default
            shown = default.get_secret_value() if isinstance(default, SecretStr) else default
            required = "required" if field.is_required() else str(shown)
            yield f"{PREFIX}_{section}_{name}".upper(), required, field.description or ""


def _fields(tree: type[Settings]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for name, field in tree.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        sections[name] = dict(section.model_fields)
    return sections


def _variable(location: tuple[int | str, ...]) -> str:
    return "_".join([PREFIX, *(str(part) for part in location)]).upper()
