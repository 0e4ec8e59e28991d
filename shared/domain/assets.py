"""What costs money besides the tenants' own disks: the machines of the clusters, and overhead.

The document shared/assets.yaml names them. Each is priced by an id of the price book.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.domain.clusters import ClusterName
from shared.domain.prices import PriceId

# Sizes in GiB up to which each step of managed disks goes, and their numbers, as in E4 or P10. Steps beyond are not
# used by plans. Source: the size table of the page "Azure managed disk types".
_DISK_STEPS = ((4, 1), (8, 2), (16, 3), (32, 4), (64, 6), (128, 10), (256, 15), (512, 20), (1024, 30))
_DISK_LETTERS = {"StandardSSD": "E", "Premium": "P", "Standard": "S"}


class Sharing(StrEnum):
    """How a cost that no single tenant causes is shared out: by what each costs, evenly by time, or not at all."""

    PROPORTIONAL = "proportional"
    EVEN = "even"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has, and how many data disks it takes."""

    cpu_millicores: int
    memory_mib: int
    disks: int


@dataclass(frozen=True, slots=True)
class Nodes:
    """So many nodes of one machine; `machine` is its name at Azure, and empty if the node does not say it."""

    machine: str
    spot: bool
    count: int


@dataclass(frozen=True, slots=True)
class SeenNodes:
    """The nodes of a cluster from a moment on, until others are seen."""

    cluster: ClusterName
    at: datetime
    nodes: Sequence[Nodes]


@dataclass(frozen=True, slots=True)
class Overhead:
    """Something that runs for all: a price, and how many of it; of what is charged by number, how many a month."""

    price: PriceId
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Assets:
    """What the document says.

    Attributes:
        machines: What each machine has, by its name.
        reference: The machine whose price counts for a cluster whose nodes are not known.
        disks: The kind of disk of each storage class; the empty one is the cluster's default.
        attach_share: The part of a node's price that is for its places for disks.
        of_each_cluster: What each cluster needs besides nodes.
        of_all: What there is once, for all clusters.
    """

    machines: Mapping[str, Machine]
    reference: str
    disks: Mapping[str, str]
    attach_share: Decimal
    of_each_cluster: Sequence[Overhead]
    of_all: Sequence[Overhead]

    def disk_price(self, storage_class: str, gib: int) -> PriceId:
        """Return the price id of a volume's disk; that of a class or size that is not known is in no book."""
        kind = self.disks.get(storage_class, f"storage-class-{storage_class}")
        letter = _DISK_LETTERS.get(kind.partition("_")[0], "")
        step = next((number for size, number in _DISK_STEPS if gib <= size), None)
        return PriceId(f"disk:{kind}:{letter}{step}" if letter and step else f"disk:{kind}:{gib}GiB")


def machine_price(machine: str, *, spot: bool = False) -> PriceId:
    """Return the price id of a machine with Linux."""
    return PriceId(f"vm:{machine}:spot" if spot else f"vm:{machine}:linux")
