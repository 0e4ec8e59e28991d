"""The templates: valid, restricted, and closed against their values."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from local.kubernetes.objects import PRIORITIES
from shared.adapters.kubernetes.ownership import common_labels
from shared.adapters.templates import FOLDER, ROUTE_FILE, YamlTenantTemplates
from shared.domain.clusters import GatewayRef
from shared.domain.instances import InstanceId
from shared.domain.routes import KIND
from shared.domain.tenants import Tenant
from shared.domain.workloads import Workload
from shared.errors import NoRoom, Permanent, Transient
from shared.settings import TenantSettings
from tests.support.builders import LOCAL, PLANS, TENANT_SETTINGS, new_tenant


def tenant(plan: str = "trial", display_name: str = "Acme", version: str = "1.0.0") -> Tenant:
    """Return a tenant whose instance is the same each time."""
    return new_tenant(plan=plan, display_name=display_name, version=version, instance=InstanceId("0123456789"))


SHIPPED = YamlTenantTemplates(TENANT_SETTINGS, PLANS, FOLDER)


def rendered(value: Tenant | None = None, templates: YamlTenantTemplates = SHIPPED) -> dict[tuple[str, str], Any]:
    objects = templates.render(value or tenant(), LOCAL)
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_the_route_is_apart_from_the_other_objects() -> None:
    route = SHIPPED.route(tenant(), LOCAL)
    assert route["kind"] == KIND
    assert KIND not in {kind for kind, _ in rendered()}
    assert route["spec"]["hostnames"] == [f"acme.{LOCAL.domain}"]
    assert route["spec"]["parentRefs"] == [{"namespace": "gateway", "name": "tenants"}]
    assert rendered()["ConfigMap", "tenant"]["data"]["TENANT_URL"] == f"https://acme.{LOCAL.domain}"
    [backend] = route["spec"]["rules"][0]["backendRefs"]
    service = rendered()["Service", "product"]
    assert (backend["name"], backend["port"]) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])


def test_a_registration_names_the_gateway_and_its_pods() -> None:
    other = replace(LOCAL, gateway=GatewayRef("routing", "shared", "https", "mesh"))
    [parent] = SHIPPED.route(tenant(), other)["spec"]["parentRefs"]
    assert parent == {"namespace": "routing", "name": "shared", "sectionName": "https"}
    objects = {(each["kind"], each["metadata"]["name"]): each for each in SHIPPED.render(tenant(), other)}
    [source] = objects["NetworkPolicy", "allowances"]["spec"]["ingress"][0]["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "mesh"}
    with pytest.raises(Permanent, match="the cluster local has no gateway; register it again"):
        SHIPPED.render(tenant(), replace(LOCAL, gateway=None))


@pytest.mark.parametrize(("old", "new"), [("kind: HTTPRoute", "kind: GRPCRoute"), ("name: product\n", "name: other\n")])
def test_the_route_keeps_its_kind_and_name(tmp_path: Path, old: str, new: str) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    file = tmp_path / ROUTE_FILE
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(Permanent, match="has to be one HTTPRoute with the name product"):
        YamlTenantTemplates(TENANT_SETTINGS, PLANS, tmp_path).route(tenant(), LOCAL)
    file.unlink()
    with pytest.raises(Permanent, match=f"no template {ROUTE_FILE}"):
        YamlTenantTemplates(TENANT_SETTINGS, PLANS, tmp_path)


@pytest.mark.parametrize("plan", PLANS)
def test_every_object_fits_the_schema_of_kubernetes(plan: str) -> None:
    objects = rendered(tenant(plan)).values()
    assert len(objects) <= 13
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)


def test_every_object_is_the_tenants() -> None:
    for (kind, _), each in rendered().items():
        labels = each["metadata"]["labels"]
        assert labels["berth.dev/slug"] == "acme"
        assert labels.items() >= common_labels(TENANT_SETTINGS.owner).items()
        if kind != "Namespace":
            assert each["metadata"]["namespace"] == f"tenant-{labels['berth.dev/instance']}"


def test_the_pod_keeps_to_pod_security_restricted() -> None:
    pod = rendered()["StatefulSet", "product"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all(volume.keys() & {"persistentVolumeClaim", "emptyDir"} for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_a_secret_is_one_instances_alone() -> None:
    def secret(value: Tenant) -> str:
        return rendered(value)["Secret", "tenant"]["stringData"]["TENANT_SECRET"]

    assert secret(tenant()) == secret(tenant(version="2.0.0"))
    assert secret(tenant()) != secret(replace(tenant(), instance=InstanceId("another")))


def seeded(present: str, *former: str) -> YamlTenantTemplates:
    changed = {"secret_seed": SecretStr(present), "former_secret_seeds": SecretStr(",".join(former))}
    return YamlTenantTemplates(TENANT_SETTINGS.model_copy(update=changed), PLANS)


def secret_of(templates: YamlTenantTemplates, seed_id: str) -> str:
    objects = rendered(replace(tenant(), seed_id=seed_id), templates)
    return objects["Secret", "tenant"]["stringData"]["TENANT_SECRET"]


def test_an_instance_keeps_the_seed_that_it_was_made_with() -> None:
    before, after = seeded("a" * 16), seeded("b" * 16, "a" * 16)
    old, new = before.seed_id(is_new=True), after.seed_id(is_new=True)
    assert old != new
    assert secret_of(after, old) == secret_of(before, old)
    assert secret_of(after, new) != secret_of(after, old)
    assert secret_of(seeded("c" * 16, "b" * 16, "a" * 16), old) == secret_of(before, old)


def test_an_instance_without_a_seed_has_the_oldest() -> None:
    rotated = seeded("b" * 16, "a" * 16)
    assert secret_of(rotated, "") == secret_of(seeded("a" * 16), "")
    assert rotated.seed_id(is_new=False) == seeded("a" * 16).seed_id(is_new=True)


def test_a_seed_that_is_gone_changes_no_secret() -> None:
    gone = seeded("a" * 16).seed_id(is_new=True)
    with pytest.raises(Transient, match="add it to BERTH_TENANTS_FORMER_SECRET_SEEDS"):
        secret_of(seeded("b" * 16), gone)


def test_without_its_seed_only_the_secret_is_left_out(tmp_path: Path) -> None:
    made = replace(tenant(), seed_id=seeded("a" * 16).seed_id(is_new=True))
    here, gone = (seeded(each).render(made, LOCAL, is_whole=False) for each in ("a" * 16, "b" * 16))
    assert here == seeded("a" * 16).render(made, LOCAL)
    assert [each for each in here if each not in gone] == [rendered(made, seeded("a" * 16))["Secret", "tenant"]]
    # What an operator's template derives from it is left out likewise.
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "40-config.yaml"
    file.write_text(file.read_text().replace("{{ tenant_secret }}", "{{ tenant_secret | reverse }}"))
    changed = YamlTenantTemplates(TENANT_SETTINGS, PLANS, tmp_path)
    assert {each["kind"] for each in gone} == {each["kind"] for each in changed.render(made, LOCAL, is_whole=False)}


def test_neither_workloads_nor_the_route_need_the_seed(tmp_path: Path) -> None:
    made = replace(tenant(), seed_id=seeded("a" * 16).seed_id(is_new=True), replicas={"product": 3})
    here, gone = seeded("a" * 16), seeded("b" * 16)
    assert gone.workloads(made, LOCAL) == here.workloads(made, LOCAL) == [Workload("product", 3, frozenset({"data"}))]
    assert gone.route(made, LOCAL) == here.route(made, LOCAL)
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    file = tmp_path / ROUTE_FILE
    file.write_text(file.read_text().replace("name: product\n", "name: {{ tenant_secret }}\n", 1))
    with pytest.raises(Permanent, match="'tenant_secret' is undefined"):
        YamlTenantTemplates(TENANT_SETTINGS, PLANS, tmp_path).route(tenant(), LOCAL)


@pytest.mark.parametrize("former", ["short", f"{'a' * 16},", f"{'a' * 16},@Microsoft.KeyVault(SecretUri=x)"])
def test_a_former_seed_that_is_none_is_refused(former: str) -> None:
    with pytest.raises(ValidationError, match="FORMER_SECRET_SEEDS"):
        TenantSettings.model_validate({**TENANT_SETTINGS.model_dump(), "former_secret_seeds": former})


def test_spaces_between_former_seeds_do_not_count() -> None:
    spaced = TENANT_SETTINGS.model_copy(update={"former_secret_seeds": SecretStr(f"{'b' * 16}, {'a' * 16}")})
    assert YamlTenantTemplates(spaced, PLANS).seed_id(is_new=False) == seeded("a" * 16).seed_id(is_new=True)


def test_the_id_of_a_seed_does_not_tell_the_seed() -> None:
    found = seeded("a" * 16).seed_id(is_new=True)
    assert "a" * 8 not in found
    assert len(found) == 12


def test_an_operation_does_not_roll_the_pod() -> None:
    first, second = tenant(), tenant()
    assert first.operation.id != second.operation.id
    assert rendered(first)["StatefulSet", "product"] == rendered(second)["StatefulSet", "product"]


def test_a_plan_that_is_gone_is_no_room() -> None:
    with pytest.raises(NoRoom, match="there is no plan gold any more"):
        rendered(tenant("gold"))


def test_the_plan_names_the_storage_class() -> None:
    assert rendered()["PersistentVolumeClaim", "data"]["spec"]["storageClassName"] == "berth-disk"
    default = YamlTenantTemplates(TENANT_SETTINGS, {"trial": replace(PLANS["trial"], storage_class="")})
    assert "storageClassName" not in rendered(templates=default)["PersistentVolumeClaim", "data"]["spec"]


@pytest.mark.parametrize("plan", PLANS.values())
def test_the_plan_decides_the_size(plan: Any) -> None:
    objects = rendered(tenant(plan.name))
    resources = objects["StatefulSet", "product"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    disk = {"ephemeral-storage": plan.ephemeral_storage}
    assert resources["requests"] == {"cpu": plan.cpu_request, "memory": plan.memory_request, **disk}
    assert resources["limits"] == {"cpu": plan.cpu_limit, "memory": plan.memory_limit, **disk}
    assert objects["PersistentVolumeClaim", "data"]["spec"]["resources"]["requests"]["storage"] == plan.volume
    assert objects["ResourceQuota", "tenant"]["spec"]["hard"]["requests.cpu"] not in ("", plan.cpu_request)


@pytest.mark.parametrize("plan", PLANS.values())
def test_scratch_and_logs_fit_the_disk_of_a_pod(plan: Any) -> None:
    objects = rendered(tenant(plan.name))
    pod = objects["StatefulSet", "product"]["spec"]["template"]["spec"]
    [scratch] = [each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each]
    [disk] = [each["resources"]["limits"]["ephemeral-storage"] for each in pod["containers"]]
    assert mebibytes(scratch) + 250 <= mebibytes(disk)  # an AKS node keeps five logs of 50 MB
    hard = objects["ResourceQuota", "tenant"]["spec"]["hard"]
    for name in ("requests.ephemeral-storage", "limits.ephemeral-storage"):
        assert mebibytes(hard[name]) == 2 * mebibytes(disk)
    default = objects["LimitRange", "tenant"]["spec"]["limits"][0]["default"]
    assert default["ephemeral-storage"] == disk


def test_each_plan_has_a_priority_that_is_shipped() -> None:
    classes = {each["metadata"]["name"]: each for each in yaml.safe_load_all(PRIORITIES.read_text())}
    assert {plan.priority for plan in PLANS.values()} == set(classes)
    trial, paid = classes["berth-trial"], classes["berth-paid"]
    assert -10 <= trial["value"] < paid["value"] < 1_000_000_000  # as much as a cluster's users may have
    assert {each["preemptionPolicy"] for each in classes.values()} == {"Never"}
    for plan in PLANS.values():
        pod = rendered(tenant(plan.name))["StatefulSet", "product"]["spec"]["template"]["spec"]
        assert pod["priorityClassName"] == ("berth-trial" if plan.name == "trial" else "berth-paid")


def mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


@settings(max_examples=25)  # each renders all templates twice
@given(st.text())
def test_no_text_gets_out_of_its_place(text: str) -> None:
    plain = rendered()
    odd = rendered(tenant(display_name=text))
    assert odd["ConfigMap", "tenant"]["data"]["TENANT_NAME"] == text
    assert odd.keys() == plain.keys()
    assert {key: value for key, value in odd.items() if key[0] == "StatefulSet"} == {
        key: value for key, value in plain.items() if key[0] == "StatefulSet"
    }


@pytest.mark.parametrize(
    "text", ['"\n  evil: true', "{{ slug }}", "'; drop", "# no", "\u2028\x85\x00", "🚀", "!!int 3", "~"]
)
def test_metacharacters_stay_text(text: str) -> None:
    assert rendered(tenant(display_name=text))["ConfigMap", "tenant"]["data"]["TENANT_NAME"] == text


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a: {{ slugg }}", "slugg"),
        ("apiVersion: v1\nkind: ConfigMap\nkind: Secret\nmetadata: {name: x}", "occurs twice"),
        ("just text", "not a Kubernetes object"),
        ("a: [", "template 99-operator.yaml"),
        ("{% if %}", "template 99-operator.yaml"),
        ("a: {{ [slug] }}", "text and whole numbers"),
    ],
)
def test_a_wrong_template_says_where_and_what(tmp_path: Path, template: str, complaint: str) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "99-operator.yaml").write_text(template)
    with pytest.raises(Permanent, match=complaint):
        rendered(templates=YamlTenantTemplates(TENANT_SETTINGS, PLANS, tmp_path))


def test_an_operator_can_change_a_template(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    workload = tmp_path / "50-workload.yaml"
    workload.write_text(workload.read_text().replace("mountPath: /data", "mountPath: /var/lib/product"))
    pod = rendered(templates=YamlTenantTemplates(TENANT_SETTINGS, PLANS, tmp_path))["StatefulSet", "product"]["spec"][
        "template"
    ]["spec"]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/lib/product"
