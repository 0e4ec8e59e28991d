"""The control of the gateway: follows the API server, keeps the route table, and writes what became of each route."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from local.gateway.api_server import ApiServer, Take
from local.gateway.attachment import HTTPS, Attachment, Condition, attach, resolved_refs, with_times
from local.gateway.backends import Backend, Invalid, resolve, service_of
from local.gateway.precedence import Entry, RouteTable, entries_of
from local.gateway.resources import GROUP, Gateway, Json, Key, Route, gateway_of, route_of

CONTROLLER = "local.berth.dev/gateway"
COUNT_SECONDS = 1.0  # between two writes of how many routes a gateway has
RETRY_SECONDS = 0.5
_API = f"/apis/{GROUP}/v1"
_CLASSES, _GATEWAYS, _ROUTES = f"{_API}/gatewayclasses", f"{_API}/gateways", f"{_API}/httproutes"
_NAMESPACES, _SERVICES, _SLICES = "/api/v1/namespaces", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"

type Kept = dict[Key, dict[str, Any]]


class Controller:
    """Holds what the API server says, and what follows from it.

    Args:
        api: The API server.

    Attributes:
        ready: Set once a gateway of ours is programmed.
    """

    def __init__(self, api: ApiServer) -> None:
        self.ready = asyncio.Event()
        self._api = api
        self._kept: dict[str, Kept] = {path: {} for path in (_CLASSES, _GATEWAYS, _ROUTES, _NAMESPACES, _SERVICES)}
        self._slices: dict[Key, Kept] = {}  # by Service
        self._routes: dict[Key, Route] = {}
        self._attached: dict[Key, dict[Key, list[Attachment]]] = {}  # by route, then by gateway
        self._table = RouteTable()
        self._unlisted = {*self._kept, _SLICES}
        self._routes_to_write: set[Key] = set()
        self._route_changed, self._gateway_changed = asyncio.Event(), asyncio.Event()

    def find(self, host: str, path: str) -> tuple[Entry, Backend] | None:
        """Return what a request gets, or None if no route takes it."""
        entry = self._table.find(host, path)
        if entry is None:
            return None
        backend = entry.backend
        if backend is None or not resolved_refs(self._routes[entry.route], self._ports).holds:
            return entry, Invalid()
        slices = self._slices.get(backend.key, {}).values()
        return entry, resolve(backend, self._kept[_SERVICES].get(backend.key), slices)

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        takes: dict[str, Take] = {path: partial(self._take, path) for path in self._kept} | {_SLICES: self._take_slice}
        async with asyncio.TaskGroup() as group:
            for path, take in takes.items():
                group.create_task(self._api.follow(path, take, partial(self._listed, path)))
            group.create_task(self._write_routes())
            group.create_task(self._write_gateways())

    def _listed(self, path: str) -> None:
        was_unlisted = bool(self._unlisted)
        self._unlisted.discard(path)
        if was_unlisted and not self._unlisted:
            self._look_at_all()

    def _take(self, path: str, change: str, item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        if change == "DELETED":
            self._kept[path].pop(key, None)
        else:
            self._kept[path][key] = item
        if self._unlisted:
            return  # nothing can be said of a route whose Service is not read yet
        if path == _ROUTES:
            self._look_at([key])
        elif path in (_NAMESPACES, _SERVICES):
            namespace = key[1] if path == _NAMESPACES else key[0]
            self._look_at(each for each in self._kept[_ROUTES] if each[0] == namespace)
        else:
            self._look_at_all()

    def _take_slice(self, change: str, item: dict[str, Any]) -> None:
        held = self._slices.setdefault(service_of(item), {})
        name = item["metadata"]["namespace"], item["metadata"]["name"]
        if change == "DELETED":
            held.pop(name, None)
        else:
            held[name] = item

    def _look_at_all(self) -> None:
        self._look_at(list(self._kept[_ROUTES]))
        self._gateway_changed.set()
        if any(
            condition["type"] == "Programmed" and condition["status"] == "True"
            for gateway in self._our_gateways().values()
            for condition in self._kept[_GATEWAYS][gateway.key].get("status", {}).get("conditions", ())
        ):
            self.ready.set()

    def _look_at(self, routes: Iterable[Key]) -> None:
        """Work out anew what becomes of these routes: at once for requests, and soon in their status."""
        ours = self._our_gateways()
        for key in routes:
            before = self._attached.pop(key, {})
            manifest = self._kept[_ROUTES].get(key)
            if manifest is None:
                self._routes.pop(key, None)
                self._table.put(key, ())
            else:
                route = self._routes[key] = route_of(manifest)
                joined = self._attached[key] = self._attachments(route, ours)
                hostnames = {name for each in joined.values() for one in each for name in one.hostnames}
                self._table.put(key, entries_of(route, sorted(hostnames)))
                self._routes_to_write.add(key)
            if before != self._attached.get(key, {}):
                self._gateway_changed.set()
        self._route_changed.set()

    def _attachments(self, route: Route, ours: dict[Key, Gateway]) -> dict[Key, list[Attachment]]:
        """Return what becomes of each of a route's references to a gateway of ours, in their order."""
        labels = self._kept[_NAMESPACES].get(("", route.key[0]), {}).get("metadata", {}).get("labels", {})
        found: dict[Key, list[Attachment]] = {}
        for parent in route.parents:
            if gateway := ours.get(parent.gateway):
                found.setdefault(gateway.key, []).append(attach(route, parent, gateway, labels))
        return found

    def _our_gateways(self) -> dict[Key, Gateway]:
        classes = {
            name for (_, name), each in self._kept[_CLASSES].items() if each["spec"]["controllerName"] == CONTROLLER
        }
        gateways = map(gateway_of, self._kept[_GATEWAYS].values())
        return {gateway.key: gateway for gateway in gateways if gateway.class_name in classes}

    def _ports(self, service: Key) -> list[int] | None:
        found = self._kept[_SERVICES].get(service)
        return None if found is None else [each["port"] for each in found["spec"].get("ports", ())]

    async def _write_routes(self) -> None:
        while True:
            await self._route_changed.wait()
            self._route_changed.clear()
            keys, self._routes_to_write = self._routes_to_write, set()
            await asyncio.gather(*(self._write_route(key) for key in keys))

    async def _write_route(self, key: Key) -> None:
        route, manifest = self._routes.get(key), self._kept[_ROUTES].get(key)
        if route is None or manifest is None:
            return
        before: list[Json] = manifest.get("status", {}).get("parents", [])
        attached = {gateway: iter(each) for gateway, each in self._attached[key].items()}
        refs = resolved_refs(route, self._ports)
        parents = [each for each in before if each["controllerName"] != CONTROLLER]
        for parent in route.parents:
            if parent.gateway in attached:
                said = [each["conditions"] for each in before if _is_ours(each, parent.as_given)]
                conditions = [next(attached[parent.gateway]).accepted, refs]
                parents.append(
                    {
                        "parentRef": parent.as_given,
                        "controllerName": CONTROLLER,
                        "conditions": with_times(conditions, route.generation, said[0] if said else (), _now()),
                    }
                )
        if parents != before:
            path = f"{_API}/namespaces/{key[0]}/httproutes/{key[1]}"
            if not await self._api.write_status(path, manifest, {"parents": parents}):
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look_at, [key])

    async def _write_gateways(self) -> None:
        while True:
            await self._gateway_changed.wait()
            self._gateway_changed.clear()
            written = True
            for (_, name), manifest in list(self._kept[_CLASSES].items()):
                if manifest["spec"]["controllerName"] == CONTROLLER:
                    accepted = [Condition("Accepted", True, "Accepted")]
                    written &= await self._write(f"{_CLASSES}/{name}", manifest, {}, accepted)
            for gateway in self._our_gateways().values():
                written &= await self._write_gateway(gateway)
            await asyncio.sleep(COUNT_SECONDS)
            if not written:
                self._gateway_changed.set()

    async def _write_gateway(self, gateway: Gateway) -> bool:
        manifest = self._kept[_GATEWAYS][gateway.key]
        before = {each["name"]: each for each in manifest.get("status", {}).get("listeners", ())}
        joined = [one for each in self._attached.values() for one in each.get(gateway.key, ())]
        listeners = [
            {
                "name": each.name,
                "attachedRoutes": sum(each.name in one.listeners for one in joined),
                "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}],
                "conditions": with_times(
                    _listener_conditions(each.protocol),
                    gateway.generation,
                    before.get(each.name, {}).get("conditions", ()),
                    _now(),
                ),
            }
            for each in gateway.listeners
        ]
        namespace, name = gateway.key
        status = {"addresses": [{"type": "IPAddress", "value": "127.0.0.1"}], "listeners": listeners}
        conditions = [Condition("Accepted", True, "Accepted"), Condition("Programmed", True, "Programmed")]
        return await self._write(f"{_API}/namespaces/{namespace}/gateways/{name}", manifest, status, conditions)

    async def _write(self, path: str, manifest: Json, status: dict[str, Any], conditions: list[Condition]) -> bool:
        """Write a status and its conditions unless it is so already; False if that is to be tried again."""
        before = manifest.get("status", {})
        generation = manifest["metadata"]["generation"]
        status["conditions"] = with_times(conditions, generation, before.get("conditions", ()), _now())
        if all(before.get(name) == value for name, value in status.items()):
            return True
        return await self._api.write_status(path, manifest, status)


def _listener_conditions(protocol: str) -> list[Condition]:
    if protocol != HTTPS:
        refused = Condition("Accepted", False, "UnsupportedProtocol", "the simulated gateway serves HTTPS only")
        return [refused, Condition("Programmed", False, "Invalid", refused.message)]
    return [Condition(name, True, name) for name in ("Accepted", "Programmed", "ResolvedRefs")]


def _is_ours(parent: Json, reference: Json) -> bool:
    return parent["controllerName"] == CONTROLLER and parent["parentRef"] == reference


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
