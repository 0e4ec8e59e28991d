"""azd, the workflow and the clusters' entries fit the Bicep files."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from shared.adapters.assets import load_assets
from shared.adapters.prices import load_prices
from shared.domain.prices import PriceId
from tests.support.bicep import INFRA, BicepFile, literal, text

ROOT = INFRA.parent
MAIN, CLUSTERS = BicepFile(INFRA / "main.bicep"), BicepFile(INFRA / "clusters/all.bicep")
AZURE: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())
PARAMETERS: dict[str, Any] = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
WORKFLOW = (ROOT / ".github/workflows/azure-dev.yml").read_text()
ENTRIES = sorted((INFRA / "clusters").glob("*.json"))
BY_SIGN_IN = {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}


def variables() -> dict[str, str]:
    """The variables that the parameters name, with their defaults."""
    found = [re.fullmatch(r"\$\{(\w+)(?:=(.*))?\}", str(each["value"])) for each in PARAMETERS.values()]
    return {each[1]: each[2] or "" for each in found if each}


def test_azure_yaml_fits_its_schema() -> None:
    schema = json.loads((Path(__file__).parent / "schemas/azure.yaml.json").read_text())
    jsonschema.Draft201909Validator(schema).validate(AZURE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(schema).validate({**AZURE, "services": {"api": {"project": "."}}})


def test_azd_finds_the_app_by_its_tag() -> None:
    [service] = AZURE["services"]
    app = BicepFile(INFRA / "functions.bicep").one("resource", "app")
    assert text(app.properties["tags"]) == f"union(tags, {{ 'azd-service-name': '{service}' }})"
    assert (INFRA / f"{AZURE['infra']['module']}.bicep").exists()


def test_each_parameter_can_be_set() -> None:
    params = {each.name: each for each in MAIN.of("param")}
    assert set(PARAMETERS) <= set(params)
    # The others have a default, and are changed in the file.
    assert set(params) - set(PARAMETERS) == {"dailyLogsGb", "purgeProtection", "thisMonth"}
    for name, each in params.items():
        has_default = " = " in text(each.node)
        assert has_default or re.fullmatch(r"\$\{\w+\}", PARAMETERS[name]["value"]), name


def test_defaults_are_the_same_in_both_files() -> None:
    for name, each in PARAMETERS.items():
        found = re.fullmatch(r"\$\{\w+=(.*)\}", str(each["value"]))
        if found:
            declared = text(MAIN.one("param", name).node).partition(" = ")[2]
            assert found[1] == declared.strip("'"), name


def test_the_workflow_sets_each_variable() -> None:
    environment = yaml.safe_load(WORKFLOW)["jobs"]["deploy"]["env"]
    assert set(variables()) - BY_SIGN_IN <= set(environment)
    assert not BY_SIGN_IN & set(environment)  # azd takes them from whoever is signed in, whatever is set
    for name, default in variables().items():
        if default and name not in BY_SIGN_IN:
            assert environment[name] == f"${{{{ vars.{name} || '{default}' }}}}"


def test_the_workflow_signs_in_without_a_secret() -> None:
    job = yaml.safe_load(WORKFLOW)["jobs"]["deploy"]
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in WORKFLOW
    assert "--federated-credential-provider github" in WORKFLOW
    assert not re.search(r"run:.*\$\{\{", WORKFLOW)  # values reach commands as variables only


def test_outputs_for_the_hooks_have_names_of_variables() -> None:
    for each in MAIN.of("output"):
        assert re.fullmatch(r"[A-Z][A-Z_]+", each.name)
        assert each.decorators["description"]


@pytest.mark.parametrize(
    ("deployments", "starts"),
    [
        ((("2026-01-01", 400), ("2026-03-01", 400), ("2027-03-01", 500)), ["2026-01-01"] * 3),
        # Azure takes no month that is over for a new budget.
        ((("2026-01-01", 0), ("2026-03-01", 400), ("2026-04-01", 400)), ["", "2026-03-01", "2026-03-01"]),
        # A deployment without a budget leaves the one that is there.
        ((("2026-01-01", 400), ("2026-02-01", 0), ("2026-03-01", 400)), ["2026-01-01"] * 3),
    ],
)
def test_the_budget_keeps_its_first_day(deployments: Sequence[tuple[str, int]], starts: list[str]) -> None:
    [variable] = [name for name, each in PARAMETERS.items() if each["value"] == "${BERTH_BUDGET_START}"]
    assert variable == "budgetStart"
    assert text(MAIN.one("param", "thisMonth").node).endswith("= utcNow('yyyy-MM-01')")
    assert "startDate: start\n" in text(MAIN.one("module", "budget").node)
    assert "= if (monthlyBudget > 0) {" in text(MAIN.one("module", "budget").node)
    kept, found = "", list[str]()
    for month, amount in deployments:
        names: dict[str, Any] = {"thisMonth": month, "monthlyBudget": amount, "budgetStart": kept}
        names["start"] = evaluated(text(MAIN.one("var", "start").value), names)
        kept = evaluated(text(MAIN.one("output", "BERTH_BUDGET_START").value), names)
        assert not amount or kept == names["start"]
        found.append(kept)
    assert found == starts


def evaluated(expression: str, names: dict[str, Any]) -> str:
    """Return what one condition of Bicep, such as `a > 0 ? b : c`, is."""
    found = re.fullmatch(r"(empty\((\w+)\)|(\w+) > 0) \? (\w+) : (\w+)", expression)
    assert found is not None
    is_true = names[found[3]] > 0 if found[3] else not names[found[2]]
    return names[found[4] if is_true else found[5]]


def test_each_entry_of_a_cluster_is_deployed() -> None:
    loaded = re.findall(r"loadJsonContent\('([^']+)'\)", text(CLUSTERS.one("var", "clusters").node))
    assert loaded == [each.name for each in ENTRIES]


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.name)
def test_an_entry_has_what_a_cluster_needs(path: Path) -> None:
    entry = json.loads(path.read_text())
    declared = re.findall(r"^  (\w+): ", CLUSTERS.path.read_text(), re.MULTILINE)
    assert list(entry) == declared
    assert entry["name"] == path.stem
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", entry["name"])
    assert entry["tier"] in ("Free", "Standard")
    major, minor = map(int, entry["kubernetesVersion"].split("."))
    assert (major, minor) >= (1, 34)
    assert entry["capacity"] >= 1
    assert entry["system"]["count"] >= 1
    assert load_assets().machines[entry["system"]["size"]].cpu_millicores >= 4000  # AKS takes no less
    assert entry["tenants"]["size"] in load_assets().machines
    assert 1 <= entry["tenants"]["min"] <= entry["tenants"]["max"]  # the gateway and the waiting room run there


def test_the_price_of_each_size_is_known() -> None:
    sizes = re.findall(r"^  \| '(\w+)'$", CLUSTERS.path.read_text(), re.MULTILINE)
    assert sizes == list(load_assets().machines)


ALWAYS_READY = ("flex:always-ready:time", str(2 * 730 * 3600))
NAT_GATEWAY, ADDRESS = ("nat-gateway:Standard", "730"), ("public-ip:Standard", "730")


def monthly(*prices: tuple[str, str]) -> Decimal:
    book = load_prices().book
    found = {each.id: each.amount for each in book.prices if each.region in ("westeurope", "global")}
    return sum((found[PriceId(name)] * Decimal(hours) for name, hours in prices), Decimal())


@pytest.mark.parametrize(
    ("file", "says", "price"),
    [
        ("main.bicep", r"One costs about \$(\d+)", monthly(ALWAYS_READY)),
        ("functions.bicep", r"Each costs about \$(\d+)", monthly(ALWAYS_READY)),
        ("main.bicep", r"NAT gateway costs about \$(\d+)", monthly(NAT_GATEWAY, ADDRESS)),
        ("main.bicep", r"One costs \$(\d+)\.", monthly(("logs:analytics", "1"))),
        ("clusters/all.bicep", r"Standard costs \$(\d+)", monthly(("aks:standard:uptime", "730"))),
    ],
)
def test_prices_that_are_named_are_right(file: str, says: str, price: Decimal) -> None:
    named = {Decimal(each) for each in re.findall(says, (INFRA / file).read_text())}
    assert named
    assert all(abs(each - price) <= Decimal("0.5") for each in named), price


def test_the_gateway_is_whom_the_identity_trusts() -> None:
    certificate = BicepFile(INFRA / "certificate.bicep")
    namespace, account = (literal(certificate.one("var", name).value) for name in ("namespace", "account"))
    objects = {each["kind"]: each for each in yaml.safe_load_all((INFRA / "kubernetes/gateway.yaml").read_text())}
    found = objects["ServiceAccount"]["metadata"]
    assert (found["namespace"], found["name"]) == (namespace, account)
    [listener] = objects["Gateway"]["spec"]["listeners"]
    assert listener["tls"]["options"]["kubernetes.azure.com/tls-cert-service-account"] == account
