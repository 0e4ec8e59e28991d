"""Instances: what runs for a tenant on a cluster.

A tenant gets a new instance whenever it is provisioned; the id is random, so that nothing that belongs to one instance
is ever mistaken for another's: a late write or deletion of work that has ended meets a namespace and a reservation that
nobody else uses.
"""

from secrets import randbelow
from typing import NewType

from shared.domain.base32 import base32

InstanceId = NewType("InstanceId", str)

NO_INSTANCE = InstanceId("")
NAMESPACE_PREFIX = "tenant-"


def new_instance_id() -> InstanceId:
    """Return an id of ten letters and digits that no other instance has (50 random bits)."""
    return InstanceId(base32(randbelow(1 << 50)))


def namespace_name(instance: InstanceId) -> str:
    """Return the name of the instance's namespace; raises ValueError for a tenant without an instance."""
    if not instance:
        raise ValueError("there is no instance, so there is no namespace")
    return f"{NAMESPACE_PREFIX}{instance}"
