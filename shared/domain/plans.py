"""Plans: what a tenant gets. The document shared/plans.yaml has them; quantities are Kubernetes quantities."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.policy import DormancyPolicy
from shared.domain.uses import Size
from shared.errors import NoRoom


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of one tenant, and when it counts as dormant.

    Requests are what is reserved and paid for; limits are what a burst may take. `scratch` is the size of /tmp, which
    counts towards `ephemeral_storage`, as do the logs on the node, up to 250 MB on AKS. An empty `storage_class` is the
    cluster's default. `priority` is one of the classes in infra/kubernetes/priority-classes.yaml. `weight` is the share
    of a cluster's capacity that a tenant uses up, in multiples of the smallest plan. `saves` is what a tenant costs
    less while it sleeps, in US dollars a month. `budget` is what a tenant may cost in a month before that is logged; 0
    is no budget.
    """

    name: str
    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    ephemeral_storage: str
    scratch: str
    volume: str
    storage_class: str
    priority: str
    weight: int
    saves: float
    dormancy: DormancyPolicy
    budget: float = 0.0

    @property
    def size(self) -> Size:
        """What an instance of it uses."""
        cpu, memory = self.cpu_request, self.memory_request
        return Size(
            cpu_millicores=int(cpu[:-1]) if cpu.endswith("m") else 1000 * int(cpu),
            memory_mib=int(memory[:-2]) * (1024 if memory.endswith("Gi") else 1),
            volume_gib=int(self.volume.removesuffix("Gi")),
            storage_class=self.storage_class,
        )


type Plans = Mapping[str, Plan]
"""All plans by their names, in the order of the document."""


def plan_of(plans: Plans, name: str) -> Plan:
    """Return the plan of a tenant; raises NoRoom for one that the document does not have any more."""
    try:
        return plans[name]
    except KeyError:
        remedy = f"put the plan {name} back into shared/plans.yaml"
        raise NoRoom(f"there is no plan {name} any more", remedy) from None
