"""Plans: what a tenant gets. Quantities are Kubernetes quantities."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of one tenant.

    Requests are what is reserved and paid for; limits are what a burst may take. `weight` is the share of a cluster's
    capacity that a tenant uses up, in multiples of the smallest plan. `scratch` is the size of /tmp, which counts
    towards `ephemeral_storage`, as do the logs on the node, up to 250 MB on AKS. `priority` is one of the classes in
    infra/kubernetes/priority-classes.yaml.
    """

    name: str
    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    ephemeral_storage: str
    scratch: str
    volume: str
    priority: str
    weight: int


# 0.25 core and 0.5 GB cost about $7.80 a month always on at OpenCost's default Azure prices, and under $2 when a trial
# is awake for 176 of 730 hours: below the $10 that low use may cost. Each larger plan doubles or more.
PLANS = {
    plan.name: plan
    for plan in (
        Plan("trial", "250m", "1", "512Mi", "512Mi", "512Mi", "256Mi", "5Gi", "berth-trial", 1),
        Plan("standard", "500m", "2", "1Gi", "1Gi", "1Gi", "512Mi", "20Gi", "berth-paid", 2),
        Plan("business", "2", "4", "4Gi", "4Gi", "2Gi", "1Gi", "100Gi", "berth-paid", 8),
    )
}
