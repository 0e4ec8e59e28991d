"""The addresses to which berth sends its Entra token."""

import pytest

from shared.adapters.kubernetes.aks_address import ensure_aks
from shared.errors import WrongRegistration
from shared.settings import KubernetesSettings

DOMAINS = KubernetesSettings().aks_domains


@pytest.mark.parametrize(
    "server",
    [
        "https://weu-1-dns-0a1b2c3d.hcp.westeurope.azmk8s.io",
        "https://weu-1-dns-0a1b2c3d.hcp.westeurope.azmk8s.io:443",
        "https://weu-1.privatelink.westeurope.azmk8s.io:443",
        "https://weu-1.0f8c.privatelink.westeurope.azmk8s.io",
        "https://cn-1.hcp.chinaeast2.cx.prod.service.azk8s.cn:443",
        "https://us-1.hcp.usgovvirginia.cx.aks.containerservice.azure.us:443",
    ],
)
def test_api_servers_of_aks_are_allowed(server: str) -> None:
    ensure_aks(server, DOMAINS)


@pytest.mark.parametrize(
    "server",
    [
        "https://evilazmk8s.io",
        "https://a.evilazmk8s.io",
        "https://a.azmk8s.io.evil.com",
        "https://a.azmk8s.io.evil.com:443",
        "https://a.azmk8s.io@evil.com",
        "https://evil.com@a.azmk8s.io",
        "https://evil.com:443@a.azmk8s.io",
        "https://evil.com/a.azmk8s.io",
        "https://evil.com#.azmk8s.io",
        "https://evil.com?.azmk8s.io",
        "https://evil.com\\.azmk8s.io",
        "https://evil.com%2f.azmk8s.io",
        "https://evil.com\n.azmk8s.io",
        "https://a.azmk8s.io\n",
        "https://a.azmk8s.io/",
        "https://a.azmk8s.io/path",
        "https://a.azmk8s.io.",
        "https://.azmk8s.io",
        "https://a..azmk8s.io",
        "https://-a.azmk8s.io",
        "https://A.AZMK8S.IO",
        "https://a.azmk8s\u3002io",
        "https://a.azmk8s.\u0456o",
        "https://a.azmk8s.io:",
        "https://a.azmk8s.io:x",
        "https://10.0.0.1",
        "https://[::1]",
        "https://localhost",
        "https://service.azk8s.cn",
        "http://a.azmk8s.io",
        "HTTPS://a.azmk8s.io",
        "a.azmk8s.io",
        "//a.azmk8s.io",
        " https://a.azmk8s.io",
        "",
    ],
)
def test_no_other_address_is_allowed(server: str) -> None:
    with pytest.raises(WrongRegistration, match="BERTH_KUBERNETES_AKS_DOMAINS"):
        ensure_aks(server, DOMAINS)


def test_operators_choose_the_domains() -> None:
    ensure_aks("https://a.aks.example.com", "azmk8s.io,aks.example.com")
    with pytest.raises(WrongRegistration, match=r"one of the domains aks\.example\.com"):
        ensure_aks("https://a.azmk8s.io", "aks.example.com")
