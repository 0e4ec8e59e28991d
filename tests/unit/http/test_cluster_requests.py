from pathlib import Path

import pytest
from pydantic import ValidationError

from functions.http.requests import ClusterRegistration
from local.kubernetes.certificates import Authority
from shared.domain.clusters import AzureAccess, ClusterName, GatewayRef
from tests.support.builders import registration_body

SERVER = "https://a-1.hcp.westeurope.azmk8s.io:443"


def test_only_readable_certificates_are_accepted(tmp_path: Path) -> None:
    pem = Authority(tmp_path).certificate.read_text()
    access = {"server": SERVER, "ca_pem": pem + pem}
    registration = ClusterRegistration.model_validate(registration_body(access=access))
    assert registration.to_domain(ClusterName("weu-1")).access == AzureAccess(SERVER, pem + pem)
    broken = {"server": SERVER, "ca_pem": pem.replace("MII", "MIJ", 1)}
    with pytest.raises(ValidationError, match="PEM form"):
        ClusterRegistration.model_validate(registration_body(access=broken))


def test_a_gateways_pods_run_in_its_namespace_unless_said() -> None:
    def gateway(**fields: str) -> GatewayRef:
        body = registration_body(gateway={"namespace": "routing", "name": "tenants", **fields})
        return ClusterRegistration.model_validate(body).to_domain(ClusterName("weu-1")).gateway

    assert gateway() == GatewayRef("routing", "tenants", "", "routing")
    assert gateway(listener="https", pods_namespace="mesh") == GatewayRef("routing", "tenants", "https", "mesh")
