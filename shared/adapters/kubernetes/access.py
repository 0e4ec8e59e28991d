"""The ways to reach a cluster: a kubeconfig context, or berth's own Microsoft Entra identity on AKS."""

import asyncio
import time

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import (
    ConfigException,
    load_kube_config,  # pyright: ignore[reportUnknownVariableType] - untyped there
)

from shared.adapters.kubernetes.client import KubernetesClient
from shared.domain.clusters import AzureAccess, ClusterAccess, KubeconfigAccess
from shared.errors import Permanent, Transient
from shared.settings import KubernetesSettings

# The AKS server application, the same for every cluster: https://azure.github.io/kubelogin/concepts/aks.html
AKS_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
RENEW_AHEAD_SECONDS = 300


class EntraTokens:
    """Bearer tokens for AKS, renewed ahead of their end, by one request at a time."""

    def __init__(self, credential: AsyncTokenCredential) -> None:
        self._credential = credential
        self._turn = asyncio.Lock()
        self._held: AccessToken | None = None

    async def token(self, *, renew: bool = False) -> str:
        """Return a token that is valid for five more minutes; raises Transient if none can be had."""
        refused = self._held if renew else None
        async with self._turn:
            held = self._held
            if held is None or held is refused or held.expires_on - time.time() < RENEW_AHEAD_SECONDS:
                try:
                    held = self._held = await self._credential.get_token(AKS_SCOPE)
                except AzureError as error:
                    raise Transient(f"no token for the cluster: {type(error).__name__}") from error
            return held.token


async def connect(
    access: ClusterAccess, settings: KubernetesSettings, credential: AsyncTokenCredential | None = None
) -> KubernetesClient:
    """Return a client of the cluster.

    Args:
        access: How to reach it.
        settings: Time limits and the number of requests at once.
        credential: The identity for `AzureAccess`; by default the one that the environment gives.

    Raises:
        Permanent: The kubeconfig file has no such context.
    """
    configuration = Configuration()
    match access:
        case KubeconfigAccess(context):
            try:
                await load_kube_config(
                    config_file=settings.kubeconfig or None, context=context, client_configuration=configuration
                )
            except ConfigException as error:
                raise Permanent(f"the kubeconfig file has no context {context} that works") from error
            return KubernetesClient(configuration, settings)
        case AzureAccess(server, ca_pem):
            configuration.host = server
            configuration.ca_cert_data = ca_pem
            return KubernetesClient(configuration, settings, EntraTokens(credential or DefaultAzureCredential()))
