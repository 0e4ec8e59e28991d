"""The components of a cost, in the terms of the OpenCost specification.

What the assets cost in all is what workloads cost, and idle, and overhead.
"""

from enum import StrEnum


class Component(StrEnum):
    """A part of what a tenant costs."""

    COMPUTE = "compute"  # the node's cores and memory, while the instance is awake
    VOLUME = "volume"  # its disk, awake and asleep
    ATTACH = "attach"  # the node's place for a disk, while the instance is awake
    DATABASE = "database"
    NETWORK = "network"  # what leaves the region
    IDLE = "idle"  # its share of what the nodes of its cluster cost without a workload on them
    OVERHEAD = "overhead"  # its share of control plane, gateway, addresses, logs and berth itself
