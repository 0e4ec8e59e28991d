"""The ways to reach a cluster: a kubeconfig context, or berth's own Microsoft Entra identity on AKS."""

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException

from shared.adapters.kubernetes.aks_address import ensure_aks
from shared.adapters.kubernetes.client import KubernetesClient
from shared.adapters.kubernetes.kubeconfig import load_context
from shared.adapters.kubernetes.tokens import RenewedTokens
from shared.domain.clusters import AzureAccess, ClusterAccess, KubeconfigAccess
from shared.errors import WrongRegistration
from shared.settings import KubernetesSettings

# The AKS server application, the same for every cluster: https://azure.github.io/kubelogin/concepts/aks.html
AKS_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
RENEW_AHEAD_SECONDS = 300  # as azure-identity itself, which requests a new one from then on


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
    match access:
        case KubeconfigAccess(context):
            try:
                configuration, tokens = await load_context(settings.kubeconfig, context)
            except ConfigException as error:
                raise WrongRegistration(f"the kubeconfig file has no context {context} that works") from error
            return KubernetesClient(configuration, settings, tokens)
        case AzureAccess(server, ca_pem):
            # Here too, because here the token is sent: the registration may be older than the setting.
            ensure_aks(server, settings.aks_domains)
            assert credential is not None
            configuration = Configuration()
            configuration.host = server
            configuration.ca_cert_data = ca_pem
            return KubernetesClient(configuration, settings, entra_tokens(credential))


def entra_tokens(credential: AsyncTokenCredential) -> RenewedTokens:
    """Return the tokens of berth's own identity for AKS."""

    async def request() -> AccessToken:
        return await credential.get_token(AKS_SCOPE)

    return RenewedTokens(request, renew_ahead=RENEW_AHEAD_SECONDS)
