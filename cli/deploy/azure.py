"""What is asked of Azure, by the Azure CLI. A role that was just assigned works after minutes: that is waited for."""

import json
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.deploy.commands import CommandError, Commands
from cli.deploy.deployment import DeployedCluster, Deployment, RoleAssignment
from cli.deploy.waiting import NotYetError, Waiting

SEED_BYTES = 32
# How Azure says that a role is missing: in its control plane, in a vault, and of an AKS cluster.
_REFUSALS = ("AuthorizationFailed", "does not have authorization", "Forbidden", "ForbiddenByRbac")
_SELF_SIGNED: Mapping[str, Any] = {
    "issuerParameters": {"name": "Self"},
    "keyProperties": {"exportable": True, "keyType": "RSA", "keySize": 2048, "reuseKey": False},
    # Not renewed by itself: the policy may stay with a certificate that is imported under its name later.
    "lifetimeActions": [{"action": {"actionType": "EmailContacts"}, "trigger": {"daysBeforeExpiry": 30}}],
    "secretProperties": {"contentType": "application/x-pkcs12"},
}


class Azure:
    """The Azure CLI with the subscription of a deployment."""

    def __init__(self, commands: Commands, deployment: Deployment, waiting: Waiting) -> None:
        self._commands = commands
        self._deployment = deployment
        self._waiting = waiting

    async def ensure_secrets(self) -> Sequence[str]:
        """Make the secrets that the app needs and its vault lacks, of random characters; return the names of these."""
        vault = self._deployment.vault
        listed = await self._az("keyvault", "secret", "list", "--vault-name", vault)
        missing = [name for name in self._deployment.secrets if name not in {each["name"] for each in listed}]
        for name in missing:
            # In a file, because all processes of a machine see each other's arguments.
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "secret"
                path.touch(mode=0o600)
                path.write_text(secrets.token_hex(SEED_BYTES))
                where = ("--vault-name", vault, "--name", name, "--file", str(path), "--encoding", "utf-8")
                await self._az("keyvault", "secret", "set", *where, output="none")
        return missing

    async def refresh_settings(self) -> None:
        """Let the app read its secrets again, which it else does within a day."""
        url = f"{self._app}/config/configreferences/appsettings/refresh?api-version=2022-03-01"
        await self._az("rest", "--method", "post", "--url", url, output="none")

    async def secret_states(self) -> Mapping[str, str]:
        """Return how the app gets on with each of its settings that is a secret: `Resolved` is well."""
        url = f"{self._app}/config/configreferences/appsettings?api-version=2022-03-01"
        found = await self._az("rest", "--method", "get", "--url", url)
        return {each["name"]: each["properties"]["status"] for each in found["value"]}

    async def restart_app(self) -> None:
        """Start the app anew."""
        await self._az("functionapp", "restart", *self._named_app, output="none")

    async def master_key(self) -> str:
        """Return the key of the app for operators; raises CommandError if its host does not run."""
        return (await self._az("functionapp", "keys", "list", *self._named_app))["masterKey"]

    async def certificate_issuer(self, cluster: DeployedCluster) -> str | None:
        """Return who issued a cluster's certificate, `Self` for its own; None if there is none."""
        vault = ("--vault-name", cluster.certificate_vault)
        listed = await self._az("keyvault", "certificate", "list", *vault)
        if cluster.certificate_name not in {each["name"] for each in listed}:
            return None
        shown = await self._az("keyvault", "certificate", "show", *vault, "--name", cluster.certificate_name)
        return str(shown["policy"]["issuerParameters"]["name"])

    async def make_certificate(self, cluster: DeployedCluster) -> None:
        """Make a certificate of a cluster's domain that no browser trusts, until an operator imports another one."""
        names = {"dnsNames": [f"*.{cluster.domain}"]}
        subject = {"subject": "CN=tenants", "subjectAlternativeNames": names, "validityInMonths": 12}
        policy = json.dumps({**_SELF_SIGNED, "x509CertificateProperties": subject})
        where = ("--vault-name", cluster.certificate_vault, "--name", cluster.certificate_name)
        await self._az("keyvault", "certificate", "create", *where, "--policy", policy, output="none")

    async def allow_pull(self, cluster: DeployedCluster) -> None:
        """Let the nodes of a cluster pull from the registry."""
        if self._deployment.registry_id:
            who = (
                "--assignee-object-id",
                cluster.kubelet_principal_id,
                "--assignee-principal-type",
                "ServicePrincipal",
            )
            what = ("--role", "AcrPull", "--scope", self._deployment.registry_id)
            await self._az("role", "assignment", "create", *who, *what, output="none")

    async def disallow_pull(self, cluster: DeployedCluster) -> None:
        """Take that back."""
        if self._deployment.registry_id:
            who = ("--assignee-object-id", cluster.kubelet_principal_id)
            what = ("--role", "AcrPull", "--scope", self._deployment.registry_id)
            try:
                await self._az("role", "assignment", "delete", *who, *what, output="none")
            except CommandError as error:
                if "No matched assignments" not in str(error):
                    raise

    async def roles_of(self, principal_id: str) -> Sequence[RoleAssignment]:
        """Return the roles that an identity has in the subscription, and by inheritance from above it."""
        who = ("--assignee-object-id", principal_id, "--all")
        filled = ("--fill-role-definition-name", "true", "--fill-principal-name", "false")
        listed = await self._az("role", "assignment", "list", *who, *filled)
        return [RoleAssignment(each["principalId"], each["roleDefinitionName"], each["scope"]) for each in listed]

    async def recent_requests(self, minutes: int) -> int:
        """Return how many requests of the app Application Insights has received."""
        group = ("--resource-group", self._deployment.resource_group)
        [insights] = await self._az("resource", "list", *group, "--resource-type", "Microsoft.Insights/components")
        query = json.dumps({"query": f"requests | where timestamp > ago({minutes}m) | count"})
        url = f"{insights['id']}/query?api-version=2018-04-20"
        answer = await self._az("rest", "--method", "post", "--url", url, "--body", query)
        return int(answer["tables"][0]["rows"][0][0])

    async def kubeconfig(self, cluster: DeployedCluster, path: Path) -> None:
        """Write how to reach a cluster with the sign-in of the Azure CLI."""
        where = ("--name", cluster.name, "--resource-group", cluster.resource_group, "--file", str(path))
        await self._az("aks", "get-credentials", *where, "--overwrite-existing", output="none")
        await self._commands.run("kubelogin", "convert-kubeconfig", "-l", "azurecli", "--kubeconfig", str(path))

    async def stop_metrics(self, cluster: DeployedCluster) -> None:
        """Take a cluster off the rule by which its metrics are collected: Azure deletes no rule that has a cluster."""
        cluster_id = (
            f"{self._group(cluster.resource_group)}/providers/Microsoft.ContainerService/managedClusters/{cluster.name}"
        )
        association = f"{cluster_id}/providers/Microsoft.Insights/dataCollectionRuleAssociations/prometheus"
        try:
            await self._az(
                "rest", "--method", "delete", "--url", f"{association}?api-version=2024-03-11", output="none"
            )
        except CommandError as error:
            if "NotFound" not in str(error):
                raise

    async def remove_budget(self) -> bool:
        """Remove the budget of this environment, which is in no resource group; return whether there was one."""
        listed = await self._az("consumption", "budget", "list")
        name = f"budget-{self._deployment.environment}"
        if name not in {each["name"] for each in listed}:
            return False
        await self._az("consumption", "budget", "delete", "--budget-name", name, output="none")
        return True

    @property
    def _app(self) -> str:
        return (
            f"{self._group(self._deployment.resource_group)}/providers/Microsoft.Web/sites/{self._deployment.app_name}"
        )

    @property
    def _named_app(self) -> Sequence[str]:
        return ("--name", self._deployment.app_name, "--resource-group", self._deployment.resource_group)

    def _group(self, name: str) -> str:
        return f"/subscriptions/{self._deployment.subscription}/resourceGroups/{name}"

    async def _az(self, *arguments: str, output: str = "json") -> Any:
        """Run the Azure CLI and return what it prints; a role that is missing is waited for."""
        command = ("az", *arguments, "--subscription", self._deployment.subscription)

        async def attempt() -> str:
            try:
                return await self._commands.run(*command, "--output", output, "--only-show-errors")
            except CommandError as error:
                if any(each in str(error) for each in _REFUSALS):
                    raise NotYetError(f"a role is missing, or takes some minutes yet: {error}") from error
                raise

        printed = await self._waiting.until(attempt)
        return json.loads(printed) if output == "json" else None
