"""A tenant's Kubernetes objects, from the YAML templates under shared/templates/tenant/.

The templates are Jinja2 (alive, and known to operators from Ansible and Helm-like tools). Whatever `{{ }}` yields is
written as one quoted YAML scalar, so that no value can become structure; a name that does not exist is an error.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, Template, TemplateError, Undefined

from shared.adapters.secret_seeds import SecretSeeds
from shared.adapters.strict_yaml import StrictLoader
from shared.domain.clusters import Cluster
from shared.domain.instances import namespace_name
from shared.domain.plans import Plan, Plans, plan_of
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME
from shared.domain.tenants import Tenant
from shared.domain.workloads import Workload, with_replicas, workloads_of
from shared.errors import Permanent, Transient
from shared.settings import TenantSettings

FOLDER = Path(__file__).parents[1] / "templates/tenant"
ROUTE_FILE = "70-route.yaml"  # rendered apart from the others: it is applied last, and removed first
QUOTA_FACTOR = 2  # room for a new pod beside the one that it replaces
_NO_SECRETS = ("0" * 64, "1" * 64)  # in the place of a secret; what differs between the two depends on it

type Manifest = dict[str, Any]


class YamlTenantTemplates:
    """Implements `shared.application.ports.clusters.TenantTemplates`.

    Args:
        settings: What is the same for all tenants.
        plans: What differs by plan.
        folder: Where the templates are; they are read once, in the order of their names.
    """

    def __init__(self, settings: TenantSettings, plans: Plans, folder: Path = FOLDER) -> None:
        self._settings = settings
        self._plans = plans
        self._seeds = SecretSeeds(settings.secret_seed.get_secret_value(), settings.former_seeds)
        environment = Environment(undefined=StrictUndefined, finalize=_scalar, autoescape=False)  # noqa: S701 - YAML
        self._templates = dict(_template(environment, path) for path in sorted(folder.glob("*.yaml")))
        route = self._templates.pop(ROUTE_FILE, None)
        if route is None:
            raise Permanent(f"there is no template {ROUTE_FILE} in {folder.name}")
        self._route = route

    def seed_id(self, *, is_new: bool) -> str:
        """Return the id of the seed of a new instance's secret, or of an instance that is older than the record."""
        return self._seeds.present_id if is_new else self._seeds.oldest_id

    def render(self, tenant: Tenant, cluster: Cluster, *, is_whole: bool = True) -> Sequence[Manifest]:
        """Return a tenant's objects on a cluster in the order of the files, without its route.

        Without `is_whole`, what depends on its secret is left out if the seed of that is not set here.

        Raises:
            Permanent: A template is wrong, or the cluster has no gateway.
            NoRoom: The tenant's plan is not there any more.
            Transient: The seed of its secret is not set here.
        """
        try:
            secret = self._seeds.secret(tenant.instance, tenant.seed_id)
        except Transient:
            if is_whole:
                raise
            first, second = (self._render(tenant, cluster, each) for each in _NO_SECRETS)
            return [each for each in first if each in second]
        return self._render(tenant, cluster, secret)

    def workloads(self, tenant: Tenant, cluster: Cluster) -> Sequence[Workload]:
        """Return a tenant's workloads, which no secret changes; raises what `render` does, but for the seed."""
        return workloads_of(with_replicas(self._render(tenant, cluster, _NO_SECRETS[0]), tenant.replicas))

    def route(self, tenant: Tenant, cluster: Cluster) -> Manifest:
        """Return a tenant's route on a cluster, without its secret; raises what `workloads` does."""
        objects = _objects(ROUTE_FILE, self._route, self._values(tenant, cluster))
        if [(each["kind"], each["metadata"].get("name")) for each in objects] != [(ROUTE, ROUTE_NAME)]:
            raise Permanent(f"template {ROUTE_FILE}: it has to be one {ROUTE} with the name {ROUTE_NAME}")
        return objects[0]

    def _render(self, tenant: Tenant, cluster: Cluster, secret: str) -> Sequence[Manifest]:
        values = {**self._values(tenant, cluster), "tenant_secret": secret}
        return [manifest for name, each in self._templates.items() for manifest in _objects(name, each, values)]

    def _values(self, tenant: Tenant, cluster: Cluster) -> dict[str, str | int]:
        return template_values(tenant, plan_of(self._plans, tenant.plan), cluster, self._settings)


def template_values(tenant: Tenant, plan: Plan, cluster: Cluster, settings: TenantSettings) -> dict[str, str | int]:
    """Return all names that a template may use, with their values; all but the route's may use `tenant_secret`, too.

    Raises Permanent for a cluster without a gateway.
    """
    gateway = cluster.gateway
    if gateway is None:
        raise Permanent(f"the cluster {cluster.name} has no gateway; register it again, with its domain and gateway")
    return {
        "owner": settings.owner,
        "slug": tenant.slug,
        "instance": tenant.instance,
        "namespace": namespace_name(tenant.instance),
        "display_name": tenant.display_name,
        "plan": plan.name,
        "version": tenant.version,
        "operation_id": tenant.operation.id,
        "host": cluster.host(tenant.slug),
        "gateway_namespace": gateway.namespace,
        "gateway_name": gateway.name,
        "gateway_listener": gateway.listener,
        "gateway_pods_namespace": gateway.pods_namespace,
        "image": settings.image,
        "port": settings.port,
        "storage_class": plan.storage_class,
        "cpu_request": plan.cpu_request,
        "cpu_limit": plan.cpu_limit,
        "memory_request": plan.memory_request,
        "memory_limit": plan.memory_limit,
        "ephemeral_storage": plan.ephemeral_storage,
        "scratch": plan.scratch,
        "volume": plan.volume,
        "priority": plan.priority,
        "quota_cpu_request": _times(plan.cpu_request, QUOTA_FACTOR),
        "quota_cpu_limit": _times(plan.cpu_limit, QUOTA_FACTOR),
        "quota_memory_request": _times(plan.memory_request, QUOTA_FACTOR),
        "quota_memory_limit": _times(plan.memory_limit, QUOTA_FACTOR),
        "quota_ephemeral_storage": _times(plan.ephemeral_storage, QUOTA_FACTOR),
        "quota_storage": _times(plan.volume, QUOTA_FACTOR),
    }


def _template(environment: Environment, path: Path) -> tuple[str, Template]:
    try:
        return path.name, environment.from_string(path.read_text(encoding="utf-8"))
    except TemplateError as error:
        raise Permanent(f"template {path.name}: {error}") from error


def _objects(name: str, template: Template, values: Mapping[str, str | int]) -> list[Manifest]:
    try:
        documents = list(yaml.load_all(template.render(values), StrictLoader))
    except (TemplateError, yaml.YAMLError, ValueError) as error:
        raise Permanent(f"template {name}: {error}") from error
    for document in documents:
        if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
            raise Permanent(f"template {name}: a document is not a Kubernetes object")
    return documents


def _scalar(value: object) -> str | Undefined:
    """Write a value as one YAML scalar. A double-quoted one can hold all of Unicode and has no way out but its end."""
    match value:
        case Undefined():
            return value  # rendering it names the missing name
        case bool() | int():
            return json.dumps(value)
        case str():
            # JSON's escapes are YAML's too, but YAML writes what is beyond 16 bits in one piece.
            return re.sub(r"[^\x20-\x7e]", _escape, json.dumps(value, ensure_ascii=False))
        case _:
            raise ValueError(f"a template can use text and whole numbers, not {type(value).__name__}")


def _escape(letter: re.Match[str]) -> str:
    return f"\\U{ord(letter[0]):08x}"


def _times(quantity: str, factor: int) -> str:
    number = quantity.rstrip("mMGi")
    return f"{int(number) * factor}{quantity[len(number) :]}"
