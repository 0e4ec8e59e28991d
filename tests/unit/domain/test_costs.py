"""Costs of instances, nodes and overhead, and that shares add up to the last digit."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.assets import Assets, Machine, Nodes, Overhead, SeenNodes, Sharing
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_shares import Pool, Pools, SharingRules, Totals, idle_cost, running_totals
from shared.domain.costs import OwnCost, Pricing, day_bounds, overhead_cost, price_region
from shared.domain.prices import Price, PriceBook, PriceId, Unit
from shared.domain.rates import rates
from shared.domain.uses import Size, Span, Use
from tests.support.builders import ASSETS, PRICES

DAY = date(2026, 3, 1)
START, END = day_bounds(DAY)
HOUR = timedelta(hours=1)
ONE = ClusterName("one")
ZERO, DIGIT = Decimal(0), Decimal("1e-12")
NODE = Machine(cpu_millicores=4000, memory_mib=16384, disks=8)
ITEMS = Assets(
    machines={"node": NODE},
    reference="node",
    disks={"": "StandardSSD_LRS"},
    attach_share=Decimal("0.25"),
    of_each_cluster=[Overhead(PriceId("control-plane"), Decimal(1))],
    of_all=[Overhead(PriceId("logs"), Decimal(35))],
)


def price(name: str, amount: str, unit: Unit = Unit.HOUR, since: datetime = START - 24 * HOUR, free: int = 0) -> Price:
    return Price(PriceId(name), "here", "USD", unit, Decimal(amount), since, None, "list", START, free=Decimal(free))


BOOK = PriceBook(
    "1",
    "USD",
    [
        price("vm:node:linux", "0.24"),
        price("disk:StandardSSD_LRS:E2", "0.73", Unit.MONTH),
        price("control-plane", "0.10"),
        price("logs", "2", Unit.GB, free=5),
    ],
)


def use(*, awake: bool = True, cpu: int = 1000, memory: int = 4096, volume: int = 8) -> Use:
    return Use(awake, ONE, "here", "trial", "1", Size(cpu, memory, volume, ""))


def pricing(nodes: int = 2, book: PriceBook = BOOK, items: Assets = ITEMS) -> Pricing:
    seen = [SeenNodes(ONE, START, [Nodes("node", spot=False, count=nodes)])]
    found = rates(seen, items, book, "here", START, END)
    return Pricing(items, book, lambda cluster, region: found if (cluster, region) == (ONE, "here") else [], str)


def cost(*spans: Span, held: Pricing | None = None) -> OwnCost:
    return (held or pricing()).own_cost(spans)


def test_what_fills_a_node_costs_its_price() -> None:
    # As in the OpenCost specification: the price of a node is that of all its resources.
    whole = use(cpu=4000, memory=16384)
    found = cost(Span(START, END, whole), held=pricing(items=replace(ITEMS, attach_share=ZERO)))
    assert found.costs[Component.COMPUTE] == Decimal("0.24") * 24
    eight = [cost(Span(START, END, use(cpu=500, memory=2048))) for _ in range(8)]
    of_nodes = sum((each.of_nodes for each in eight), ZERO)
    assert abs(of_nodes - Decimal("0.24") * 24) <= 16 * DIGIT


def test_a_node_at_opencosts_prices_has_opencosts_rates() -> None:
    # By the specification: amount x duration x hourly rate; idle is the assets without the workload.
    core, gib = Decimal("0.031611"), Decimal("0.004237")  # its default prices
    node = 4 * core + 16 * gib
    book = PriceBook("2", "USD", [*BOOK.prices, price("vm:node:linux", str(node), since=START)])
    held = pricing(nodes=1, book=book, items=replace(ITEMS, attach_share=ZERO))
    found = cost(Span(START, END, use(cpu=1000, memory=4096)), held=held)
    assert found.of_nodes == 24 * (core + 4 * gib) == Decimal("1.165416")
    assert idle_cost(24 * node, found.of_nodes) == 24 * (3 * core + 12 * gib)


def test_asleep_costs_its_disk_and_says_what_it_saves() -> None:
    asleep, awake = cost(Span(START, END, use(awake=False))), cost(Span(START, END, use()))
    assert asleep.costs == {Component.VOLUME: Decimal("0.024")}
    assert (asleep.total, asleep.asleep, asleep.awake) == (asleep.while_asleep, 24, 0)
    assert asleep.saved == awake.of_nodes > 0
    assert awake.while_asleep == awake.saved == 0


def test_half_a_day_awake_costs_half_of_the_nodes() -> None:
    noon = START + 12 * HOUR
    both = cost(Span(START, noon, use()), Span(noon, END, use(awake=False)))
    whole = cost(Span(START, END, use()))
    assert both.costs[Component.COMPUTE] * 2 == whole.costs[Component.COMPUTE]
    assert both.costs[Component.VOLUME] == whole.costs[Component.VOLUME]
    assert (both.awake, both.asleep, both.existed) == (12, 12, 24)


def test_a_price_that_changes_at_noon_is_split_there() -> None:
    book = PriceBook("2", "USD", [*BOOK.prices, price("vm:node:linux", "0.48", since=START + 12 * HOUR)])
    once, twice = cost(Span(START, END, use())), cost(Span(START, END, use()), held=pricing(book=book))
    assert twice.costs[Component.COMPUTE] == once.costs[Component.COMPUTE] * Decimal("1.5")


def test_more_nodes_do_not_change_what_a_tenant_pays() -> None:
    few, many = cost(Span(START, END, use())), cost(Span(START, END, use()), held=pricing(nodes=20))
    assert few == many


def test_unknown_nodes_have_the_price_of_the_reference() -> None:
    seen = [SeenNodes(ONE, START, [Nodes("", spot=False, count=7)])]
    [found] = rates(seen, ITEMS, BOOK, "here", START, END)
    [known] = rates([SeenNodes(ONE, START, [Nodes("node", spot=False, count=7)])], ITEMS, BOOK, "here", START, END)
    assert (found.cpu, found.memory, found.slot) == (known.cpu, known.memory, known.slot)
    assert (found.nodes, known.nodes) == (0, Decimal("0.24") * 7)


def test_nodes_that_come_at_noon_count_from_then_on() -> None:
    seen = [SeenNodes(ONE, START + hour * HOUR, [Nodes("node", spot=False, count=n)]) for hour, n in ((3, 1), (12, 3))]
    found = rates(seen, ITEMS, BOOK, "here", START, END)
    assert [(each.start, each.end, each.nodes) for each in found] == [
        (START, START + 3 * HOUR, 0),  # nobody has seen any yet
        (START + 3 * HOUR, START + 12 * HOUR, Decimal("0.24")),
        (START + 12 * HOUR, END, Decimal("0.72")),
    ]


def test_a_price_that_is_missing_is_named() -> None:
    found = cost(Span(START, END, use(volume=64)))
    assert found.unpriced == {"disk:StandardSSD_LRS:E6"}
    assert Component.VOLUME not in found.costs
    spot = [SeenNodes(ONE, START, [Nodes("node", spot=True, count=1)])]
    [rate] = rates(spot, ITEMS, BOOK, "here", START, END)
    assert rate.unpriced == {"vm:node:spot"}


@pytest.mark.parametrize(
    ("storage_class", "gib", "expected"),
    [
        ("", 4, "disk:StandardSSD_LRS:E1"),
        ("managed-csi", 33, "disk:StandardSSD_LRS:E6"),
        ("managed-csi-premium", 128, "disk:Premium_LRS:P10"),
        ("mine", 8, "disk:storage-class-mine:8GiB"),
        ("", 5000, "disk:StandardSSD_LRS:5000GiB"),
    ],
)
def test_a_volume_is_a_disk_of_the_next_step(storage_class: str, gib: int, expected: str) -> None:
    assert ASSETS.disk_price(storage_class, gib) == expected


def test_overhead_is_of_the_time_and_by_number() -> None:
    assert overhead_cost(ITEMS, BOOK, "here", START, END, of_all=False) == (Decimal("2.40"), frozenset())
    found, unpriced = overhead_cost(ITEMS, BOOK, "here", START, END, of_all=True)
    assert (found, unpriced) == ((Decimal(30 * 2 * 24) / 730).quantize(DIGIT), frozenset())  # 5 GB are free
    assert overhead_cost(ITEMS, BOOK, "there", START, END, of_all=True) == (0, {"logs"})


def test_the_documents_fit_each_other() -> None:
    for machine in ASSETS.machines:
        assert PRICES.book.at(PriceId(f"vm:{machine}:linux"), "westeurope", START).amount > 0
    for of_all in (False, True):
        found, unpriced = overhead_cost(ASSETS, PRICES.book, "westeurope", START, END, of_all=of_all)
        assert found > 0
        assert not unpriced
    assert price_region(PRICES.book, "local", "westeurope") == "westeurope"
    assert price_region(PRICES.book, "eastus", "westeurope") == "eastus"
    assert price_region(PRICES.book, "local", "") == "local"


sizes = st.builds(use, awake=st.booleans(), cpu=st.integers(1, 4000), memory=st.integers(1, 16384), volume=st.just(8))
cuts = st.lists(st.integers(1, 24 * 3600 - 1), max_size=5, unique=True).map(sorted)


@given(st.lists(st.tuples(cuts, st.lists(sizes, min_size=6, max_size=6)), min_size=1, max_size=8), st.integers(0, 3))
def test_workload_idle_and_overhead_are_the_assets(
    instances: Sequence[tuple[list[int], list[Use]]], nodes: int
) -> None:
    held, rules = pricing(nodes), SharingRules(Sharing.PROPORTIONAL, Sharing.EVEN)
    owns: list[OwnCost] = []
    for seconds, used in instances:
        moments = [START, *(START + timedelta(seconds=each) for each in seconds), END]
        owns.append(held.own_cost([Span(a, b, each) for (a, b), each in zip(pairwise(moments), used, strict=False)]))
        assert owns[-1].existed == 24
    of_nodes = sum((each.of_nodes for each in owns), ZERO)
    seen_cost = Decimal("0.24") * 24 * nodes
    idle, overhead = idle_cost(seen_cost, of_nodes), Decimal("2.40")
    parts = [{ONE: Totals("here").plus(each.of_nodes, rules.weights(each))} for each in owns]
    *before, totals = running_totals(parts)
    pools = Pools({ONE: Pool(idle, totals[ONE].idle)}, {ONE: Pool(overhead, totals[ONE].overhead)}, Pool(ZERO, ZERO))
    shares = [pools.after(b).shares(ONE, rules.weights(each)) for b, each in zip(before, owns, strict=True)]
    shared = sum((sum(each.values(), ZERO) for each in shares), ZERO)
    assert shared + pools.idle[ONE].unshared + pools.overhead[ONE].unshared == idle + overhead
    # Workload, idle and overhead: the nodes, the disks and the control plane, to the last digit.
    disks = sum((each.costs[Component.VOLUME] for each in owns), ZERO)
    own = sum((each.total for each in owns), ZERO)
    assert own + idle + overhead == max(seen_cost, of_nodes) + disks + overhead
    assert all(share >= 0 for each in shares for share in each.values())


@given(st.lists(st.decimals(0, 1000, places=12), max_size=30), st.decimals(0, 10_000, places=12), st.randoms())
def test_shares_are_the_same_wherever_the_sum_is_cut(weights: list[Decimal], amount: Decimal, random: object) -> None:
    pool = Pool(amount, sum(weights, ZERO))
    at_once = [pool.share(each) for each in weights]
    running, parts = ZERO, list[Decimal]()
    for each in weights:
        parts.append(pool.from_weight(running).share(each))
        running += each
    assert at_once == parts
    assert sum(parts, ZERO) + pool.unshared == amount


def test_a_cluster_that_came_meanwhile_has_no_shares() -> None:
    none = Pools({}, {}, Pool(Decimal(1), Decimal(1)))
    assert none.shares(ONE, SharingRules(Sharing.EVEN, Sharing.EVEN).weights(OwnCost({}, awake=Decimal(1)))) == {}


def test_each_way_of_sharing_has_its_weights() -> None:
    own = OwnCost({Component.COMPUTE: Decimal(3), Component.VOLUME: Decimal(1)}, awake=Decimal(6), asleep=Decimal(18))
    ways = {each: SharingRules(each, each).weights(own) for each in Sharing}
    assert ways[Sharing.PROPORTIONAL] == {Component.IDLE: 3, Component.OVERHEAD: 4}
    assert ways[Sharing.EVEN] == {Component.IDLE: 6, Component.OVERHEAD: 24}
    assert ways[Sharing.NONE] == {Component.IDLE: 0, Component.OVERHEAD: 0}


def test_a_day_is_one_of_utc() -> None:
    # When clocks change for the summer, a day in UTC has 24 hours all the same.
    for day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 2, 28), date(2026, 12, 31)):
        start, end = day_bounds(day)
        assert (end - start, start.tzinfo) == (timedelta(days=1), UTC)
