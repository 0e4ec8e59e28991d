"""To what each line of the bill belongs: to a tenant, the nodes, the overhead, or nothing that berth knows.

Nothing is spread: a line that fits nowhere stays a line of its own group. Azure compares the names of resources, groups
and tags without regard to case, and so does this module.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from shared.domain.base32 import ALPHABET
from shared.domain.bill import BillGroup, BillLine, Charge, Match, resource_type
from shared.domain.instances import NAMESPACE_PREFIX

PVC_NAMESPACE_TAG = "kubernetes.io-created-for-pvc-namespace"
"""The tag that Azure's disk driver gives each disk and snapshot, with the namespace of the claim."""

_INSTANCE = re.compile(rf"{NAMESPACE_PREFIX}[{ALPHABET}]{{10}}")
_NODE_GROUP_PREFIX = "mc_"  # of the resource group that AKS makes for a cluster's nodes, unless it was given a name
_DRIVER_PREFIX = "pvc-"  # of the name of a disk that the driver made

_DISKS = frozenset({"microsoft.compute/disks", "microsoft.compute/snapshots"})
_MACHINES = frozenset({"microsoft.compute/virtualmachinescalesets", "microsoft.compute/virtualmachines"})
_STORAGE = "microsoft.storage/storageaccounts"
_DATABASES = frozenset(
    {
        "microsoft.dbformysql/flexibleservers",
        "microsoft.dbforpostgresql/flexibleservers",
        "microsoft.sql/managedinstances",
        "microsoft.sql/servers",
    }
)
_OVERHEAD = frozenset(
    {
        "microsoft.containerregistry/registries",
        "microsoft.containerservice/managedclusters",
        "microsoft.durabletask/schedulers",
        "microsoft.insights/components",
        "microsoft.insights/metricalerts",
        "microsoft.insights/scheduledqueryrules",
        "microsoft.keyvault/vaults",
        "microsoft.monitor/accounts",
        "microsoft.network/dnszones",
        "microsoft.network/loadbalancers",
        "microsoft.network/natgateways",
        "microsoft.network/privatednszones",
        "microsoft.network/privateendpoints",
        "microsoft.network/publicipaddresses",
        "microsoft.operationalinsights/workspaces",
        _STORAGE,
        "microsoft.web/serverfarms",
        "microsoft.web/sites",
    }
)
# Usage that is charged to the commitment itself is the part that no resource used.
_COMMITMENTS = frozenset({"microsoft.billingbenefits/savingsplanorders", "microsoft.capacity/reservationorders"})
# Of lines without a resource.
_OVERHEAD_SERVICES = frozenset(
    {"azure kubernetes service", "azure monitor", "functions", "load balancer", "log analytics", "virtual network"}
)
_BANDWIDTH = "bandwidth"

_NO_USAGE: Mapping[Charge, BillGroup] = {
    Charge.UNUSED: BillGroup.UNUSED,
    Charge.PURCHASE: BillGroup.PURCHASES,
    Charge.TAX: BillGroup.TAXES,
    Charge.CREDIT: BillGroup.CREDITS,
    Charge.REFUND: BillGroup.REFUNDS,
    Charge.ADJUSTMENT: BillGroup.ADJUSTMENTS,
    Charge.OTHER: BillGroup.UNMATCHED,
}


@dataclass(frozen=True, slots=True)
class BillRules:
    """What an operator says about the resources in the bill, all in lower case.

    Attributes:
        node_groups: The resource groups of the clusters' nodes; without any, each whose name begins with MC_.
        own_groups: The other resource groups of this berth; without any, all that are in the bill.
        tenant_groups: The tenant, by slug, that all resources of a resource group are for.
        tenant_resources: The tenant that a resource, and what is under it, is for.
    """

    node_groups: Set[str] = frozenset()
    own_groups: Set[str] = frozenset()
    tenant_groups: Mapping[str, str] = field(default_factory=dict[str, str])
    tenant_resources: Mapping[str, str] = field(default_factory=dict[str, str])

    def has_nodes(self, group: str) -> bool:
        """Whether a resource group has the nodes of a cluster."""
        return group in self.node_groups if self.node_groups else group.startswith(_NODE_GROUP_PREFIX)

    def has(self, group: str) -> bool:
        """Whether a resource group is this berth's."""
        return self.has_nodes(group) or not self.own_groups or group in self.own_groups

    def tenant_of(self, resource_id: str, group: str) -> str:
        """Return the tenant that a resource is for, or nothing; what is said of the resource itself goes first."""
        above = resource_id
        while above and self.tenant_resources:
            if above in self.tenant_resources:
                return self.tenant_resources[above]
            above = above.rpartition("/")[0]
        return self.tenant_groups.get(group, "")


def match(line: BillLine, rules: BillRules) -> Match:
    """Return to what a line belongs."""
    if line.charge is not Charge.USAGE:
        return Match(_NO_USAGE[line.charge])
    kind, group = resource_type(line.resource_id), line.resource_group.lower()
    if kind in _COMMITMENTS:
        return Match(BillGroup.UNUSED)
    tenant = rules.tenant_of(line.resource_id.lower(), group)
    if tenant:
        return Match(_of_tenant(line, kind), tenant)
    if not rules.has(group):
        return Match(BillGroup.UNMATCHED)
    if line.service.lower() == _BANDWIDTH:
        return Match(BillGroup.NETWORK)
    if kind in _DISKS:
        return _of_disk(line, in_nodes=rules.has_nodes(group))
    if kind in _MACHINES:
        return Match(BillGroup.NODES if rules.has_nodes(group) else BillGroup.UNMATCHED)
    if kind in _DATABASES:
        return Match(BillGroup.DATABASES)
    if kind in _OVERHEAD or (not line.resource_id and line.service.lower() in _OVERHEAD_SERVICES):
        return Match(BillGroup.OVERHEAD)
    return Match(BillGroup.UNMATCHED)


def _of_tenant(line: BillLine, kind: str) -> BillGroup:
    """Return the group of a line of which an operator said whose it is."""
    if line.service.lower() == _BANDWIDTH:
        return BillGroup.NETWORK
    if kind in _DISKS or kind == _STORAGE:
        return BillGroup.VOLUMES
    if kind in _MACHINES:
        return BillGroup.NODES
    return BillGroup.DATABASES if kind in _DATABASES else BillGroup.UNMATCHED


def _of_disk(line: BillLine, *, in_nodes: bool) -> Match:
    """Match a disk or a snapshot: by the driver's tag a tenant's or somebody else's volume, else a node's own disk."""
    if line.tags is None:
        return Match(BillGroup.UNMATCHED)
    namespace = next((value for name, value in line.tags.items() if name.lower() == PVC_NAMESPACE_TAG), "")
    if _INSTANCE.fullmatch(namespace):
        return Match(BillGroup.VOLUMES, namespace)
    kind, _, name = line.resource_id.lower().rpartition("/")
    of_node = kind.endswith("/disks") and in_nodes and not namespace and not name.startswith(_DRIVER_PREFIX)
    return Match(BillGroup.NODES if of_node else BillGroup.UNMATCHED)
