"""Everything that an operator may set, read once from the environment.

Each setting is the variable BERTH_SECTION_FIELD, for example BERTH_PROVISIONING_FAIL_AFTER. `load_settings` lists
everything that is wrong in one message; `describe()` yields the rows of docs/settings.md.
"""

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from shared.domain.assets import Sharing

PREFIX = "BERTH_"
_DOMAIN = r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z]([a-z0-9-]*[a-z0-9])?"  # the last label is no number, as in 10.0.0.1
MIN_OPS_KEY = 32
MIN_SEED = 16
# App Service leaves the text of a reference in place of a secret that it cannot read. Anybody could guess that text.
_REFERENCE = "@Microsoft.KeyVault("
PROMETHEUS = "prometheus"  # the name of a source of activity


class SettingsError(Exception):
    """The environment does not describe a berth that could work; the message lists everything that is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class TableSettings(_Section):
    """Where the records are."""

    endpoint: str = ""
    """Address of the storage account's table service, reached as berth's own identity: https://NAME.table.core.windows.net"""
    connection: SecretStr = SecretStr("")
    """A connection string instead of the endpoint: for Azurite, whose only credential is a key."""
    attempt_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that one attempt of a call may take. The service itself ends a call after 30."""
    total_timeout: Annotated[float, Field(gt=0, le=300)] = 30.0
    """Seconds that a call may take with all its retries."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if bool(self.endpoint) == bool(self.connection.get_secret_value()):
            raise ValueError("set exactly one of BERTH_TABLES_ENDPOINT and BERTH_TABLES_CONNECTION")
        return self


class KubernetesSettings(_Section):
    """How berth talks to a cluster's API server."""

    kubeconfig: str = ""
    """Path of the kubeconfig file for clusters reached by one of its contexts; empty takes the usual one."""
    aks_domains: Annotated[str, Field(pattern=rf"^{_DOMAIN}(,{_DOMAIN})*$")] = (
        "azmk8s.io,cx.prod.service.azk8s.cn,cx.aks.containerservice.azure.us"
    )
    """The domains of AKS API servers, separated by commas: of public Azure, of China and of the US government. berth's
    Entra token, which all clusters accept, is sent to no other address."""
    attempt_timeout: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Seconds that one attempt of a request may take (the default of kubespawner). After one that got no response in
    time, the next may take twice as long, up to 15 s: webhooks of the cluster may be slow."""
    total_timeout: Annotated[float, Field(gt=0, le=300)] = 30.0
    """Seconds that one call of an activity may spend on all its requests and their retries together (kubespawner's
    default for a request). An error response that repeats is shown after 4 s already."""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=500)] = 10
    """Requests at once to one cluster from one worker. An API server runs 600 at once by default. Of these, 49 are for
    all users without a priority level of their own (20 of 245 shares), and 46 for berth alone with
    infra/kubernetes/flow-control.yaml (20 of 265). Four workers with 10 each stay below both; what is beyond that waits
    in the API server."""
    watch_timeout: Annotated[int, Field(ge=5, le=300)] = 30
    """Seconds after which a watch is renewed; a dead connection goes unnoticed for no longer."""
    watch_idle_timeout: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Seconds that a namespace stays in the watch while nobody waits for it."""
    crash_limit: Annotated[int, Field(ge=1, le=20)] = 3
    """Restarts of a crashing container after which a provisioning fails."""
    delete_grace_seconds: Annotated[int, Field(ge=0, le=300)] = 1
    """Seconds that a deleted tenant's containers get to stop."""


class ProvisioningSettings(_Section):
    """How many provisionings run, and how long one may take."""

    warn_after: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds of waiting after which the operation's message says that it takes longer than usual (the default
    of kubespawner)."""
    fail_after: Annotated[int, Field(ge=5, le=3600)] = 300
    """Seconds of waiting after which a tenant that is not ready has failed (the default of Zero to JupyterHub)."""
    doubt_fail_after: Annotated[int, Field(ge=0, le=3600)] = 60
    """Seconds without a break that a start may be held up by what waiting rarely heals, such as a registry that denies
    the image; after these it has failed. A role assignment or another program's Secret can still arrive."""
    node_fail_after: Annotated[int, Field(ge=0, le=86400)] = 900
    """Seconds more for a tenant that waits for a node which the cluster's autoscaler is adding (its own default is to
    give a node 15 minutes, `--max-node-provision-time`)."""
    max_concurrent: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Provisionings and wakes that may start at once on one cluster, whose controllers are the bottleneck (the default
    of Zero to JupyterHub); those beyond it are queued."""
    wake_slots: Annotated[int, Field(ge=0, le=10_000)] = 8
    """How many of these only wakes may use, so that a burst of signups holds up nobody who is waiting for a tenant that
    sleeps. One is always left for signups."""
    max_queued: Annotated[int, Field(ge=0, le=100_000)] = 500
    """Signups that may be queued for one cluster; those beyond it get the response 429."""
    retry_after: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds after which a signup that got 429 should be sent again: so many, up to twice as many, at random, so that
    a burst does not come back as one (JupyterHub suggests 30 to 60)."""
    progress_interval: Annotated[float, Field(ge=0.5, le=30)] = 5.0
    """Seconds between two polls of an operation while its tenant starts or stops: how old a message or a cancellation
    can be."""

    @property
    def signup_slots(self) -> int:
        """Up to how many slots in use signups may start."""
        return max(1, self.max_concurrent - self.wake_slots)


class RecoverySettings(_Section):
    """When an operation counts as lost."""

    schedule: Annotated[str, Field(min_length=1)]
    """When to search for lost operations, as an NCRONTAB expression such as `0 * * * * *`, every minute in UTC. The
    Functions host reads it."""
    restart_after: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds without a heartbeat after which an operation is started again if its orchestration is lost."""
    stuck_after: Annotated[int, Field(ge=180, le=86400)] = 300
    """Seconds without a heartbeat after which an operation's orchestration is ended and started again (the default of
    Coder)."""
    max_restarts: Annotated[int, Field(ge=1, le=1000)] = 10
    """How often an operation's orchestration is started again; after that berth only logs that it needs an operator."""


class IdempotencySettings(_Section):
    """How long idempotency keys are kept."""

    key_hours: Annotated[float, Field(ge=0.01, le=720)] = 24.0
    """Hours for which an idempotency key is known (Stripe keeps them for at least 24). Its row is deleted up to four
    times as many hours later. After a change of this setting, keys from before may be unknown."""


class RetentionSettings(_Section):
    """How long records are kept. Once a night the older ones are deleted."""

    latency_days: Annotated[int, Field(ge=1, le=3650)] = 93
    """Days that the seconds of an operation's steps are kept after its end (Azure Monitor keeps metrics for 93)."""
    latency_rollup_days: Annotated[int, Field(ge=1, le=3650)] = 1095
    """Days that the daily roll-ups of latency are kept, which reports read (three years, to compare a quarter with the
    same one of the years before)."""
    operation_days: Annotated[int, Field(ge=31, le=3650)] = 93
    """Days that an operation is kept after its end, at least 31, which is longer than an idempotency key can stand for
    it. A tenant's last operation is always kept. The default is that of the latency rows, so that each still has its
    operation."""
    audit_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """Days that an audit entry is kept, after a tenant's deletion too (PCI DSS 10.5.1 asks for 12 months)."""
    finding_days: Annotated[int, Field(ge=1, le=3650)] = 93
    """Days that a finding of reconciliation is kept after it was repaired or gone (as long as an operation)."""
    activity_days: Annotated[int, Field(ge=93, le=3650)] = 365
    """Days that the last activity of a tenant is kept. One that is never hibernated and was not used for so long counts
    as never used after that."""
    cost_days: Annotated[int, Field(ge=62, le=3650)] = 800
    """Days that costs and the transitions that they are computed from are kept, so that a year can be compared with the
    one before."""
    sweep_days: Annotated[int, Field(ge=1, le=3650)] = 93
    """Days that a sweep is kept after its start, with its decisions (as long as an operation)."""
    orchestration_days: Annotated[int, Field(ge=1, le=365)] = 14
    """Days that the history of an ended orchestration is kept after its start. It is only for finding out what went
    wrong: all that berth itself needs is in the tables."""


class ReconciliationSettings(_Section):
    """What happens to what does not match between the clusters and the records."""

    repair: bool = True
    """Whether what does not match is repaired: pods and routes that are not as their tenant's state asks at once,
    namespaces and reservations when they are found for the second time, an hour later. With `false` it is only
    reported."""


class ActivitySettings(_Section):
    """Who says whether tenants are used."""

    required_sources: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,39}(,[a-z][a-z0-9-]{0,39})*)?$")] = ""
    """The sources, separated by commas, each of which must have watched a tenant all the time before it counts as idle.
    While it is empty, no tenant is put to sleep."""
    fresh_seconds: Annotated[int, Field(ge=60, le=86400)] = 1800
    """Seconds after which a source that has reported nothing more is away."""
    max_gap_seconds: Annotated[int, Field(ge=0, le=86400)] = 1800
    """Seconds for which a source may be blind, as it is for 15 minutes when a gateway restarts, without the idle days
    of all its tenants beginning anew. All such gaps together may be 2 % of any week. What came only in a gap is not
    seen. 0 forgives none."""

    prometheus_url: Annotated[str, Field(pattern=r"^(https?://[^\s?#@]+)?$")] = ""
    """Address of a Prometheus that scrapes the gateways of all clusters, before /api/v1; empty for none. It is the
    source `prometheus`, which is required then. At Azure Monitor (https://NAME.REGION.prometheus.monitor.azure.com)
    berth's identity needs the role Monitoring Data Reader."""
    activity_query: Annotated[str, Field(min_length=1)] = (
        "sum by (destination_service_namespace) ("
        "istio_requests_total and timestamp(istio_requests_total)"
        " > on (job, cluster, instance) group_left () (timestamp(envoy_server_uptime) - envoy_server_uptime)"
        " and on (job, cluster, instance) envoy_server_uptime < 1200"
        " or last_over_time(istio_requests_total[10m]) - last_over_time(istio_requests_total[10m] offset 10m) >= 0"
        " or last_over_time(istio_requests_total[10m]))"
    )
    """PromQL for the requests of the last 10 minutes by namespace, the one label of each element: by how much each
    counter is higher than it was 10 minutes ago. One that is new, or lower, counts as a whole, because it began with
    the first request, and so do those of a gateway that runs for less than 20 minutes, because they may be as high as
    before. (`increase` would miss the first request, and extrapolate the others.) Leave out here, by labels, what is no
    use of a tenant: probes and monitors."""
    coverage_query: Annotated[str, Field(min_length=1)] = (
        '(resets(envoy_server_uptime{job=~".*gateway.*"}[15m]) == bool 0'
        ' and last_over_time(envoy_server_uptime{job=~".*gateway.*"}[5m]))'
        ' or 0 * last_over_time(up{job=~".*gateway.*"}[10m])'
    )
    """PromQL for where no request of the last 5 minutes is lost, one element for each gateway, which names its cluster
    by the label `BERTH_ACTIVITY_CLUSTER_LABEL`: 1 if a scrape of it worked and it was not restarted; else 0, because
    what it counted last is not known. A 0, or a cluster without an element, is a gap for that cluster's tenants."""
    cluster_label: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] = "cluster"
    """The label by which each element of the coverage query names its cluster, as it is registered. Azure Monitor puts
    `cluster`, the name of the AKS cluster, on every series. Where that is another name, translate it in the query with
    `label_replace`. Elements without the label count only while a single cluster is registered."""
    ignore_requests: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Requests in 10 minutes up to which a tenant does not count as used, such as those of a monitor. Allow for those
    of 20 minutes and one more: so many a gateway counts that has just been started. The waiting room has to recognise
    the monitor by its `User-Agent`: else it wakes the tenant that it watches."""

    @property
    def required(self) -> frozenset[str]:
        """The names of the sources that are required."""
        named = frozenset(self.required_sources.split(",")) - {""}
        return named | {PROMETHEUS} if self.prometheus_url else named


class SweepSettings(_Section):
    """The nightly sweep, which puts dormant tenants to sleep."""

    schedule: Annotated[str, Field(min_length=1)]
    """When the nightly sweep starts, as an NCRONTAB expression such as `0 30 2 * * *`, at 02:30 UTC. The Functions host
    reads it."""
    enabled: bool = True
    """Whether sweeps put tenants to sleep. With `false` the timer only logs, a sweep that runs ends before its next
    action, and only dry runs can be started."""
    concurrency: Annotated[int, Field(ge=1, le=20)] = 10
    """Hibernations that a sweep has running at the same time."""
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The share of all plan weights that are awake which one sweep may put to sleep, at least one tenant. If more look
    dormant, the sweep refuses to put any to sleep: then the signals of activity are more likely wrong than the tenants
    idle."""
    max_tenants: Annotated[int, Field(ge=1, le=10_000)] = 500
    """How many tenants one sweep may put to sleep, however many there are; if more look dormant, it refuses too."""


class PricesSettings(_Section):
    """Where the prices come from that costs are computed with, besides the document shared/prices.yaml."""

    schedule: Annotated[str, Field(min_length=1)]
    """When the prices are refreshed, as an NCRONTAB expression such as `0 23 4 * * *`, at 04:23 UTC. The Functions host
    reads it."""
    refresh: bool = False
    """Whether Azure's public price list is asked at all. With `false` the prices are those of the document, and those
    that were found before."""
    api_url: Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")] = "https://prices.azure.com/api/retail/prices"
    """Address of Azure's public price list, which wants no sign-in."""
    max_factor: Annotated[float, Field(gt=1, le=1000)] = 5.0
    """How many times as high or as low as before a price may be; beyond that it is not taken, and logged."""


class CostSettings(_Section):
    """How costs are computed that the documents shared/prices.yaml and shared/assets.yaml give."""

    share_idle: Sharing = Sharing.PROPORTIONAL
    """How what nodes cost without a tenant on them is shared out on their cluster: `proportional` to what each tenant
    pays for nodes, `even` by the time for which each was awake, or `none`."""
    share_overhead: Sharing = Sharing.EVEN
    """How overhead is shared out: `proportional` to what each tenant costs itself, `even` by the time for which each
    existed, awake or asleep, or `none`."""
    price_region: Annotated[str, Field(pattern=r"^([a-z][a-z0-9]{1,39})?$")] = ""
    """Whose prices hold in a region that the price book does not have, such as `westeurope`; empty for none."""
    goal: Annotated[float, Field(gt=0, le=1_000_000)] = 10.0
    """What a customer is to cost in a month at most, in the currency of the price book; reports compare with it."""
    former: Annotated[float, Field(ge=0, le=1_000_000)] = 82.0
    """What a customer cost in a month on the system before; reports compare with it."""


class SignIn(StrEnum):
    """How operators sign in to the ops pages."""

    OFF = "off"
    PLATFORM = "platform"
    KEY = "key"


class OpsSettings(_Section):
    """The ops pages under /api/ops."""

    sign_in: SignIn = SignIn.OFF
    """How operators sign in to the ops pages: `off`, there are none; `platform`, by the authentication of Azure App
    Service in front of the app; `key`, by a one-time link of `./berth ops`. With `platform` and
    that authentication off, the pages refuse everybody: anybody could send the header in which it names the user."""
    role: Annotated[str, Field(min_length=1, max_length=120)] = "berth.operator"
    """The app role that a user needs with `platform`, as it is assigned in Microsoft Entra."""
    key: SecretStr = SecretStr("")
    """What cookies, links and forms of the ops pages are signed with: at least 32 random characters, kept in a key
    vault; needed unless `BERTH_OPS_SIGN_IN` is `off`. With another key everybody has to sign in again."""

    @model_validator(mode="after")
    def _key_is_long(self) -> Self:
        if self.sign_in is not SignIn.OFF and len(self.key.get_secret_value()) < MIN_OPS_KEY:
            raise ValueError(f"set BERTH_OPS_KEY to at least {MIN_OPS_KEY} random characters")
        return self


class SampleSettings(_Section):
    """The sample signup page at /api/sample/signup."""

    enabled: bool = False
    """Whether there is the sample signup page, which shows a portal's developer how to call the API. For trying only:
    anybody who can open it signs tenants up without a key. Leave it off in production."""
    signups_per_hour: Annotated[int, Field(ge=1, le=100)] = 20
    """How many tenants the sample may sign up in an hour, 1 to 100, whoever asks; those beyond get the response 429."""


class TenantSettings(_Section):
    """What tenants are made from."""

    owner: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    """This berth's own id, a DNS label such as the function app's name, and the label `berth.dev/owner` of all that it
    makes. It must be another one for each berth, and never change: what has another owner is neither taken over nor
    removed."""
    image: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9./:_-]+$")]
    """The product's container image without its tag; the tenant's version is the tag."""
    default_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
    """The version of a tenant whose signup names none."""
    secret_seed: Annotated[SecretStr, Field(min_length=MIN_SEED)]
    """What every new instance's own secret is derived from: at least 16 random characters, kept in a key vault."""
    former_secret_seeds: SecretStr = SecretStr("")
    """The seeds before it, newest first, separated by commas, kept in a key vault. An instance keeps the seed with
    which it was made; without that it can be put to sleep and deleted, but not woken."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """The port that the product listens on."""
    quarantine_days: Annotated[float, Field(ge=0, le=3650)] = 30.0
    """Days that the slug of a deleted tenant stays taken if the tenant was active, so that old links and cookies never
    reach a stranger."""

    @property
    def former_seeds(self) -> tuple[str, ...]:
        """The former seeds, newest first."""
        text = self.former_secret_seeds.get_secret_value()
        return tuple(each.strip() for each in text.split(",")) if text else ()

    @model_validator(mode="after")
    def _seeds_are_long(self) -> Self:
        if any(len(each) < MIN_SEED or each.startswith(_REFERENCE) for each in self.former_seeds):
            raise ValueError(f"each of BERTH_TENANTS_FORMER_SECRET_SEEDS has at least {MIN_SEED} characters")
        return self


class Settings(BaseSettings):
    """The whole tree."""

    # The first underscore after the prefix ends the section's name; the rest is the field's.
    model_config = SettingsConfigDict(
        frozen=True, env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1, extra="ignore"
    )

    # A section of which nothing is set is validated like an empty one, so that each missing field is named.
    tables: TableSettings = Field(default={}, validate_default=True)
    kubernetes: KubernetesSettings = KubernetesSettings()
    provisioning: ProvisioningSettings = ProvisioningSettings()
    recovery: RecoverySettings = Field(default={}, validate_default=True)
    idempotency: IdempotencySettings = IdempotencySettings()
    retention: RetentionSettings = RetentionSettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    activity: ActivitySettings = ActivitySettings()
    sweep: SweepSettings = Field(default={}, validate_default=True)
    prices: PricesSettings = Field(default={}, validate_default=True)
    costs: CostSettings = CostSettings()
    ops: OpsSettings = OpsSettings()
    sample: SampleSettings = SampleSettings()
    tenants: TenantSettings = Field(default={}, validate_default=True)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: Something is missing, out of range, or has a name that no setting has.
    """
    wrong = [f"  {name}: there is no such setting" for name in _unknown(os.environ)]
    wrong += [
        f"  {name}: the Key Vault reference is not resolved; the portal says why, under the app's environment variables"
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and value.startswith(_REFERENCE)
    ]
    try:
        settings = Settings()
    except ValidationError as error:
        wrong += [f"  {_variable(*each['loc'])}: {each['msg']}" for each in error.errors(include_input=False)]
    except SourceError:  # a variable with a section's name alone, which is among the unknown ones
        pass
    else:
        if not wrong:
            return settings
    raise SettingsError("\n".join(["berth's settings are wrong:", *wrong])) from None


def describe() -> Iterator[tuple[str, str, str]]:
    """Yield the variable, the default and the meaning of every setting."""
    for section, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        for name, setting in field.annotation.model_fields.items():
            yield _variable(section, name), _default(setting), setting.description or ""


def _unknown(environment: Iterable[str]) -> list[str]:
    """Return the variables that name a section but none of its fields, such as a misspelled one."""
    known = {variable for variable, _, _ in describe()}
    sections = tuple(_variable(section) for section in Settings.model_fields)
    named = (
        name for name in environment if name in sections or name.startswith(tuple(f"{each}_" for each in sections))
    )
    return sorted(name for name in named if name not in known)


def _default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "required"
    default = setting.default
    return str(default.get_secret_value() if isinstance(default, SecretStr) else default)


def _variable(*location: int | str) -> str:
    return PREFIX + "_".join(str(part) for part in location).upper()
