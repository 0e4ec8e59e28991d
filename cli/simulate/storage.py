"""Where the tenants' files are: on a disk each, or in folders of a share for all tenants of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from shared.domain.assets import Assets
from shared.domain.plans import Plans
from shared.domain.prices import PriceBook, PriceId

DISK, FILES = "disk", "files"
FILES_PRICE = PriceId("files:SSD_LRS")
OPERATION: Mapping[str, Decimal] = {
    "flex:on-demand:executions": Decimal(10),
    "flex:on-demand:time": Decimal(60),
    "tables:Standard_LRS:operations": Decimal(20),
    "logs:analytics": Decimal("0.00001"),
}
"""What an operation takes of berth itself at most: ten executions, 30 s on 2 GB as if none ran beside another, 20 table
requests (a wake has 17, its sweep 1.1) and 10 KB of log."""
METERED = {True: 30, False: 2}
"""Table requests of a tenant and day at most, awake and asleep, metering included."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A kind of storage, with the documents that say what it costs, and what is assumed of it."""

    name: str
    assets: Assets
    book: PriceBook
    assumed: str


def storages(plans: Plans, assets: Assets, book: PriceBook, used: float) -> Mapping[str, Storage]:
    """Return both kinds.

    Files cost what is in them: a volume of a plan is priced as a disk whose price is that of the part that is used.

    Args:
        plans: The plans.
        assets: What the documents say, with disks.
        book: Their prices.
        used: Which share of its volume a tenant uses.
    """
    of_files = replace(assets, disks=dict.fromkeys(assets.disks, "files"), attach_share=Decimal(0))
    sizes = {of_files.disk_price(each.size.storage_class, each.size.volume_gib): each.size for each in plans.values()}
    prices = [
        replace(price, id=name, amount=price.amount * size.volume_gib * Decimal(str(used)))
        for name, size in sizes.items()
        for price in book.prices
        if price.id == FILES_PRICE
    ]
    return {
        DISK: Storage(
            DISK, assets, book, "a disk of its own for each tenant, charged by the step of its size, awake and asleep"
        ),
        FILES: Storage(
            FILES,
            of_files,
            book.with_stored(prices),
            f"a folder for each tenant in one share on SSD ({FILES_PRICE}), without a quota; tenants use {used:.0%} of "
            "their volume, and the share is as large as all of them together, though Azure's smallest has 32 GiB. It "
            "is taken to be as fast as the disks, and IOPS beyond those that are included are not priced. Nodes "
            "need no places for disks",
        ),
    }


def with_operations(assets: Assets, operations: Decimal, awake_days: Decimal, asleep_days: Decimal) -> Assets:
    """Return assets whose overhead of berth itself also has what a month of a fleet adds to that of the document.

    Args:
        assets: What the document says.
        operations: How many operations there are a month.
        awake_days: Days of tenants awake a month.
        asleep_days: The same asleep.
    """
    added = {price: each * operations for price, each in OPERATION.items()}
    added["tables:Standard_LRS:operations"] += awake_days * METERED[True] + asleep_days * METERED[False]
    of_all = [replace(each, quantity=each.quantity + added.get(each.price, Decimal(0))) for each in assets.of_all]
    return replace(assets, of_all=of_all)
