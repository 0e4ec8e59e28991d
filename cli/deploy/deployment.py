"""What azd knows of a deployment: the outputs of infra/main.bicep."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.deploy.commands import CommandError, Commands


class DeploymentError(Exception):
    """There is no deployment here, or its outputs are older than these files."""


class NothingDeployedError(DeploymentError):
    """No deployment was finished, or azd's environment does not know of it."""


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """A role that an identity has.

    Attributes:
        principal_id: Object id of the identity.
        role: Name of the role.
        scope: Id of the resource or the group, or of what these are in, on which it has the role.
    """

    principal_id: str
    role: str
    scope: str


@dataclass(frozen=True, slots=True)
class DeployedCluster:
    """A cluster that azd has made.

    Attributes:
        name: In Azure, and as it is registered.
        resource_group: Where it is.
        region: Its region.
        domain: Under which its tenants have their addresses.
        capacity: The sum of plan weights that fit on it.
        server: Address of its API server.
        gateway_address_name: Name of the gateway's public address.
        certificate_vault: The vault of its certificate.
        certificate_uri: Where the certificate is, without a version.
        certificate_name: Its name in the vault.
        gateway_identity: Client id of the identity that reads it.
        kubelet_principal_id: Object id of the identity with which its nodes pull images.
        role_assignments: What its own identity and its gateway's need.
    """

    name: str
    resource_group: str
    region: str
    domain: str
    capacity: int
    server: str
    gateway_address_name: str
    certificate_vault: str
    certificate_uri: str
    certificate_name: str
    gateway_identity: str
    kubelet_principal_id: str
    role_assignments: Sequence[RoleAssignment]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What azd has made.

    Attributes:
        environment: The name of azd's environment.
        subscription: Id of the subscription.
        resource_group: Where the app is.
        app_name: Name of the Functions app.
        app_url: Its address, without a path.
        app_principal_id: Object id of the app's identity: its user on each cluster.
        app_role_assignments: What that identity needs.
        owner: The id of this berth, BERTH_TENANTS_OWNER.
        vault: Of the app's secrets.
        secrets: Names of the secrets that the app needs.
        registry_id: The container registry that nodes pull from; empty if it needs no sign-in.
        clusters: All of them.
    """

    environment: str
    subscription: str
    resource_group: str
    app_name: str
    app_url: str
    app_principal_id: str
    app_role_assignments: Sequence[RoleAssignment]
    owner: str
    vault: str
    secrets: Sequence[str]
    registry_id: str
    clusters: Sequence[DeployedCluster]


async def deployment(commands: Commands, variables: Mapping[str, str] = os.environ) -> Deployment:
    """Return the deployment of azd's environment: azd gives hooks its values as variables, others ask it.

    Raises:
        NothingDeployedError: There are no outputs at all.
        DeploymentError: A value is missing, or azd does not answer.
    """
    if "CLUSTERS" not in variables:
        try:
            variables = json.loads(await commands.run("azd", "env", "get-values", "--output", "json"))
        except CommandError as error:
            raise DeploymentError(f"azd knows no deployment here: {error}") from error
    if "CLUSTERS" not in variables:
        raise NothingDeployedError(
            "azd's environment has no outputs of a deployment: run azd provision, or azd env refresh if it was made "
            "elsewhere"
        )
    try:
        return _read(variables)
    except (KeyError, ValueError, TypeError) as error:
        raise DeploymentError(
            f"azd's environment lacks a value of this deployment ({error}): run azd provision first"
        ) from error


def _read(variables: Mapping[str, str]) -> Deployment:
    return Deployment(
        environment=variables["AZURE_ENV_NAME"],
        subscription=variables["AZURE_SUBSCRIPTION_ID"],
        resource_group=variables["AZURE_RESOURCE_GROUP"],
        app_name=variables["APP_NAME"],
        app_url=variables["APP_URL"],
        app_principal_id=variables["APP_IDENTITY_PRINCIPAL_ID"],
        app_role_assignments=_role_assignments(json.loads(variables["APP_ROLE_ASSIGNMENTS"])),
        owner=variables["TENANTS_OWNER"],
        vault=variables["KEY_VAULT_NAME"],
        secrets=json.loads(variables["KEY_VAULT_SECRETS"]),
        registry_id=variables.get("BERTH_REGISTRY_ID", ""),
        clusters=[_cluster(each) for each in json.loads(variables["CLUSTERS"])],
    )


def _cluster(output: Mapping[str, Any]) -> DeployedCluster:
    return DeployedCluster(
        name=output["name"],
        resource_group=output["resourceGroup"],
        region=output["region"],
        domain=output["domain"],
        capacity=output["capacity"],
        server=output["server"],
        gateway_address_name=output["gatewayAddressName"],
        certificate_vault=output["certificateVault"],
        certificate_uri=output["certificateUri"],
        certificate_name=output["certificateName"],
        gateway_identity=output["gatewayIdentityClientId"],
        kubelet_principal_id=output["kubeletPrincipalId"],
        role_assignments=_role_assignments(output["roleAssignments"]),
    )


def _role_assignments(output: Sequence[Mapping[str, str]]) -> Sequence[RoleAssignment]:
    return [RoleAssignment(each["principalId"], each["role"], each["scope"]) for each in output]
