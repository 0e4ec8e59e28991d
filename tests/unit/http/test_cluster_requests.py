from pathlib import Path

import pytest
from pydantic import ValidationError

from functions.http.requests import ClusterRegistration
from local.kubernetes.certificates import Authority
from shared.domain.clusters import AzureAccess, ClusterName

SERVER = "https://a-1.hcp.westeurope.azmk8s.io:443"


def test_only_readable_certificates_are_accepted(tmp_path: Path) -> None:
    pem = Authority(tmp_path).certificate.read_text()
    access = {"server": SERVER, "ca_pem": pem + pem}
    registration = ClusterRegistration.model_validate({"region": "westeurope", "capacity": 500, "access": access})
    assert registration.to_domain(ClusterName("weu-1")).access == AzureAccess(SERVER, pem + pem)
    broken = {"server": SERVER, "ca_pem": pem.replace("MII", "MIJ", 1)}
    with pytest.raises(ValidationError, match="PEM form"):
        ClusterRegistration.model_validate({"region": "westeurope", "capacity": 500, "access": broken})
