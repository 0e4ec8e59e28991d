"""How much of a workspace's bill telemetry is: rows and bytes of one action, and of a month of a fleet.

Azure bills the size of the columns that a row has in the workspace, as text, and not the JSON that was sent
(learn.microsoft.com/azure/azure-monitor/logs/cost-logs, "Data size calculation"); some columns are free.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce

from shared.domain.prices import Price
from tests.support.kusto.envelopes import Envelope, Row, to_rows

TENANTS = 1000
HOURS = 730  # of a month, as Azure counts
GIGABYTE = 1_000_000_000
METRICS = "metrics of a minute in which nobody asks for anything"
_FREE = {"Type", "_ResourceId", "_SubscriptionId", "_ItemId", "_IsBillable", "_BilledSize"}
# What the service adds to each row; the address is never kept, where it was is.
_ADDED = {
    "TenantId": "0" * 36,
    "ResourceGUID": "0" * 36,
    "SourceSystem": "Azure",
    "ClientType": "PC",
    "ClientIP": "0.0.0.0",
    "ClientCity": "Amsterdam",
    "ClientStateOrProvince": "North Holland",
    "ClientCountryOrRegion": "Netherlands",
}
_SIGNUPS, _WAKES = TENANTS, 4 * TENANTS


@dataclass(frozen=True, slots=True)
class Volume:
    """An amount of telemetry.

    Attributes:
        rows: How many rows it makes.
        sent: Bytes of the JSON that is sent, before it is compressed.
        billed: Bytes of the columns that are billed.
    """

    rows: float = 0.0
    sent: float = 0.0
    billed: float = 0.0

    @classmethod
    def of(cls, envelopes: Iterable[Envelope]) -> "Volume":
        """Return the volume of envelopes."""
        return reduce(Volume.plus, (_of_one(each) for each in envelopes), cls())

    def plus(self, other: "Volume") -> "Volume":
        """Return both together."""
        return Volume(self.rows + other.rows, self.sent + other.sent, self.billed + other.billed)

    def times(self, factor: float) -> "Volume":
        """Return so many of it."""
        return Volume(self.rows * factor, self.sent * factor, self.billed * factor)


@dataclass(frozen=True, slots=True)
class Assumption:
    """How often an action happens in a month of the fleet, and why so often."""

    action: str
    times: float
    why: str


MONTH = (
    Assumption("provision", _SIGNUPS, "signups: the whole fleet is new each month"),
    Assumption("delete", _SIGNUPS, "and the one before it is deleted"),
    Assumption("hibernate", _WAKES, "each tenant falls asleep once a week"),
    Assumption("wake", _WAKES, "and is woken again"),
    Assumption("GET api/operations/{id}", 15 * (2 * _SIGNUPS + _WAKES), "15 polls of each but a hibernation"),
    Assumption("GET api/visits/{host}", 10 * _WAKES, "the waiting room's page asks 10 times for each wake"),
    Assumption("GET api/tenants/{slug}", 30 * TENANTS, "a portal shows each tenant once a day"),
    Assumption("GET api/readyz", 60 * HOURS, "an availability test asks every minute"),
    Assumption("recover", 60 * HOURS, "timer, every minute"),
    Assumption("find_lost_instances", 60 * HOURS, "timer, every minute"),
    Assumption("poll_activity", 12 * HOURS, "timer, every 5 minutes"),
    Assumption("reconcile", HOURS, "timer, every hour"),
    Assumption("meter_costs", HOURS, "timer, every hour"),
    Assumption("roll_up_latency", HOURS, "timer, every hour"),
    Assumption("sweep", 30, "timer, every night, with a sweep; hibernations are counted above"),
    Assumption("refresh_prices", 30, "timer, every night"),
    Assumption("purge_old_records", 30, "timer, every night"),
    Assumption(METRICS, 60 * HOURS, "one worker is never idle; what actions add is counted with them"),
)


def actions(envelopes: Iterable[Envelope]) -> Mapping[str, Sequence[Sequence[Envelope]]]:
    """Return the traces, by what was done: the kind of an operation, else the name of the first request."""
    traces: dict[str, list[Envelope]] = defaultdict(list)
    for each in envelopes:
        belongs_to: str = each["tags"].get("ai.operation.id", "")
        if belongs_to and each["data"]["baseType"] != "MetricData":
            traces[belongs_to].append(each)
    found: dict[str, list[list[Envelope]]] = defaultdict(list)
    for trace in traces.values():
        found[_action(trace)].append(trace)
    return found


def series(envelopes: Iterable[Envelope]) -> Mapping[str, Envelope]:
    """Return one envelope of each series of metrics: a name with one value of each dimension, of one process."""
    found: dict[str, Envelope] = {}
    for each in envelopes:
        if each["data"]["baseType"] == "MetricData":
            data = each["data"]["baseData"]
            where = each["tags"].get("ai.cloud.roleInstance")
            found[json.dumps([where, data["metrics"][0]["name"], data.get("properties")], sort_keys=True)] = each
    return found


def month(of_action: Mapping[str, Volume]) -> Volume:
    """Return the volume of a month."""
    return reduce(Volume.plus, (of_action[each.action].times(each.times) for each in MONTH))


def dollars(volume: Volume, price: Price) -> Decimal:
    """Return what a volume costs, with nothing of it free."""
    return price.cost_of_number(Decimal(volume.billed) / GIGABYTE)


def _of_one(envelope: Envelope) -> Volume:
    [[row]] = to_rows([envelope]).values()
    return Volume(1, len(json.dumps(envelope, separators=(",", ":"))), _billed(row))


def _billed(row: Row) -> int:
    columns = {**_ADDED, **row}
    return sum(
        len(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))
        for name, value in columns.items()
        if name not in _FREE and value not in (None, "", {})
    )


def _action(trace: Sequence[Envelope]) -> str:
    for each in trace:
        data = each["data"]["baseData"]
        if data.get("name") == "operation":
            return data["properties"]["kind"]
    requests = [each for each in trace if each["data"]["baseType"] == "RequestData"]
    first = min(requests, key=lambda each: each["time"], default=None)
    return first["data"]["baseData"]["name"] if first else ""
