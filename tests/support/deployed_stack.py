"""A stack whose cluster is a deployed one: the app signs in to it with its managed identity, as on Azure."""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from cli.deploy.azure import Azure
from cli.deploy.deployment import DeployedCluster, Deployment
from cli.deploy.kubernetes import connected
from cli.deploy.objects import GATEWAY_CLASS
from cli.deploy.register import register
from cli.deploy.run import prepare
from cli.deploy.waiting import Waiting
from local.gateway.controller import CONTROLLER
from local.kubernetes import control_plane
from local.kubernetes.control_plane import OWNER, Options, kubectl
from local.stack import Stack
from tests.support.described_api import DescribedApi
from tests.support.fake_azure import FakeAzure, new_deployed_cluster, new_deployment

ACCOUNT = "app"
IDENTITY = f"system:serviceaccount:default:{ACCOUNT}"  # in the place of an object id: whose token the API server takes
CLASS = control_plane.HERE / "storage-class.yaml"


@dataclass
class Deployed:
    """A running stack, as azd sees it."""

    stack: Stack
    deployment: Deployment
    commands: FakeAzure
    azure: Azure
    operators: DescribedApi
    waiting: Waiting
    lines: list[str]
    versions: list[Mapping[str, str]]

    @property
    def cluster(self) -> DeployedCluster:
        """The only one."""
        return self.deployment.clusters[0]

    async def register(self) -> None:
        """Register the cluster."""
        async with connected(self.azure, self.commands, self.cluster, self.waiting) as kubectl:
            await register(self.operators, self.cluster, await kubectl.authority(), self.waiting)


@asynccontextmanager
async def deployed_stack() -> AsyncGenerator[Deployed]:
    """Run a stack on whose cluster the hook that prepares clusters has run twice."""
    runner: list[web.AppRunner] = []

    async def sign_in_by_identity(stack: Stack) -> Mapping[str, str]:
        plane = stack.control_plane
        await kubectl(plane, "create", "serviceaccount", ACCOUNT, "-n", "default")
        token = (await kubectl(plane, "create", "token", ACCOUNT, "-n", "default")).strip()

        async def respond(request: web.Request) -> web.Response:
            assert request.headers["X-IDENTITY-HEADER"] == "header"
            expires = str(int(time.time()) + 3000)
            return web.json_response(
                {"access_token": token, "expires_on": expires, "token_type": "Bearer", "resource": "aks"}
            )

        app = web.Application()
        app.router.add_get("/token", respond)
        runner.append(web.AppRunner(app))
        await runner[0].setup()
        port = stack.ports.take()
        await web.TCPSite(runner[0], "127.0.0.1", port).start()
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{port}/token",
            "IDENTITY_HEADER": "header",
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "BERTH_KUBERNETES_AKS_DOMAINS": "localhost",
        }

    lines: list[str] = []
    waiting = Waiting(seconds=30, pause=0.1, say=lines.append)
    async with (
        Stack(options=Options(ready_seconds=0.1), before_host=sign_in_by_identity) as stack,
        DescribedApi(stack.api_url, stack.master_key) as operators,
    ):
        plane = stack.control_plane
        await _as_on_aks(stack)
        cluster = new_deployed_cluster(
            plane.name,
            domain=plane.gateway.domain,
            server=plane.server.replace("127.0.0.1", "localhost"),
        )
        deployment = new_deployment(cluster, app_url=stack.api_url, app_principal_id=IDENTITY, owner=OWNER)
        commands = FakeAzure(
            deployment, key=stack.master_key, admin=lambda: plane.context(control_plane.ADMIN, "system:masters")
        )
        azure = Azure(commands, deployment, waiting)
        versions: list[Mapping[str, str]] = []
        for _ in range(2):
            await prepare(commands, azure, deployment, waiting)
            versions.append(await _versions(stack))
        await _simulate_volumes(stack)
        yield Deployed(stack, deployment, commands, azure, operators, waiting, lines, versions)
    await runner[0].cleanup()


async def _as_on_aks(stack: Stack) -> None:
    """Let the cluster have AKS's class of gateways, and nothing that the hook makes."""
    plane = stack.control_plane
    await kubectl(plane, "delete", "gateway", "tenants", "-n", "gateway")
    await kubectl(plane, "delete", "storageclass", "berth-disk")
    found = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": GATEWAY_CLASS},
        "spec": {"controllerName": CONTROLLER},
    }
    await kubectl(plane, "create", "-f", "-", stdin=json.dumps(found))


async def _simulate_volumes(stack: Stack) -> None:
    """Put back the class that simulates volumes, because the driver of AKS's is not here."""
    await kubectl(stack.control_plane, "delete", "storageclass", "berth-disk")
    await kubectl(stack.control_plane, "apply", "--server-side", "-f", str(CLASS))


KINDS = (
    "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,priorityclass,"
    "storageclass,flowschema,prioritylevelconfiguration"
)


async def _versions(stack: Stack) -> Mapping[str, str]:
    """Return all that the hook applies, but its status, which Kubernetes itself writes."""
    found: dict[str, str] = {}
    for arguments in (
        (KINDS,),
        ("serviceaccount,gateway", "-n", "gateway"),
        ("configmap,service,deployment,httproute,networkpolicy,poddisruptionbudget", "-n", "waiting-room"),
        ("configmap", "-n", "kube-system"),
    ):
        for each in json.loads(await kubectl(stack.control_plane, "get", *arguments, "-o", "json"))["items"]:
            each.pop("status", None)
            each["metadata"].pop("resourceVersion")
            found[f"{each['kind']}/{each['metadata']['name']}"] = json.dumps(each)
    return found
