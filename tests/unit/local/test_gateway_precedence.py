from hypothesis import given
from hypothesis import strategies as st

from local.gateway.precedence import ANY, Entry, RouteTable, intersection
from local.gateway.resources import PathMatch

LABELS = st.sampled_from(["a", "b", "c"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(HOSTS, HOSTS.map("*.{}".format), st.just(ANY))
PATHS = st.lists(LABELS, max_size=3).map(lambda elements: "/" + "/".join(elements))
ENTRIES = st.builds(
    Entry,
    hostname=PATTERNS,
    path=st.builds(PathMatch, exact=st.booleans(), value=PATHS),
    created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    route=st.tuples(LABELS, LABELS),
    rule=st.integers(0, 2),
    backend=st.none(),
)


def covers(pattern: str, host: str) -> bool:
    """Whether a hostname, exact or `*.suffix`, stands for a host; a wildcard stands for one label or more."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) >= len(pattern)
    return pattern in (ANY, host)


def entry(hostname: str, *, route: str = "a", path: str = "/", exact: bool = False, day: int = 1) -> Entry:
    return Entry(hostname, PathMatch(exact, path), f"2026-01-{day:02}T00:00:00Z", ("n", route), 0, None)


def winner(host: str, path: str, *entries: Entry) -> str | None:
    found = filled(entries).find(host, path)
    return found and found.route[1]


def filled(entries: list[Entry] | tuple[Entry, ...]) -> RouteTable:
    table = RouteTable()
    for route in {each.route for each in entries}:
        table.put(route, [each for each in entries if each.route == route])
    return table


def test_a_wildcard_stands_for_one_label_or_more():
    assert covers("*.a.b", "x.a.b")
    assert covers("*.a.b", "x.y.a.b")
    assert not covers("*.a.b", "a.b")
    assert not covers("*.a.b", "xa.b")
    assert covers(ANY, "x")


def test_an_exact_hostname_goes_before_a_wildcard_however_old():
    assert winner("x.a.b", "/", entry("*.a.b", route="wide", day=1), entry("x.a.b", route="exact", day=2)) == "exact"
    assert winner("y.a.b", "/", entry("*.a.b", route="wide", day=1), entry("x.a.b", route="exact", day=2)) == "wide"


def test_the_longer_wildcard_goes_first():
    wide, narrow = entry("*.b", route="wide"), entry("*.a.b", route="narrow", day=2)
    assert winner("x.a.b", "/", wide, narrow) == "narrow"
    assert winner("x.b", "/", wide, narrow) == "wide"


def test_the_oldest_of_two_routes_wins_then_the_first_by_name():
    assert winner("a", "/", entry("a", route="a", day=2), entry("a", route="z", day=1)) == "z"
    assert winner("a", "/", entry("a", route="z"), entry("a", route="a")) == "a"


def test_a_path_counts_before_the_age_of_its_route():
    old, young = entry("a", route="old"), entry("a", route="young", path="/x", day=2)
    exact = entry("a", route="exact", path="/x", exact=True, day=3)
    assert winner("a", "/x/y", old, young, exact) == "young"
    assert winner("a", "/x", old, young, exact) == "exact"
    assert winner("a", "/xy", old, young, exact) == "old"


def test_no_less_specific_hostname_takes_a_path_that_is_missing():
    assert winner("x.a", "/", entry("x.a", path="/only"), entry("*.a", route="wide")) is None


def test_a_route_that_is_put_anew_or_taken_out_is_found_no_more():
    table = filled([entry("a")])
    table.put(("n", "a"), [entry("b")])
    assert table.find("a", "/") is None
    assert table.find("b", "/") is not None
    table.put(("n", "a"), [])
    assert table.find("b", "/") is None


@given(one=PATTERNS, other=PATTERNS, host=HOSTS)
def test_an_intersection_covers_what_both_cover(one: str, other: str, host: str):
    common = intersection(one, other)
    assert (common is not None and covers(common, host)) == (covers(one, host) and covers(other, host))


@given(entries=st.lists(ENTRIES, max_size=12), host=HOSTS, path=PATHS)
def test_the_table_finds_what_the_specification_orders_first(entries: list[Entry], host: str, path: str):
    candidates = [each for each in entries if covers(each.hostname, host)]
    most_specific = max(
        (each.hostname for each in candidates),
        key=lambda name: (name == host, len(name)),
        default=None,
    )
    expected = min(
        (each for each in candidates if each.hostname == most_specific and each.path.matches(path)),
        key=lambda each: (not each.path.exact, -len(each.path.value), each.created, each.route, each.rule),
        default=None,
    )
    assert filled(entries).find(host, path) == expected
