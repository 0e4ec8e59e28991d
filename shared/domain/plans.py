"""Plans: what a tenant gets. Quantities are Kubernetes quantities."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of one tenant.

    Requests are what is reserved and paid for; limits are what a burst may take. `weight` is the share of a cluster's
    capacity that a tenant uses up, in multiples of the smallest plan.
    """

    name: str
    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    volume: str
    weight: int


# 0.25 core and 0.5 GB cost about $7.80 a month always on at OpenCost's default Azure prices, and under $2 when a trial
# is awake for 176 of 730 hours: below the $10 that low use may cost. Each larger plan doubles or more.
PLANS = {
    plan.name: plan
    for plan in (
        Plan("trial", "250m", "1", "512Mi", "512Mi", "5Gi", 1),
        Plan("standard", "500m", "2", "1Gi", "1Gi", "20Gi", 2),
        Plan("business", "2", "4", "4Gi", "4Gi", "100Gi", 8),
    )
}
