"""The settings that are deployed are those that berth knows, and all that it needs."""

import json
import os
import re

import pytest
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from functions.http.pages.principal import ENABLED
from shared.settings import describe, load_settings
from tests.support.bicep import INFRA, BicepFile, bicep_files, literal, properties, text

FUNCTIONS = BicepFile(INFRA / "functions.bicep")
KNOWN = {name: default for name, default, _ in describe()}
# Values that are only known at a deployment; the others are in the file.
DEPLOYED = {
    "storage.properties.primaryEndpoints.table": "https://stberth.table.core.windows.net/",
    "owner": "func-berth-x7",
    "tenantsImage": "registry.example.com/product",
    "tenantsDefaultVersion": "1.0.0",
    "prometheusUrl": "https://amw-berth.westeurope.prometheus.monitor.azure.com",
}


def variable(name: str) -> dict[str, str]:
    value = properties(FUNCTIONS.one("var", name).value)
    return {key: literal(node) or DEPLOYED.get(text(node), text(node)) for key, node in value.items()}


BERTH, SECRETS, PLATFORM = variable("berth"), variable("secrets"), variable("platform")


def test_no_setting_is_misspelled_or_gone() -> None:
    assert set(BERTH) | set(SECRETS) <= set(KNOWN)
    assert not set(BERTH) & set(SECRETS)


def test_every_setting_without_a_default_is_set() -> None:
    required = {name for name, default in KNOWN.items() if default == "required"}
    # Either of the two is required: the validator of the section says so.
    assert required | {"BERTH_TABLES_ENDPOINT"} <= set(BERTH) | set(SECRETS)
    assert "BERTH_TABLES_CONNECTION" not in set(BERTH) | set(SECRETS)  # a key, which the account does not take


def test_no_setting_is_set_to_its_default() -> None:
    assert not [name for name, value in BERTH.items() if value == KNOWN[name]]


def test_berth_starts_with_what_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BERTH_")]:
        monkeypatch.delenv(name)
    for name, value in (BERTH | dict.fromkeys(SECRETS, "0123456789abcdef" * 4)).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.tenants.owner == DEPLOYED["owner"]
    assert "prometheus" in settings.activity.required


def test_secrets_come_from_the_vault() -> None:
    secret = {name for name, _, text in describe() if re.search(r"kept in a key\s+vault", text)}
    # The former seeds are for an operator who rotates: a reference, too, among the other settings.
    assert secret - {"BERTH_TENANTS_FORMER_SECRET_SEEDS"} == set(SECRETS)
    assert not secret & set(BERTH)
    assert "@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${each.value})" in text(
        FUNCTIONS.one("var", "references").node
    )
    # Secrets go before all else: a setting that an operator adds cannot replace one.
    assert "items(union(settings, platform, scheduler, signIn, berth, references))" in FUNCTIONS.path.read_text()


def test_the_sign_in_follows_its_parameter_both_ways() -> None:
    authentication = FUNCTIONS.one("resource", "authentication")
    # A condition would leave the settings of before where they are.
    assert not [each for each in authentication.node.children if each.type == "if_statement"]
    assert re.search(r"config@[\d-]+' = \{\n", text(authentication.node))
    given = properties(authentication.properties["properties"])
    assert text(given["platform"]) == "{ enabled: !empty(signInClientId) }"
    [provider] = properties(given["identityProviders"]).values()
    off, on = text(provider).removeprefix("empty(signInClientId)").split(" : ")
    assert off.strip() == "? { enabled: false }"
    assert "clientId: signInClientId" in on
    # The app's own setting goes with it, and that of the platform is never made here.
    assert re.match(r"empty\(signInClientId\)\s+\? \{\}\s", text(FUNCTIONS.one("var", "signIn").value))
    assert "BERTH_OPS_SIGN_IN: 'platform'" in text(FUNCTIONS.one("var", "signIn").value)
    assert not any(ENABLED in each.path.read_text() for each in bicep_files())


def test_telemetry_has_one_owner() -> None:
    assert PLATFORM["PYTHON_ENABLE_OPENTELEMETRY"] == "true"
    assert re.search(r"Authorization=AAD", text(FUNCTIONS.one("var", "platform").node))
    assert "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY" not in PLATFORM
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in PLATFORM


def test_every_trace_is_kept_by_host_and_app() -> None:
    assert PLATFORM["OTEL_TRACES_SAMPLER"] == "microsoft.fixed_percentage"
    assert PLATFORM["OTEL_TRACES_SAMPLER_ARG"] == "1.0"


async def test_berth_signs_in_as_the_identity_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PLATFORM["AZURE_CLIENT_ID"] == "identityClientId"
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", PLATFORM["AZURE_TOKEN_CREDENTIALS"])
    async with DefaultAzureCredential() as credential:
        assert [type(each) for each in credential.credentials] == [ManagedIdentityCredential]


def test_the_host_uses_the_identity_and_no_key() -> None:
    assert PLATFORM["AzureWebJobsStorage__credential"] == "managedidentity"
    assert {f"AzureWebJobsStorage__{each}ServiceUri" for each in ("blob", "queue", "table")} <= set(PLATFORM)
    assert not {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION"} & set(PLATFORM)


def test_the_other_task_hub_has_the_name_of_host_json() -> None:
    durable = json.loads((INFRA.parent / "host.json").read_text())["extensions"]["durableTask"]
    assert f"TaskHub={durable['hubName']}'" in text(FUNCTIONS.one("var", "scheduler").node)
    hub = BicepFile(INFRA / "scheduler.bicep").one("resource", "hub")
    assert literal(hub.properties["name"]) == durable["hubName"]


def test_the_app_runs_what_the_repository_is_for() -> None:
    version = (INFRA.parent / ".python-version").read_text().strip()
    assert f"runtime: {{ name: 'python', version: '{version}' }}" in FUNCTIONS.path.read_text()
