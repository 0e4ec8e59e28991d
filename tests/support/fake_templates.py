"""What a tenant is made of in memory."""

from collections.abc import Sequence

from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, SLUG
from shared.application.ports.clusters import Manifest
from shared.domain.clusters import Cluster
from shared.domain.instances import namespace_name
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME
from shared.domain.tenants import Tenant
from shared.domain.workloads import Workload, with_replicas, workloads_of
from shared.errors import Permanent, Transient
from tests.support.builders import TENANT_SETTINGS

OBJECTS = 6
"""How many objects of a tenant the fake templates make, without its route."""


class FakeTemplates:
    """Implements `shared.application.ports.clusters.TenantTemplates` with some objects and a route for each tenant.

    Attributes:
        error: What is wrong with the templates, or None.
        present_seed: The id of the seed of new instances.
        oldest_seed: That of instances without a recorded one.
        lost_seeds: The ids of seeds that are not set any more.
    """

    def __init__(self) -> None:
        self.error: Permanent | None = None
        self.present_seed, self.oldest_seed = "seed-1", "seed-1"
        self.lost_seeds: set[str] = set()

    def seed_id(self, *, is_new: bool) -> str:
        """Return the id of a seed."""
        return self.present_seed if is_new else self.oldest_seed

    def render(self, tenant: Tenant, cluster: Cluster, *, is_whole: bool = True) -> Sequence[Manifest]:
        """Return a tenant's objects; raises Transient for a lost seed if they have to be whole."""
        objects = self._render(tenant)
        if tenant.seed_id not in self.lost_seeds:
            return objects
        if is_whole:
            raise Transient("the seed of this tenant's secret is not set: add it")
        return [each for each in objects if each["kind"] != "Secret"]

    def workloads(self, tenant: Tenant, cluster: Cluster) -> Sequence[Workload]:
        """Return a tenant's workloads, whatever seeds are lost."""
        return workloads_of(with_replicas(self._render(tenant), tenant.replicas))

    def _render(self, tenant: Tenant) -> Sequence[Manifest]:
        """Return all objects of a tenant; raises Permanent on demand."""
        if self.error is not None:
            raise self.error
        namespace = namespace_name(tenant.instance)
        labels = {OWNER: TENANT_SETTINGS.owner, INSTANCE: tenant.instance, SLUG: tenant.slug}
        pod = {"containers": [{"name": "product", "image": f"product:{tenant.version}"}]}
        return [
            {"kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
            {"kind": "ConfigMap", "metadata": {"name": "tenant", "namespace": namespace, "labels": labels}},
            {
                "kind": "Secret",
                "metadata": {"name": "tenant", "namespace": namespace, "labels": labels},
                "stringData": {"key": f"of {tenant.instance} from {tenant.seed_id}"},
            },
            {"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace, "labels": labels}},
            {"kind": "Service", "metadata": {"name": "product", "namespace": namespace, "labels": labels}},
            {
                "kind": "StatefulSet",
                "metadata": {"name": "product", "namespace": namespace, "labels": labels},
                "spec": {"selector": {"matchLabels": {INSTANCE: tenant.instance}}, "template": {"spec": pod}},
            },
        ]

    def route(self, tenant: Tenant, cluster: Cluster) -> Manifest:
        """Return a tenant's route."""
        labels = {OWNER: TENANT_SETTINGS.owner, INSTANCE: tenant.instance, SLUG: tenant.slug}
        metadata = {"name": ROUTE_NAME, "namespace": namespace_name(tenant.instance), "labels": labels}
        return {"kind": ROUTE, "metadata": metadata, "spec": {"hostnames": [cluster.host(tenant.slug)]}}
