"""Cost exports with the headers that Microsoft documents for each format, and values as a small fleet has them."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SUBSCRIPTION = "/subscriptions/0b1f6471-1bf0-4dda-aec3-111122223333"
NODE_GROUP = "MC_rg-berth_weu-1_westeurope"
OWN_GROUP = "rg-berth"
NAMESPACE = "tenant-0g5r8w3x9a"

_FOCUS_HEAD = """
    BilledCost BillingAccountId BillingAccountName BillingAccountType BillingCurrency BillingPeriodEnd
    BillingPeriodStart ChargeCategory ChargeClass ChargeDescription ChargeFrequency ChargePeriodEnd ChargePeriodStart
    CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName CommitmentDiscountStatus
    CommitmentDiscountType ConsumedQuantity ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost"""
_FOCUS_TAIL = """
    InvoiceIssuerName ListCost ListUnitPrice PricingCategory PricingQuantity PricingUnit ProviderName PublisherName
    RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName SkuId SkuPriceId SubAccountId
    SubAccountName SubAccountType Tags x_AccountId x_AccountName x_AccountOwnerId x_BilledCostInUsd x_BilledUnitPrice
    x_EffectiveCostInUsd x_EffectiveUnitPrice x_ResourceGroupName x_ResourceType x_SkuDescription x_SkuDetails
    x_SkuMeterCategory x_SkuMeterId"""
FOCUS_1_0 = f"{_FOCUS_HEAD} {_FOCUS_TAIL} x_SkuMeterName x_SkuMeterSubcategory x_SkuTier".split()
FOCUS_1_2 = f"{_FOCUS_HEAD} InvoiceId {_FOCUS_TAIL} x_SkuMeterSubcategory SkuMeter SkuPriceDetails x_SkuTier".split()
_EA = """
    InvoiceSectionName AccountName AccountOwnerId SubscriptionId SubscriptionName ResourceGroup ResourceLocation Date
    ProductName MeterCategory MeterSubCategory MeterId MeterName MeterRegion UnitOfMeasure Quantity EffectivePrice Cost
    CostCenter ConsumedService ResourceId Tags OfferId AdditionalInfo ServiceInfo1 ServiceInfo2 ResourceName
    ReservationId ReservationName UnitPrice ProductOrderId ProductOrderName Term PublisherType PublisherName ChargeType
    Frequency PricingModel AvailabilityZone BillingAccountId BillingAccountName BillingCurrencyCode
    BillingPeriodStartDate BillingPeriodEndDate BillingProfileId BillingProfileName"""
_MCA = """
    invoiceId previousInvoiceId billingAccountId billingAccountName billingProfileId billingProfileName
    invoiceSectionId invoiceSectionName resellerName resellerMpnId costCenter billingPeriodEndDate
    billingPeriodStartDate servicePeriodEndDate servicePeriodStartDate date serviceFamily productOrderId
    productOrderName consumedService meterId meterName meterCategory meterSubCategory meterRegion ProductId ProductName
    SubscriptionId subscriptionName publisherType publisherId publisherName resourceGroupName ResourceId
    resourceLocation location effectivePrice quantity unitOfMeasure chargeType billingCurrency pricingCurrency
    costInBillingCurrency costInPricingCurrency costInUsd paygCostInBillingCurrency paygCostInUsd
    exchangeRatePricingToBilling exchangeRateDate isAzureCreditEligible serviceInfo1 serviceInfo2 additionalInfo tags
    PayGPrice frequency term reservationId reservationName pricingModel unitPrice costAllocationRuleName benefitId
    benefitName provider"""
EA, MCA = _EA.split(), _MCA.split()


@dataclass(frozen=True, slots=True)
class Charged:
    """One line of a bill, in no format yet; `billed` is what the invoice has, by default the same as the cost."""

    resource: str
    cost: str
    day: str = "2026-10-01"
    service: str = "Storage"
    meter: str = "E4 LRS Disk"
    group: str = NODE_GROUP
    charge: str = "Usage"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    billed: str = ""
    currency: str = "USD"
    period: str = ""

    @property
    def id(self) -> str:
        """The id of its resource."""
        return f"{SUBSCRIPTION}/resourceGroups/{self.group}/providers/{self.resource}" if self.resource else ""


def driver_tags(namespace: str = NAMESPACE) -> dict[str, str]:
    """Return the tags that the disk driver gives a disk of a namespace."""
    return {
        "k8s-azure-created-by": "kubernetes-azure-dd",
        "kubernetes.io-created-for-pv-name": "pvc-96c8f65f-2d4d-4156-b0a2-0d2aa9847e8e",
        "kubernetes.io-created-for-pvc-name": "data",
        "kubernetes.io-created-for-pvc-namespace": namespace,
    }


DISK = "Microsoft.Compute/disks/pvc-96c8f65f-2d4d-4156-b0a2-0d2aa9847e8e"
SNAPSHOT = "Microsoft.Compute/snapshots/snapshot-3e0c1ab4-55d0-4b1a-8f0e-5b9dd8e1c001"
SCALE_SET = "Microsoft.Compute/virtualMachineScaleSets/aks-tenants-24735931-vmss"
FLEET = (
    Charged(DISK, "0.0394520547945205", tags=driver_tags()),
    Charged(SNAPSHOT, "0.0047671232876712", meter="Standard SSD Snapshots LRS", tags=driver_tags()),
    Charged(SCALE_SET, "4.992", service="Virtual Machines", meter="D4as v5/D4s v5", billed="0"),
    Charged("Microsoft.Compute/disks/aks-tenants-24735931-vmss_OsDisk_1", "0.32", meter="P10 LRS Disk"),
    Charged(SCALE_SET, "0.0000001741", service="Bandwidth", meter="Standard Data Transfer Out"),
    Charged("Microsoft.Network/loadBalancers/kubernetes", "0.6", service="Load Balancer", meter="Included LB Rules"),
    Charged("Microsoft.Network/publicIPAddresses/e1", "0.12", service="Virtual Network", meter="Standard IPv4 Static"),
    Charged("Microsoft.ContainerService/managedClusters/weu-1", "2.4", service="Azure Kubernetes Service",
            meter="Standard Uptime SLA", group=OWN_GROUP),
    Charged("Microsoft.OperationalInsights/workspaces/logs", "0.8311", service="Log Analytics",
            meter="Pay-as-you-go Data Ingestion", group=OWN_GROUP),
    Charged("Microsoft.Web/sites/berth", "0.0213", service="Functions", meter="On Demand Execution Time",
            group=OWN_GROUP),
    Charged("Microsoft.DBforPostgreSQL/flexibleServers/tenants", "1.44", service="Azure Database for PostgreSQL",
            meter="B2s", group=OWN_GROUP),
    Charged("Microsoft.Cache/Redis/other", "0.528", service="Redis Cache", meter="C0 Cache Instance", group="rg-other"),
    Charged("", "0", service="", meter="", group="", charge="Purchase", billed="150"),
)  # fmt: skip


def focus(lines: Sequence[Charged] = FLEET, *, header: Sequence[str] = FOCUS_1_0) -> str:
    """Return an export in FOCUS 1.0, or by its header 1.2."""
    meter = "SkuMeter" if "SkuMeter" in header else "x_SkuMeterName"
    rows = [
        {
            "ChargePeriodStart": f"{each.day}T00:00Z",
            "BillingPeriodStart": f"{each.period}T00:00Z" if each.period else "",
            "EffectiveCost": each.cost,
            "BilledCost": each.billed or each.cost,
            "BillingCurrency": each.currency,
            "ChargeCategory": each.charge,
            "x_SkuMeterCategory": each.service,
            "ServiceName": "Azure Kubernetes Service",
            meter: each.meter,
            "ResourceId": each.id.lower(),
            "x_ResourceGroupName": each.group.lower(),
            "Tags": json.dumps(dict(each.tags)),
        }
        for each in lines
    ]
    return _csv(header, rows)


def enterprise(lines: Sequence[Charged] = FLEET) -> str:
    """Return cost details of an Enterprise Agreement: the month goes first, tags have no braces."""
    rows = [
        {
            "Date": _month_first(each.day),
            "BillingPeriodStartDate": _month_first(each.period) if each.period else "",
            "Cost": each.cost,
            "BillingCurrencyCode": each.currency,
            "ChargeType": each.charge,
            "MeterCategory": each.service,
            "MeterName": each.meter,
            "ResourceId": each.id,
            "ResourceGroup": each.group,
            "Tags": json.dumps(dict(each.tags))[1:-1],
        }
        for each in lines
    ]
    return _csv(EA, rows)


def customer(lines: Sequence[Charged] = FLEET) -> str:
    """Return cost details of a Microsoft Customer Agreement."""
    rows = [
        {
            "date": each.day,
            "billingPeriodStartDate": each.period,
            "costInBillingCurrency": each.cost,
            "costInUsd": "-1",
            "billingCurrency": each.currency,
            "chargeType": each.charge,
            "meterCategory": each.service,
            "meterName": each.meter,
            "ResourceId": each.id,
            "resourceGroupName": each.group,
            "tags": json.dumps(dict(each.tags)),
        }
        for each in lines
    ]
    return _csv(MCA, rows)


def _month_first(day: str) -> str:
    return f"{day[5:7]}/{day[8:]}/{day[:4]}"


def _csv(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
