"""The ways to reach a cluster: a kubeconfig context, or berth's own Microsoft Entra identity on AKS."""

import asyncio
import time

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import (
    ConfigException,
    load_kube_config,  # pyright: ignore[reportUnknownVariableType] - untyped there
)

from shared.adapters.kubernetes.aks_address import ensure_aks
from shared.adapters.kubernetes.client import KubernetesClient
from shared.domain.clusters import AzureAccess, ClusterAccess, KubeconfigAccess
from shared.errors import Transient, WrongRegistration
from shared.settings import KubernetesSettings

# The AKS server application, the same for every cluster: https://azure.github.io/kubelogin/concepts/aks.html
AKS_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
RENEW_AHEAD_SECONDS = 300  # as azure-identity itself, which requests a new one from then on
RENEWAL_TIMEOUT = 4.0  # seconds; the managed identity endpoint responds within one, or is away for a minute. Less than
# the check of a cluster may take, which must not call a cluster dead for the identity's sake


class EntraTokens:
    """Bearer tokens for AKS, renewed ahead of their end; concurrent requests share one renewal."""

    def __init__(self, credential: AsyncTokenCredential) -> None:
        self._credential = credential
        self._held: AccessToken | None = None
        self._renewal: asyncio.Task[AccessToken] | None = None

    async def token(self, *, refused: str = "") -> str:
        """Return a token that is valid for five more minutes, and not the one that the API server has just refused.

        azure-identity keeps tokens too: if it knows no other, it is the refused one again.

        Raises:
            Transient: No token can be had now, whatever type azure-identity raises: DefaultAzureCredential raises
                ClientAuthenticationError for a refusal as for a connection that broke, and CredentialUnavailableError
                may be a managed identity endpoint that did not respond or does not know a new identity yet. No tenant
                is at fault for berth's identity, and none could be removed without it.
        """
        held = self._held
        if held is None or held.token == refused or held.expires_on - time.time() < RENEW_AHEAD_SECONDS:
            try:
                held = await self._renewed()
            except Transient:
                if held is None or held.token == refused or held.expires_on <= time.time():
                    raise
        return held.token

    async def _renewed(self) -> AccessToken:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(), name="renew the token for AKS")
            self._renewal.add_done_callback(_take_exception)
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT):
                return await asyncio.shield(self._renewal)  # other requests wait for it too
        except (AzureError, TimeoutError) as error:
            # Only its type: azure-identity puts into the text whatever the response said.
            raise Transient(f"no token for the cluster: {type(error).__name__}") from error

    async def _renew(self) -> AccessToken:
        self._held = await self._credential.get_token(AKS_SCOPE)
        return self._held


def _take_exception(renewal: asyncio.Task[AccessToken]) -> None:
    """Retrieve a renewal's error, so that asyncio does not report it when nobody waits any more."""
    if not renewal.cancelled():
        renewal.exception()


async def connect(
    access: ClusterAccess, settings: KubernetesSettings, credential: AsyncTokenCredential | None = None
) -> KubernetesClient:
    """Return a client of the cluster.

    Args:
        access: How to reach it.
        settings: Time limits and the number of requests at once.
        credential: berth's identity, which `AzureAccess` needs; it stays open.

    Raises:
        WrongRegistration: The kubeconfig file has no such context, or the server is not one of AKS.
    """
    configuration = Configuration()
    match access:
        case KubeconfigAccess(context):
            try:
                await load_kube_config(
                    config_file=settings.kubeconfig or None, context=context, client_configuration=configuration
                )
            except ConfigException as error:
                raise WrongRegistration(f"the kubeconfig file has no context {context} that works") from error
            return KubernetesClient(configuration, settings)
        case AzureAccess(server, ca_pem):
            # Here too, because here the token is sent: the registration may be older than the setting.
            ensure_aks(server, settings.aks_domains)
            configuration.host = server
            configuration.ca_cert_data = ca_pem
            assert credential is not None
            return KubernetesClient(configuration, settings, EntraTokens(credential))
