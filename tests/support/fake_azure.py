"""Azure as the Azure CLI shows it, with one deployment; kubectl and all that it talks to are real."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.deploy.commands import CommandError, SystemCommands
from cli.deploy.deployment import DeployedCluster, Deployment, RoleAssignment
from local.kubernetes.control_plane import binary

NOT_FOUND = "az: ERROR: 'bogus' is misspelled or not recognized by the system."
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-prod"
APP = "66666666-7777-8888-9999-000000000000"
HOST_DOWN = "az: ERROR: Operation returned an invalid status 'Bad Request': ServiceUnavailable from host runtime."
GONE = 'az: ERROR: Not Found({"error": {"code": "ResourceNotFound", "message": "The resource was not found."}})'
FORBIDDEN = "az: ERROR: (Forbidden) Caller is not authorized to perform action on resource."


class FakeAzure:
    """Takes the place of the programs az, azd and kubelogin.

    Attributes:
        secrets: The secrets of the vault, by name.
        certificates: Who issued the certificate of each cluster, by its vault.
        pulls: Which identities may pull from the registry.
        budgets: The names of the budgets.
        roles: The roles of all identities.
        records: How many requests Application Insights has received lately.
        refusals: How often the next commands are refused, as before a role works.
        key_errors: How often the app's host does not give its key, as while it starts.
        associations: The clusters whose metrics are collected.
        secret_statuses: What Azure says of the app's secret, at each look; the last one stays.
        restarts: How often the app was started anew.
        lines: All commands that were run.
    """

    def __init__(
        self, deployment: Deployment, *, key: str = "key", admin: Callable[[], Mapping[str, Any]] = dict
    ) -> None:
        self._deployment = deployment
        self._key = key
        self._admin = admin
        self.secrets: dict[str, str] = {}
        self.certificates: dict[str, str] = {}
        self.policies: list[Mapping[str, Any]] = []
        self.pulls: list[str] = []
        self.budgets = [f"budget-{deployment.environment}", "another"]
        self.roles = [*deployment.app_role_assignments]
        self.roles += [role for each in deployment.clusters for role in each.role_assignments]
        self.secret_statuses = ["Resolved"]
        self.records = 3
        self.refusals = 0
        self.key_errors = 0
        self.associations = {each.name for each in deployment.clusters}
        self.restarts = 0
        self.lines: list[Sequence[str]] = []

    async def run(self, *command: str, stdin: str = "") -> str:
        """Respond as the Azure CLI, or run kubectl."""
        self.lines.append(command)
        match command[0]:
            case "az":
                return self._az(command[1:])
            case "azd":
                return json.dumps(values(self._deployment))
            case "kubelogin":
                assert command[1:4] == ("convert-kubeconfig", "-l", "azurecli")
                return ""
            case "kubectl":
                return await SystemCommands().run(binary("kubectl"), *command[1:], stdin=stdin)
            case _:
                raise CommandError(f"there is no {command[0]} here")

    def _az(self, arguments: Sequence[str]) -> str:
        first = next(index for index, each in enumerate(arguments) if each.startswith("--"))
        words, options = arguments[:first], _options(arguments[first:])
        assert options["--subscription"] == self._deployment.subscription
        if self.refusals:
            self.refusals -= 1
            raise CommandError(FORBIDDEN)
        found = self._respond(" ".join(words), options)
        return "" if options["--output"] == "none" else json.dumps(found)

    def _respond(self, words: str, given: Mapping[str, str]) -> Any:
        match words:
            case "keyvault secret list":
                assert given["--vault-name"] == self._deployment.vault
                return [{"name": name} for name in self.secrets]
            case "keyvault secret set":
                path = Path(given["--file"])
                assert path.stat().st_mode & 0o077 == 0
                self.secrets[given["--name"]] = path.read_text()
            case "keyvault certificate list":
                return [{"name": "tenants"}] if given["--vault-name"] in self.certificates else []
            case "keyvault certificate show":
                return {"policy": {"issuerParameters": {"name": self.certificates[given["--vault-name"]]}}}
            case "keyvault certificate create":
                policy = json.loads(given["--policy"])
                self.policies.append(policy)
                self.certificates[given["--vault-name"]] = policy["issuerParameters"]["name"]
            case "role assignment create":
                assert (given["--role"], given["--scope"]) == ("AcrPull", self._deployment.registry_id)
                if given["--assignee-object-id"] not in self.pulls:
                    self.pulls.append(given["--assignee-object-id"])
            case "role assignment delete":
                if given["--assignee-object-id"] not in self.pulls:
                    raise CommandError("az: ERROR: No matched assignments were found to delete")
                self.pulls.remove(given["--assignee-object-id"])
            case "role assignment list":
                assert given["--all"] == ""  # else only those on the subscription itself
                who = given["--assignee-object-id"]
                return [
                    {"principalId": who, "roleDefinitionName": each.role, "scope": each.scope}
                    for each in self.roles
                    if each.principal_id == who
                ]
            case "functionapp keys list":
                if self.key_errors:
                    self.key_errors -= 1
                    raise CommandError(HOST_DOWN)
                return {"masterKey": self._key, "functionKeys": {}, "systemKeys": {}}
            case "functionapp restart":
                assert given["--name"] == self._deployment.app_name
                self.restarts += 1
            case "aks get-credentials":
                Path(given["--file"]).write_text(json.dumps(self._admin()))
            case "resource list":
                return [{"id": "/subscriptions/x/components/appi"}]
            case "rest" if "/query?" in given["--url"]:
                return {"tables": [{"rows": [[self.records]]}]}
            case "rest" if given["--method"] == "get":
                status = self.secret_statuses.pop(0) if len(self.secret_statuses) > 1 else self.secret_statuses[0]
                return {"value": [{"name": "BERTH_TENANTS_SECRET_SEED", "properties": {"status": status}}]}
            case "rest" if given["--method"] == "delete":
                self._delete_association(given["--url"])
            case "rest":
                assert given["--url"].startswith("/subscriptions/")
                assert "/refresh?" in given["--url"]
            case "consumption budget list":
                return [{"name": name} for name in self.budgets]
            case "consumption budget delete":
                self.budgets.remove(given["--budget-name"])
            case _:
                raise CommandError(NOT_FOUND)
        return None

    def _delete_association(self, url: str) -> None:
        for each in self._deployment.clusters:
            group = f"/subscriptions/{self._deployment.subscription}/resourceGroups/{each.resource_group}"
            cluster = f"{group}/providers/Microsoft.ContainerService/managedClusters/{each.name}"
            if url.startswith(f"{cluster}/providers/Microsoft.Insights/dataCollectionRuleAssociations/prometheus?"):
                if each.name not in self.associations:
                    raise CommandError(GONE)
                self.associations.remove(each.name)
                return
        raise CommandError(f"there is no {url}")


def values(deployment: Deployment) -> Mapping[str, str]:
    """Return azd's environment of a deployment."""
    return {
        "AZURE_ENV_NAME": deployment.environment,
        "AZURE_SUBSCRIPTION_ID": deployment.subscription,
        "AZURE_RESOURCE_GROUP": deployment.resource_group,
        "APP_NAME": deployment.app_name,
        "APP_URL": deployment.app_url,
        "APP_IDENTITY_PRINCIPAL_ID": deployment.app_principal_id,
        "APP_ROLE_ASSIGNMENTS": json.dumps(_outputs(deployment.app_role_assignments)),
        "TENANTS_OWNER": deployment.owner,
        "KEY_VAULT_NAME": deployment.vault,
        "KEY_VAULT_SECRETS": json.dumps(deployment.secrets),
        "BERTH_REGISTRY_ID": deployment.registry_id,
        "CLUSTERS": json.dumps(
            [
                {
                    "name": each.name,
                    "resourceGroup": each.resource_group,
                    "region": each.region,
                    "domain": each.domain,
                    "capacity": each.capacity,
                    "server": each.server,
                    "gatewayAddressName": each.gateway_address_name,
                    "certificateVault": each.certificate_vault,
                    "certificateUri": each.certificate_uri,
                    "certificateName": each.certificate_name,
                    "gatewayIdentityClientId": each.gateway_identity,
                    "gatewayServiceAccount": "gateway-certificate",
                    "kubeletPrincipalId": each.kubelet_principal_id,
                    "roleAssignments": _outputs(each.role_assignments),
                }
                for each in deployment.clusters
            ]
        ),
    }


def _outputs(assignments: Sequence[RoleAssignment]) -> Sequence[Mapping[str, str]]:
    return [{"principalId": each.principal_id, "role": each.role, "scope": each.scope} for each in assignments]


def new_deployment(*clusters: DeployedCluster, **changed: Any) -> Deployment:
    """Return a deployment as azd would make it."""
    usual: dict[str, Any] = {
        "environment": "prod",
        "subscription": SUBSCRIPTION,
        "resource_group": "rg-prod",
        "app_name": "func-berth-x",
        "app_url": "https://func-berth-x.azurewebsites.net",
        "app_principal_id": APP,
        "app_role_assignments": [
            RoleAssignment(APP, "Storage Blob Data Owner", f"{GROUP}/providers/Microsoft.Storage/storageAccounts/st"),
            RoleAssignment(APP, "Key Vault Secrets User", f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-berth-x"),
        ],
        "owner": "func-berth-x",
        "vault": "kv-berth-x",
        "secrets": ["berth-tenants-secret-seed"],
        "registry_id": "/subscriptions/x/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/r",
    }
    return Deployment(**(usual | changed), clusters=clusters or (new_deployed_cluster(),))


def new_deployed_cluster(name: str = "primary", **changed: Any) -> DeployedCluster:
    """Return a cluster as azd would make it."""
    group = f"{GROUP}-{name}"
    usual: dict[str, Any] = {
        "resource_group": f"rg-prod-{name}",
        "region": "westeurope",
        "domain": f"{name}.example.com",
        "capacity": 100,
        "server": f"https://berth-{name}.hcp.westeurope.azmk8s.io",
        "gateway_address_name": f"pip-{name}-gateway",
        "certificate_vault": f"kv-{name}",
        "certificate_uri": f"https://kv-{name}.vault.azure.net/certificates/tenants",
        "certificate_name": "tenants",
        "gateway_identity": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "kubelet_principal_id": f"kubelet-of-{name}",
        "role_assignments": [
            RoleAssignment(f"identity-of-{name}", "Network Contributor", group),
            RoleAssignment(
                f"gateway-of-{name}", "Key Vault Secrets User", f"{group}/providers/Microsoft.KeyVault/vaults/kv-{name}"
            ),
        ],
    }
    return DeployedCluster(name, **(usual | changed))


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the options of a command line; one without a value has an empty one."""
    found: dict[str, str] = {}
    name = ""
    for each in arguments:
        if each.startswith("--"):
            name = each
            found[name] = ""
        else:
            found[name] = each
    return found
