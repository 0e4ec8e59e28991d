"""The admission policy: berth writes in the namespaces of its own instances, and the API server refuses all others."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import httpx
import pytest

from local.kubernetes.control_plane import BERTH, OWNER, ControlPlane, kubectl
from local.kubernetes.objects import filled_in
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import PATHS, KubernetesApiCluster
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import namespace_name
from shared.settings import KubernetesSettings
from tests.support.builders import LOCAL, PLANS, TENANT_SETTINGS
from tests.support.fresh_tenants import fresh_tenant
from tests.support.polling import until

type Json = dict[str, Any]

APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}
ENFORCE = "pod-security.kubernetes.io/enforce"
DRY = {"dryRun": "All"}  # admission is asked all the same, and what it wrongly allows does no harm
TEMPLATES, TENANT = YamlTenantTemplates(TENANT_SETTINGS, PLANS), fresh_tenant()
FOREIGN: Mapping[str, Mapping[str, str]] = {
    "kube-system": {},
    "default": {},
    "team-a": {},
    "tenant-unlabelled": {},
    "tenant-theirs": {"berth.dev/owner": "other", "berth.dev/instance": "theirs"},
    "tenant-renamed": {"berth.dev/owner": OWNER, "berth.dev/instance": "another"},
}
IMMORTAL = ("kube-system", "default")  # nobody can delete them
DELETED = (PATHS["StatefulSet"], "/api/v1/namespaces/{}/pods", PATHS["PersistentVolumeClaim"])
SECOND = "second"  # another berth on the same cluster: its user, its own id, and its role allows all


@asynccontextmanager
async def caller(plane: ControlPlane, user: str) -> AsyncGenerator[httpx.AsyncClient]:
    pair = plane.authority.client(user)
    context = ssl.create_default_context(cafile=str(plane.authority.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    async with httpx.AsyncClient(base_url=plane.server, verify=context, trust_env=False, params=DRY) as http:
        yield http


@pytest.fixture
async def berth(control_plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(control_plane, BERTH) as http:
        yield http


@pytest.fixture(scope="module")
async def foreign(control_plane: ControlPlane) -> AsyncIterator[None]:
    """Namespaces that are not berth's, each with a workload that has the names of a tenant's objects."""
    made = [name for name in FOREIGN if name not in IMMORTAL]
    await create(control_plane, *(namespace(name, FOREIGN[name]) for name in made))
    await create(control_plane, *(each for name in FOREIGN for each in content(name)))
    ready = ("wait", "--for=create", "pod/product-0", "--timeout=20s")
    await asyncio.gather(*(kubectl(control_plane, *ready, "-n", name) for name in FOREIGN))
    await confined(control_plane, BERTH, OWNER, "team-a")
    yield
    for name in IMMORTAL:
        stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": content(name)})
        await kubectl(control_plane, "delete", "--wait=false", "-f", "-", stdin=stdin)
    await kubectl(control_plane, "delete", "namespace", "--wait=false", *made)


@pytest.fixture(scope="module")
async def own(control_plane: ControlPlane) -> AsyncIterator[Json]:
    """The manifest of a namespace of berth's that exists."""
    manifest = dict(TEMPLATES.render(TENANT, LOCAL)[0])
    await create(control_plane, manifest)
    yield manifest
    await kubectl(control_plane, "delete", "namespace", "--wait=false", manifest["metadata"]["name"])


def namespace(name: str, labels: Mapping[str, str]) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def content(name: str) -> list[Json]:
    """Return all objects of a tenant but the namespace, in another one."""
    _, *objects = deepcopy(list(TEMPLATES.render(TENANT, LOCAL)))
    for each in objects:
        each["metadata"]["namespace"] = name
    return [dict(each) for each in objects]


async def create(plane: ControlPlane, *objects: Json) -> None:
    await kubectl(plane, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def refused(response: httpx.Response, name: str, owner: str = OWNER) -> bool:
    """Whether the policy refused a request, and says why."""
    text = f"the namespace {name} is not one of an instance of the berth {owner}: it needs the labels berth.dev/owner"
    return response.status_code == 422 and text in response.json()["message"]


async def confined(plane: ControlPlane, user: str, owner: str, name: str) -> None:
    """Wait until the API server has read the policy: it looks for new ones from time to time."""
    async with caller(plane, user) as http:

        async def is_confined() -> bool:
            return refused(await http.delete(f"{PATHS['Namespace']}/{name}"), name, owner)

        await until(is_confined)


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("name", FOREIGN)
async def test_writes_in_a_foreign_namespace_are_refused(berth: httpx.AsyncClient, name: str) -> None:
    allowed: list[str] = []
    for each in content(name):
        collection = PATHS[each["kind"]].format(name)
        new = deepcopy(each)
        new["metadata"]["name"] = "new"
        one = f"{collection}/{each['metadata']['name']}"
        forced = {"fieldManager": BERTH, "force": "true"}
        for response in (
            await berth.post(collection, json=new),
            await berth.patch(f"{collection}/new", json=new, headers=APPLY, params=forced),
            await berth.patch(one, json=each, headers=APPLY, params=forced),
            await berth.patch(one, json={}, headers=MERGE),  # which would return it, a Secret too
        ):
            if not refused(response, name):
                allowed.append(f"{response.request.method} {response.request.url}: {response.text}")
    for path in DELETED:
        response = await berth.delete(path.format(name))
        if not refused(response, name):
            allowed.append(f"DELETE {response.request.url}: {response.text}")
    assert not allowed


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("name", FOREIGN)
async def test_a_foreign_namespace_itself_is_safe(berth: httpx.AsyncClient, name: str) -> None:
    path = f"{PATHS['Namespace']}/{name}"
    ours = {"berth.dev/owner": OWNER, "berth.dev/instance": name.removeprefix("tenant-")}
    adopted = namespace(name, {**ours, ENFORCE: "restricted", f"{ENFORCE}-version": "latest"})
    query = {"fieldManager": BERTH, "force": "true"}
    assert refused(await berth.patch(path, json=adopted, headers=APPLY, params=query), name)
    assert refused(await berth.patch(path, json={"metadata": {"labels": {ENFORCE: None}}}, headers=MERGE), name)
    if name not in IMMORTAL:
        assert refused(await berth.delete(path), name)


@pytest.mark.parametrize(
    "change",
    [
        {"berth.dev/owner": "other"},
        {"berth.dev/owner": None},
        {"berth.dev/instance": "another"},
        {ENFORCE: "privileged"},
        {ENFORCE: None},
        {f"{ENFORCE}-version": "v1.0"},
    ],
)
async def test_its_own_namespace_keeps_its_labels(
    berth: httpx.AsyncClient, own: Json, change: dict[str, str | None]
) -> None:
    name = own["metadata"]["name"]
    response = await berth.patch(f"{PATHS['Namespace']}/{name}", json={"metadata": {"labels": change}}, headers=MERGE)
    kept = response.status_code == 422 and f"{name} has to keep the label {ENFORCE}=" in response.json()["message"]
    assert kept or refused(response, name)
    labels = {key: value for key, value in (own["metadata"]["labels"] | change).items() if value is not None}
    new = namespace("tenant-new", {"berth.dev/instance": "new"} | labels)
    assert (await berth.post(PATHS["Namespace"], json=new)).status_code == 422


async def test_what_berth_does_is_allowed(berth: httpx.AsyncClient, own: Json) -> None:
    name = own["metadata"]["name"]
    for each in content(name):
        path = f"{PATHS[each['kind']].format(name)}/{each['metadata']['name']}"
        query = {"fieldManager": BERTH, "force": "true"}
        response = await berth.patch(path, json=each, headers=APPLY, params=query)
        assert response.status_code == 201, response.text
    for path in (*DELETED, f"{PATHS['Namespace']}/{name}"):
        assert (await berth.delete(path.format(name))).status_code == 200


async def test_others_are_not_confined(control_plane: ControlPlane, own: Json) -> None:
    name = own["metadata"]["name"]
    await kubectl(control_plane, "label", "--overwrite", "namespace", name, f"{ENFORCE}=baseline", "--dry-run=server")
    await kubectl(control_plane, "create", "configmap", "theirs", "-n", name, "--dry-run=server")
    await kubectl(control_plane, "create", "configmap", "theirs", "-n", "default", "--dry-run=server")


async def test_new_namespaces_are_known_to_the_policy(control_plane: ControlPlane) -> None:
    path = control_plane.directory / "confined.kubeconfig"
    path.write_text(json.dumps(control_plane.context(BERTH)))
    settings = KubernetesSettings(kubeconfig=str(path), total_timeout=5)
    client = await connect(KubeconfigAccess(control_plane.name), settings)
    cluster = KubernetesApiCluster(client, settings, SystemClock(), OWNER)
    tenants = [fresh_tenant() for _ in range(10)]
    try:
        await asyncio.gather(
            *(cluster.apply(TEMPLATES.render(each, LOCAL)[:2]) for each in tenants)
        )  # with a service account
    finally:
        await cluster.close()
    names = [namespace_name(each.instance) for each in tenants]
    await kubectl(control_plane, "delete", "namespace", "--wait=false", *names)


@pytest.mark.usefixtures("foreign")
async def test_two_berths_share_a_cluster(control_plane: ControlPlane, own: Json) -> None:
    policy = filled_in("admission-policy.yaml", {"OBJECT-ID": SECOND, "OWNER": SECOND})
    await kubectl(control_plane, "apply", "--server-side", "-f", "-", stdin=policy)
    await kubectl(
        control_plane, "create", "clusterrolebinding", SECOND, "--clusterrole=cluster-admin", f"--user={SECOND}"
    )
    first = own["metadata"]["name"]
    await confined(control_plane, SECOND, SECOND, first)
    async with caller(control_plane, SECOND) as http:
        labels = own["metadata"]["labels"] | {"berth.dev/owner": SECOND, "berth.dev/instance": "its-own"}
        assert (await http.post(PATHS["Namespace"], json=namespace("tenant-its-own", labels))).status_code == 201
        # Whatever a role allows, the policy does not.
        role: Json = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "all"},
            "rules": [],
        }
        for name in (first, "kube-system"):
            of_rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/roles"
            assert refused(await http.post(of_rbac, json=role), name, SECOND)
        secret = f"{PATHS['Secret']}/tenant".format("kube-system")
        assert refused(await http.delete(secret), "kube-system", SECOND)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "product-0"}}
        pod = f"{DELETED[1]}/product-0".format("kube-system")
        assert refused(await http.post(f"{pod}/eviction", json=eviction), "kube-system", SECOND)
    await kubectl(control_plane, "delete", "clusterrolebinding", SECOND)
    await kubectl(control_plane, "delete", "-f", "-", stdin=policy)
