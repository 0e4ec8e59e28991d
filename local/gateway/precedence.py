"""Which route a request gets: the precedence that the Gateway API specifies. Pure.

The most specific hostname first: an exact one, then the longest wildcard. Among the rules of that hostname: an exact
path, then the longest prefix, then the oldest route, then the first by namespace and name, then the first rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from local.gateway.resources import BackendRef, Key, PathMatch, Route

ANY = ""  # the hostname of a listener and a route that name none


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of one rule of a route, under one of its hostnames."""

    hostname: str
    path: PathMatch
    created: str
    route: Key
    rule: int
    backend: BackendRef | None


def intersection(one: str, other: str) -> str | None:
    """Return the hostname of all hosts that two hostnames both stand for, or None if there are none."""
    for wide, narrow in ((one, other), (other, one)):
        if wide in (ANY, narrow) or (wide.startswith("*.") and narrow != ANY and narrow.endswith(wide[1:])):
            return narrow
    return None


def entries_of(route: Route, hostnames: Sequence[str]) -> list[Entry]:
    """Return the entries of a route that serves under these hostnames."""
    return [
        Entry(hostname, path, route.created, route.key, number, rule.backend)
        for hostname in hostnames
        for number, rule in enumerate(route.rules)
        for path in rule.paths
    ]


class RouteTable:
    """The entries of all routes that the gateway serves, by hostname."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[Key, list[Entry]]] = {}
        self._hostnames: dict[Key, set[str]] = {}

    def put(self, route: Key, entries: Sequence[Entry]) -> None:
        """Replace the entries of a route; without entries it is not served any more."""
        for hostname in self._hostnames.pop(route, ()):
            held = self._entries[hostname]
            del held[route]
            if not held:
                del self._entries[hostname]
        for entry in entries:
            self._entries.setdefault(entry.hostname, {}).setdefault(route, []).append(entry)
            self._hostnames.setdefault(route, set()).add(entry.hostname)

    def find(self, host: str, path: str) -> Entry | None:
        """Return the entry that a request gets, or None: then there is no route for it."""
        for hostname in _from_most_specific(host):
            if hostname in self._entries:
                entries = [each for held in self._entries[hostname].values() for each in held]
                return min((each for each in entries if each.path.matches(path)), key=_rank, default=None)
        return None


def _from_most_specific(host: str) -> Iterator[str]:
    yield host
    rest = host
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    yield ANY


def _rank(entry: Entry) -> tuple[bool, int, str, Key, int]:
    return not entry.path.exact, -len(entry.path.value), entry.created, entry.route, entry.rule
