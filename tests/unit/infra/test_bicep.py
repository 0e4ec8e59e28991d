"""The Bicep files can be read, and each declares what all have to."""

import re

import pytest

from tests.support.bicep import INFRA, BicepFile, Declaration, bicep_files, literal, nodes, properties, text

FILES = {each.name: each for each in bicep_files()}
# Types that have no tags, by their templates.
UNTAGGED = {
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Consumption/budgets",
    "Microsoft.ContainerService/managedClusters/maintenanceConfigurations",
    "Microsoft.DurableTask/schedulers/taskHubs",
    "Microsoft.Insights/dataCollectionRuleAssociations",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
    "Microsoft.Network/dnsZones/A",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Storage/storageAccounts/blobServices/containers",
    "Microsoft.Web/sites/config",
    "basicPublishingCredentialsPolicies",
}
# The built-in roles that may be used: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "Azure Kubernetes Service Cluster User Role": "4abbcc35-e782-43d8-92c5-2d3f1bd2253f",
    "Azure Kubernetes Service RBAC Cluster Admin": "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b",
    "Durable Task Data Contributor": "0ad04412-c4d5-4796-b79c-f76d14c8d402",
    "Key Vault Certificates Officer": "a4417e6f-fecd-4de8-b567-7b0420556985",
    "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Data Reader": "b0d8363b-8ddd-447d-831f-62ca05bff136",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Network Contributor": "4d97b98b-1d4f-4787-a291-c67834d212e7",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SECRETS = re.compile(r"\.?(list\w*|getSecret)\(|(?i:connectionString|accountKey|password|sas\b)")

each_file = pytest.mark.parametrize("file", FILES.values(), ids=FILES)


def resources() -> list[tuple[str, Declaration]]:
    return [(file.name, each) for file in FILES.values() for each in file.of("resource") if not each.is_existing]


each_resource = pytest.mark.parametrize(
    ("name", "resource"), resources(), ids=[f"{name}:{each.name}" for name, each in resources()]
)


@each_file
def test_a_file_is_read_without_an_error(file: BicepFile) -> None:
    assert not [text(each)[:60] for each in nodes(file.root) if each.type == "ERROR" or each.is_missing]
    # What the grammar does not know could hide a declaration.
    declared = re.findall(r"^ *(param|var|resource|module|output) (\w+)", file.path.read_text(), re.MULTILINE)
    assert [(each.kind, each.name) for each in file.declarations] == declared


@each_file
def test_parameters_are_explained_and_used(file: BicepFile) -> None:
    identifiers = [text(each) for each in nodes(file.root) if each.type == "identifier"]
    for each in file.of("param"):
        assert len(each.decorators.get("description", "")) > 5, f"{each.name} has no description"
        assert identifiers.count(each.name) > 1 + identifiers.count(f"{each.name}:"), f"{each.name} is not used"


@each_file
def test_modules_and_contents_are_files(file: BicepFile) -> None:
    named = [each.type for each in file.of("module")]
    named += re.findall(r"(?:load\w+Content\(|from )'([^']+)'", file.path.read_text())
    for each in named:
        assert (file.path.parent / each).is_file(), each


def test_each_module_is_deployed() -> None:
    used = {(file.path.parent / each.type).resolve() for file in FILES.values() for each in file.of("module")}
    assert {each.path for each in FILES.values()} - used == {INFRA / "main.bicep", INFRA / "clusters/all.bicep"}


@each_resource
def test_a_resource_has_the_tags(name: str, resource: Declaration) -> None:
    tags = resource.properties.get("tags")
    if resource.type in UNTAGGED:
        assert tags is None
    else:
        assert tags is not None
        assert text(tags) == "tags" or text(tags).startswith("union(tags, {")


@each_file
def test_a_module_gets_the_tags(file: BicepFile) -> None:
    for each in file.of("module"):
        wanted = {param.name for param in BicepFile((file.path.parent / each.type).resolve()).of("param")}
        if "tags" in wanted:
            assert "tags: tags" in text(each.node)


def test_the_tag_is_the_one_that_azd_looks_for() -> None:
    assert text(FILES["main.bicep"].one("var", "tags").value) == "{ 'azd-env-name': environmentName }"


@each_file
def test_no_secret_is_given_away(file: BicepFile) -> None:
    for each in file.of("output"):
        assert not SECRETS.search(text(each.node)), each.name
    assert not re.search(r"\blist(Keys|AccountSas|ServiceSas|Secrets)\(", file.path.read_text())
    assert "secure" not in {name for each in file.of("param") for name in each.decorators}  # there is none to give


@each_file
def test_roles_are_known_and_have_their_names(file: BicepFile) -> None:
    source = file.path.read_text()
    named = dict(re.findall(rf"^\s*(?:var \w+ = \{{ )?'?([A-Z][\w ]+?)'?: '({GUID})'", source, re.MULTILINE))
    assert named.items() <= ROLES.items()
    assert set(named.values()) == set(re.findall(GUID, source))  # no other id is anywhere


def test_each_role_is_used_and_explained() -> None:
    everything = "".join(each.path.read_text() for each in FILES.values())
    security = (INFRA.parent / "docs/security.md").read_text()
    for name, role in ROLES.items():
        assert role in everything
        assert name in security


@each_resource
def test_a_role_is_assigned_by_exact_scope(name: str, resource: Declaration) -> None:
    if resource.type != "Microsoft.Authorization/roleAssignments":
        return
    assert "principalType" in text(resource.properties["properties"])
    # Named by scope, principal and role: else a change is refused, or two assignments are one.
    found = re.fullmatch(r"guid\(([\w().]+), [\w.]+, .+\)", text(resource.properties["name"]))
    assert found is not None
    scope = resource.properties.get("scope")
    if scope is None:
        assert found[1] == "resourceGroup().id"
        assert "only this cluster's network" in (INFRA / name).read_text()
    else:
        assert found[1] == f"{text(scope)}.id"


@each_file
def test_each_role_of_an_identity_is_given_to_the_doctor(file: BicepFile) -> None:
    assigned, given = set[tuple[str, str, str]](), set[tuple[str, str, str]]()
    for each in file.of("resource"):
        # Roles of people may be taken away after a deployment.
        if each.type == "Microsoft.Authorization/roleAssignments" and "'ServicePrincipal'" in text(each.node):
            name = text(each.properties["name"])
            found = re.fullmatch(r"guid\(([\w().]+), [\w.]+, (?:\w+\[('[\w ]+')\]|role\.value)\)", name)
            assert found is not None
            assert found[2] or "for role in items(roles)" in text(each.node)
            principal = text(properties(each.properties["properties"])["principalId"])
            assigned.add((found[1], principal, found[2] or "role.key"))
    for each in file.of("output"):
        if each.name == "assignments" and ".outputs." not in text(each.value):
            assert each.value.type == "array" or "for role in items(roles)" in text(each.value)
            for node in nodes(each.value):
                if node.type == "object":
                    value = {key: text(node) for key, node in properties(node).items()}
                    given.add((value["scope"], value["principalId"], value["role"]))
    assert given == assigned
    for each in file.of("module"):
        module = BicepFile((file.path.parent / each.type).resolve())
        if any(output.name == "assignments" for output in module.of("output")):
            assert re.search(rf"\b{each.name}(\[i\]|!)?\.outputs\.assignments", file.path.read_text())


def test_the_doctor_knows_the_role_on_a_chosen_scheduler() -> None:
    main = FILES["main.bicep"]
    chosen = "taskHubBackend == 'DurableTaskScheduler' ? scheduler!.outputs.assignments : []"
    assert chosen in text(main.one("output", "APP_ROLE_ASSIGNMENTS").value)
    assert "if (taskHubBackend == 'DurableTaskScheduler')" in text(main.one("module", "scheduler").node)


@pytest.mark.parametrize(
    ("file", "resource", "required"),
    [
        ("storage.bicep", "account", "allowSharedKeyAccess: false"),
        ("storage.bicep", "account", "allowBlobPublicAccess: false"),
        ("keyvault.bicep", "vault", "enableRbacAuthorization: true"),
        ("monitoring.bicep", "insights", "DisableLocalAuth: true"),
        ("workspace.bicep", "workspace", "disableLocalAuth: true"),
        ("functions.bicep", "ftpPasswords", "allow: false"),
        ("functions.bicep", "scmPasswords", "allow: false"),
        ("functions.bicep", "app", "httpsOnly: true"),
        ("functions.bicep", "app", "authentication: { type: 'UserAssignedIdentity'"),
        ("cluster.bicep", "cluster", "disableLocalAccounts: true"),
        ("cluster.bicep", "cluster", "workloadIdentity: { enabled: true }"),
        ("cluster.bicep", "cluster", "networkDataplane: 'cilium'"),
        ("cluster.bicep", "cluster", "appRoutingIstio: { mode: 'Enabled' }"),
        ("cluster.bicep", "cluster", "podMaxPids: 1024"),
    ],
)
def test_only_identities_get_in(file: str, resource: str, required: str) -> None:
    assert required in text(FILES[file].one("resource", resource).node)


def test_all_nodes_have_the_version_of_their_control_plane() -> None:
    given = properties(FILES["cluster.bicep"].one("resource", "cluster").properties["properties"])
    pools = [properties(each) for each in given["agentPoolProfiles"].children if each.type == "object"]
    assert [literal(each["name"]) for each in pools] == ["system", "tenants"]
    assert {text(each["orchestratorVersion"]) for each in pools} == {text(given["kubernetesVersion"])}


def test_what_azure_asks_for_beyond_its_types() -> None:
    for name in ("ftpPasswords", "scmPasswords"):
        policy = FILES["functions.bicep"].one("resource", name)
        assert text(policy.properties["location"]) == "location"


def test_the_providers_that_are_needed_are_named() -> None:
    used = {each.type.removeprefix("Microsoft.").partition("/")[0] for _, each in resources() if "/" in each.type}
    page = (INFRA.parent / "docs/deploy.md").read_text()
    [named] = re.findall(r"for each in (.+)\n +do az provider register", page)
    of_a_choice = {"DurableTask"}
    by_default = {"Authorization", "Consumption", "Resources"}
    # The nodes are machines, which AKS makes.
    assert set(named.split()) == used - of_a_choice - by_default | {"Compute"}
    assert all(f"-n Microsoft.{each} --wait" in page for each in of_a_choice)


def test_a_cluster_lets_itself_in() -> None:
    given = text(FILES["main.bicep"].one("module", "clusterModules").node)
    assert "'${appNetwork!.outputs.address}/32', '${networks[i].outputs.outboundAddress}/32'" in given


def test_lists_of_networks_may_have_spaces() -> None:
    source = FILES["main.bicep"].path.read_text()
    assert len(re.findall(r"map\(split\((allowed|apiServer)Networks, ','\), (\w+) => trim\(\2\)\)", source)) == 2
    assert source.count("split(") == 2


def test_an_app_of_another_name_keeps_the_owner() -> None:
    functions = FILES["functions.bicep"]
    assert text(functions.one("var", "owner").value) == "'func-berth-${token}'"  # with another one, all is an orphan
    assert "BERTH_TENANTS_OWNER: owner\n" in text(functions.one("var", "berth").node)
    assert text(functions.one("output", "owner").node).endswith("= owner")


@each_file
def test_a_module_gets_the_parameters_of_its_user(file: BicepFile) -> None:
    """What a file can be given reaches its modules: a default of theirs would hide that it was not handed through."""
    own = {each.name for each in file.of("param")}
    for each in file.of("module"):
        wanted = {param.name for param in BicepFile((file.path.parent / each.type).resolve()).of("param")}
        given = properties(properties(each.node)["params"])
        assert own & wanted <= given.keys(), f"{file.name}: {each.name}"


def test_an_alert_has_a_link_to_its_part_of_the_runbook() -> None:
    assert "runbookUrl" in {each.name for each in FILES["main.bicep"].of("param")}
    alerts = FILES["monitoring/alerts.bicep"]
    assert text(alerts.one("var", "runbook").value) == "empty(runbookUrl) ? 'docs/runbook.md' : runbookUrl"
    assert "${runbook}#${rule.name}" in text(alerts.one("resource", "alerts").node)


def test_the_workspace_is_linked_to_its_transformation() -> None:
    rule = FILES["monitoring.bicep"].one("resource", "transformation")
    assert literal(rule.properties["kind"]) == "WorkspaceTransforms"
    assert "streams: ['Microsoft-Table-AppMetrics']" in text(rule.node)
    assert "workspaceResourceId: newWorkspace.outputs.id" in text(rule.node)
    new, linked = (FILES["monitoring.bicep"].one("module", each) for each in ("newWorkspace", "workspace"))
    given = {name: text(each) for name, each in properties(properties(linked.node)["params"]).items()}
    assert given.pop("transformationId") == "transformation.id"
    assert given == {name: text(each) for name, each in properties(properties(new.node)["params"]).items()}
    link = "defaultDataCollectionRuleResourceId: empty(transformationId) ? null : transformationId"
    assert link in text(FILES["workspace.bicep"].one("resource", "workspace").node)


def test_monitoring_is_deployed_on_the_apps_workspace() -> None:
    watch = FILES["monitoring.bicep"].one("module", "watch")
    assert watch.type == "monitoring/main.bicep"
    assert "workspaceId: workspace.outputs.id" in text(watch.node)
    assert {each.type for each in FILES["monitoring/main.bicep"].of("module")} == {"workbook.bicep", "alerts.bicep"}
