"""To what each line of the bill belongs."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from shared.domain.bill import BillGroup, BillLine, Charge, Match, amount_of, resource_type
from shared.domain.bill_matching import PVC_NAMESPACE_TAG, BillRules, match
from shared.domain.instances import namespace_name, new_instance_id

NODES, OWN = "MC_rg-berth_weu-1_westeurope", "rg-berth"
NAMESPACE = "tenant-0g5r8w3x9a"
TAGS = {PVC_NAMESPACE_TAG: NAMESPACE}


def line(resource: str, *, group: str = NODES, service: str = "", tags: dict[str, str] | None = None) -> BillLine:
    resource_id = f"/subscriptions/1/resourceGroups/{group}/providers/{resource}" if resource else ""
    day, given = date(2026, 10, 1), tags or {}
    return BillLine(day, day, Decimal(1), "USD", Charge.USAGE, service, resource_id, group, given)


DISK = line("Microsoft.Compute/disks/pvc-1", tags=TAGS)
RULES = BillRules(own_groups=frozenset({OWN}))


def test_a_namespace_of_berth_is_an_instances() -> None:
    namespace = namespace_name(new_instance_id())
    assert match(replace(DISK, tags={PVC_NAMESPACE_TAG: namespace}), BillRules()).tenant == namespace


@pytest.mark.parametrize("resource", ["disks/pvc-1", "snapshots/snapshot-1", "DISKS/any-name"])
def test_the_drivers_tag_makes_it_a_tenants_volume(resource: str) -> None:
    assert match(line(f"Microsoft.Compute/{resource}", tags=TAGS), RULES) == Match(BillGroup.VOLUMES, NAMESPACE)
    upper = {PVC_NAMESPACE_TAG.upper(): NAMESPACE}
    assert match(line(f"Microsoft.Compute/{resource}", tags=upper), RULES) == Match(BillGroup.VOLUMES, NAMESPACE)


@pytest.mark.parametrize("namespace", ["monitoring", "tenant-acme", "tenant-", f"{NAMESPACE}x", "tenant-IIIIIIIIII"])
def test_a_volume_of_another_namespace_is_nobodys(namespace: str) -> None:
    disk = replace(DISK, tags={PVC_NAMESPACE_TAG: namespace})
    assert match(disk, BillRules()) == Match(BillGroup.UNMATCHED)


@pytest.mark.parametrize(
    ("resource", "group", "found"),
    [
        ("disks/aks-pool-vmss_OsDisk_1", NODES, BillGroup.NODES),
        ("disks/pvc-2", NODES, BillGroup.UNMATCHED),  # of the driver, but without its tags: nobody knows whose
        ("disks/data", OWN, BillGroup.UNMATCHED),
        ("snapshots/data", NODES, BillGroup.UNMATCHED),
    ],
)
def test_a_disk_without_the_tag_is_a_nodes_or_nobodys(resource: str, group: str, found: BillGroup) -> None:
    assert match(line(f"Microsoft.Compute/{resource}", group=group), RULES) == Match(found)


@pytest.mark.parametrize(
    ("resource", "group", "service", "found"),
    [
        ("Microsoft.Compute/virtualMachineScaleSets/aks", NODES, "Virtual Machines", BillGroup.NODES),
        ("Microsoft.Compute/virtualMachineScaleSets/aks", "mc_other", "Virtual Machines", BillGroup.NODES),
        ("Microsoft.Compute/virtualMachineScaleSets/aks", NODES, "Bandwidth", BillGroup.NETWORK),
        ("Microsoft.Compute/virtualMachines/jump", OWN, "Virtual Machines", BillGroup.UNMATCHED),
        ("Microsoft.Network/loadBalancers/kubernetes", NODES, "Load Balancer", BillGroup.OVERHEAD),
        ("Microsoft.Network/publicIPAddresses/one", NODES, "Virtual Network", BillGroup.OVERHEAD),
        ("Microsoft.ContainerService/managedClusters/weu-1", OWN, "", BillGroup.OVERHEAD),
        ("Microsoft.OperationalInsights/workspaces/logs", OWN, "Log Analytics", BillGroup.OVERHEAD),
        ("Microsoft.Web/sites/berth", OWN, "Functions", BillGroup.OVERHEAD),
        ("Microsoft.Storage/storageAccounts/berth", OWN, "Storage", BillGroup.OVERHEAD),
        ("Microsoft.Storage/storageAccounts/berth", "rg-other", "Storage", BillGroup.UNMATCHED),
        ("Microsoft.DBforPostgreSQL/flexibleServers/all", OWN, "", BillGroup.DATABASES),
        ("Microsoft.Cache/Redis/other", OWN, "Redis Cache", BillGroup.UNMATCHED),
        ("Microsoft.Capacity/reservationOrders/1/reservations/2", OWN, "Virtual Machines", BillGroup.UNUSED),
        ("", OWN, "Log Analytics", BillGroup.OVERHEAD),
        ("", "", "Log Analytics", BillGroup.UNMATCHED),
        ("", OWN, "Support", BillGroup.UNMATCHED),
    ],
)
def test_the_rest_is_matched_by_type_and_group(resource: str, group: str, service: str, found: BillGroup) -> None:
    assert match(line(resource, group=group, service=service), RULES) == Match(found)


def test_a_disk_whose_tags_cannot_be_read_is_nobodys() -> None:
    disk = replace(line("Microsoft.Compute/disks/aks-pool-vmss_OsDisk_1"), tags=None)
    assert match(disk, RULES) == Match(BillGroup.UNMATCHED)


def test_named_node_groups_are_the_only_ones() -> None:
    rules = BillRules(node_groups=frozenset({"nodes-one"}), own_groups=frozenset({OWN}))
    machine = "Microsoft.Compute/virtualMachineScaleSets/aks"
    assert match(line(machine, group="Nodes-One"), rules) == Match(BillGroup.NODES)
    assert match(line(machine), rules) == Match(BillGroup.UNMATCHED)
    assert match(DISK, rules) == Match(BillGroup.UNMATCHED)  # a tenant of another berth


def test_what_an_operator_says_goes_first() -> None:
    server = "/subscriptions/1/resourcegroups/rg-berth/providers/microsoft.sql/servers/one"
    rules = BillRules(
        own_groups=frozenset({OWN}),
        tenant_groups={"rg-acme": "acme"},
        tenant_resources={f"{server}/databases/beta": "beta", server: "shared"},
    )
    database = line("Microsoft.Sql/servers/One/databases/Beta", group=OWN)
    assert match(database, rules) == Match(BillGroup.DATABASES, "beta")
    other = line("Microsoft.Sql/servers/One/databases/Beta2", group=OWN)
    assert match(other, rules) == Match(BillGroup.DATABASES, "shared")
    assert match(line("Microsoft.Sql/servers/One2", group=OWN), rules) == Match(BillGroup.DATABASES)
    of_acme = {
        "Microsoft.Storage/storageAccounts/a": BillGroup.VOLUMES,
        "Microsoft.Compute/disks/a": BillGroup.VOLUMES,
        "Microsoft.Compute/virtualMachines/a": BillGroup.NODES,
        "Microsoft.Cache/Redis/a": BillGroup.UNMATCHED,
    }
    for resource, group in of_acme.items():
        assert match(line(resource, group="RG-Acme"), rules) == Match(group, "acme")
    bandwidth = line("Microsoft.Storage/storageAccounts/a", group="rg-acme", service="Bandwidth")
    assert match(bandwidth, rules) == Match(BillGroup.NETWORK, "acme")


@pytest.mark.parametrize("charge", [each for each in Charge if each is not Charge.USAGE])
def test_what_is_no_usage_is_no_tenants(charge: Charge) -> None:
    rules = BillRules(tenant_groups={NODES.lower(): "acme"})
    found = match(replace(DISK, charge=charge), rules)
    assert not found.tenant
    assert found.group not in {BillGroup.VOLUMES, BillGroup.NODES}
    assert (found.group is BillGroup.UNMATCHED) == (charge is Charge.OTHER)


def test_the_type_of_a_resource() -> None:
    assert resource_type(DISK.resource_id) == "microsoft.compute/disks"
    assert resource_type("/providers/Microsoft.Capacity/reservationOrders/1") == "microsoft.capacity/reservationorders"
    assert [resource_type(each) for each in ("", "one", "/subscriptions/1", "/providers/Microsoft.Compute")] == [""] * 4


@pytest.mark.parametrize(
    "text", ["", "NaN", "Infinity", "1,5", "1_0", "٣", "0x1", "1e999", "1e18", "1e-41", "--1", "$1"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number|too many digits"):
        amount_of(text)


@pytest.mark.parametrize("text", ["0", "-1.50", "6.123E-7", "+2", ".5", "5.", "999999999999999999", "1e-40", "0e5"])
def test_amounts_keep_their_digits(text: str) -> None:
    assert amount_of(text) == Decimal(text)
