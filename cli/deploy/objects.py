"""Applies what berth needs on a cluster: infra/kubernetes, filled in from azd's values."""

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from cli.deploy.deployment import DeployedCluster, Deployment
from cli.deploy.kubernetes import Kubectl
from cli.deploy.waiting import NotYetError, Waiting
from local.kubernetes.objects import fill_in_waiting_room, filled_in

GATEWAY = {"namespace": "gateway", "name": "tenants", "listener": "https"}  # as in gateway.yaml
# The policy comes before the role that it confines.
ORDER = (
    "admission-policy.yaml",
    "cluster-role.yaml",
    "cluster-role-binding.yaml",
    "priority-classes.yaml",
    "storage-classes.yaml",
    "flow-control.yaml",
    "gateway-metrics.yaml",
    "gateway.yaml",
)
CILIUM, CILIUM_KIND = "cilium-dns.yaml", "ciliumclusterwidenetworkpolicies.cilium.io"
# What AKS installs after it has said that the cluster is ready. In full, because Istio has a kind of gateways, too.
GATEWAYS = "gateways.gateway.networking.k8s.io"
KINDS = (GATEWAYS, "httproutes.gateway.networking.k8s.io")
GATEWAY_CLASS = "approuting-istio"


async def apply_objects(kubectl: Kubectl, deployment: Deployment, cluster: DeployedCluster, waiting: Waiting) -> None:
    """Apply all objects to a cluster, and wait until its gateway serves. To do it again changes nothing.

    Raises:
        NotYetError: Something did not come in time.
        CommandError: The API server refuses an object.
    """
    await waiting.until(lambda: _serves_gateways(kubectl))
    values = {
        "OBJECT-ID": deployment.app_principal_id,
        "OWNER": deployment.owner,
        "DOMAIN": cluster.domain,
        "RESOURCE-GROUP": cluster.resource_group,
        "ADDRESS": cluster.gateway_address_name,
        "CERTIFICATE-URI": cluster.certificate_uri,
        "CLIENT-ID": cluster.gateway_identity,
    }
    await kubectl.apply("---\n".join(filled_in(name, values) for name in ORDER))
    waiting.say(f"{cluster.name}: applied {', '.join(ORDER)}")
    if await kubectl.get("crd", CILIUM_KIND) is None:
        waiting.say(f"{cluster.name}: {CILIUM} is not needed, there is no Cilium")
    else:
        await kubectl.apply(filled_in(CILIUM, values))
        waiting.say(f"{cluster.name}: applied {CILIUM}")
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        fill_in_waiting_room(room, _waiting_room(deployment, cluster))
        await kubectl.apply_directory(room)
    waiting.say(f"{cluster.name}: applied waiting-room")
    await waiting.until(lambda: _gateway_serves(kubectl))
    waiting.say(f"{cluster.name}: the gateway serves *.{cluster.domain}")


def _waiting_room(deployment: Deployment, cluster: DeployedCluster) -> dict[str, str]:
    return {
        "DOMAIN": cluster.domain,
        "GATEWAY_NAMESPACE": GATEWAY["namespace"],
        "GATEWAY": GATEWAY["name"],
        "LISTENER": GATEWAY["listener"],
        "GATEWAY_PODS_NAMESPACE": GATEWAY["namespace"],
        "APP_HOST": urlsplit(deployment.app_url).netloc,
    }


async def _serves_gateways(kubectl: Kubectl) -> None:
    for kind in KINDS:
        if await kubectl.get("crd", kind) is None:
            raise NotYetError(f"the cluster does not serve {kind}: --enable-gateway-api installs it")
    if await kubectl.get("gatewayclass", GATEWAY_CLASS) is None:
        raise NotYetError(f"there is no gateway class {GATEWAY_CLASS}: --enable-app-routing-istio installs it")


async def _gateway_serves(kubectl: Kubectl) -> None:
    where = f"{GATEWAY['namespace']}/{GATEWAY['name']}"
    gateway = await kubectl.get(GATEWAYS, GATEWAY["name"], "--namespace", GATEWAY["namespace"])
    if gateway is None:
        raise NotYetError(f"there is no gateway {where}")
    status = gateway.get("status", {})
    for each in (status, *status.get("listeners", ())):
        found = [condition for condition in each.get("conditions", ()) if condition["type"] == "Programmed"]
        if not any(condition["status"] == "True" for condition in found):
            why = "; ".join(condition["message"] for condition in found) or "nothing serves it yet"
            raise NotYetError(f"the gateway {where} does not serve: {why}")
