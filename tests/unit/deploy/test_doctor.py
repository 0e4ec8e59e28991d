"""What the doctor makes of what it is told, and that it waits for what comes by itself."""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from cli.deploy.azure import Azure
from cli.deploy.deployment import RoleAssignment
from cli.deploy.waiting import Waiting
from cli.doctor import run as doctor
from cli.doctor.app import check_dependencies, check_probe, check_version
from cli.doctor.azure import check_azure
from cli.doctor.check import Check, State, are_well
from cli.doctor.roles import check_roles
from cli.doctor.run import settled
from cli.doctor.sign_in import FORGED, judge
from functions.http.openapi import VERSION
from functions.http.pages.principal import read_principal
from shared.settings import OpsSettings
from tests.support.fake_azure import APP, GROUP, SUBSCRIPTION, FakeAzure, new_deployment


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ("ok", State.OK),
        ("table storage responded 403 AuthorizationPermissionMismatch", State.WAITS),
        ("no token: ClientAuthenticationError", State.WAITS),
        ("it responds, but gets no new tenants yet: it did not since 2026-03-01", State.WAITS),
        ("table storage responded 400 OutOfRangeInput", State.MISSING),
        ("no response within 5 s", State.MISSING),
    ],
)
def test_what_a_dependency_says_is_judged(result: str, state: State) -> None:
    [check] = check_dependencies({"tables": result})
    assert check.state is state
    assert result == "ok" or check.text.startswith(result)


def test_all_that_a_cluster_lacks_is_listed() -> None:
    probe = {"cluster": "one", "missing": ["no class"], "gateway_problems": ["no gateway"], "warnings": ["no names"]}
    assert list(check_probe(probe)) == [
        Check("cluster one: probe", State.MISSING, "no class"),
        Check("cluster one: probe", State.MISSING, "no gateway"),
        Check("cluster one: probe", State.WARNS, "no names"),
    ]


def test_another_version_is_a_warning() -> None:
    assert check_version(VERSION).state is State.OK
    assert check_version("9.9.9").state is State.WARNS


@pytest.mark.parametrize(
    ("state", "well", "strictly"),
    [
        (State.OK, True, True),
        (State.WARNS, True, False),
        (State.WAITS, False, False),
        (State.MISSING, False, False),
    ],
)
def test_the_exit_code_follows_the_states(state: State, well: bool, strictly: bool) -> None:
    checks = [Check("app", State.OK), Check("tables", state)]
    assert (are_well(checks), are_well(checks, strict=True)) == (well, strictly)


@pytest.mark.parametrize(
    ("without", "forged", "states"),
    [
        (401, 401, [State.OK]),
        (302, 302, [State.OK]),
        (401, 200, [State.MISSING]),
        (401, 403, [State.MISSING]),  # it was read, and has not the role
        (200, 200, [State.MISSING]),
        (403, 403, [State.WARNS]),
        (404, 404, []),
        (503, 503, [State.WAITS]),
        (401, 503, [State.WAITS]),
        (429, 401, [State.WAITS]),
    ],
)
def test_a_made_up_sign_in_changes_nothing(without: int, forged: int, states: list[State]) -> None:
    assert [each.state for each in judge(without, forged)] == states


def test_the_made_up_sign_in_is_one_of_an_operator() -> None:
    principal = read_principal(FORGED)
    assert principal is not None
    assert principal.id
    assert principal.roles == {OpsSettings().role}


async def test_a_role_that_arrives_is_waited_for() -> None:
    looks, lines = iter([State.WAITS, State.WAITS, State.OK]), list[str]()

    async def look() -> Sequence[Check]:
        return [Check("tables", next(looks), "a role takes minutes to arrive")]

    [check] = await settled(look, Waiting(5, pause=0, say=lines.append))
    assert check.state is State.OK
    assert lines == ["waiting, up to 5 s: tables: a role takes minutes to arrive"]


async def test_what_never_comes_is_shown_at_the_deadline() -> None:
    async def look() -> Sequence[Check]:
        return [Check("tables", State.WAITS, "a role")]

    assert await settled(look, Waiting(0.05, pause=0)) == [Check("tables", State.WAITS, "a role")]


async def azure_says(fake: FakeAzure) -> dict[str, Check]:
    found = new_deployment()
    return {each.part: each for each in await check_azure(Azure(fake, found, Waiting(0)), found)}


async def test_a_deployment_without_a_fault_is_well() -> None:
    fake = FakeAzure(new_deployment())
    fake.certificates = {"kv-primary": "DigiCert"}
    assert are_well(list((await azure_says(fake)).values()), strict=True)


async def test_each_fault_of_a_deployment_is_named() -> None:
    fake = FakeAzure(new_deployment())
    fake.records, fake.secret_statuses = 0, ["AccessToKeyVaultDenied"]
    fake.roles = [each for each in fake.roles if each.role != "Key Vault Secrets User"]
    found = await azure_says(fake)
    assert [found[each].state for each in ("app: roles", "cluster primary: roles")] == [State.MISSING] * 2
    assert f"assigned: Key Vault Secrets User on kv-berth-x (identity {APP}). Run azd prov" in found["app: roles"].text
    assert "Key Vault Secrets User on kv-primary (identity gateway-of-primary)" in found["cluster primary: roles"].text
    assert found["secrets"].state is State.WAITS
    assert "BERTH_TENANTS_SECRET_SEED (AccessToKeyVaultDenied)" in found["secrets"].text
    assert found["telemetry"].state is State.WAITS
    assert found["cluster primary: certificate"].state is State.MISSING


async def test_an_app_that_is_down_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeAzure(new_deployment(app_url="http://127.0.0.1:9"))
    fake.key_errors = 1
    assert await doctor.run(Namespace(azure=True, wait=0.0, strict=False, json=True), fake) == 1
    found = {each["part"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["app"]["state"] == "missing"
    assert {"app: roles", "secrets"} <= set(found)


async def test_an_operator_without_a_role_waits() -> None:
    fake = FakeAzure(new_deployment())
    fake.refusals = 1
    assert (await azure_says(fake))["roles"].state is State.WAITS  # it is not known yet whose


STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/st"
NEEDED = RoleAssignment(APP, "Storage Blob Data Owner", STORAGE)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.OK),
        ({"scope": STORAGE.lower() + "/"}, State.OK),
        ({"principal_id": APP.upper()}, State.OK),
        ({"scope": GROUP}, State.WARNS),
        ({"scope": f"/subscriptions/{SUBSCRIPTION}"}, State.WARNS),
        ({"scope": "/providers/Microsoft.Management/managementGroups/all"}, State.WARNS),
        ({"scope": "/"}, State.WARNS),
        ({"scope": f"{STORAGE}2"}, State.MISSING),
        ({"scope": STORAGE.removesuffix("t")}, State.MISSING),
        ({"scope": f"{STORAGE}/blobServices/default/containers/one"}, State.MISSING),
        ({"scope": f"{GROUP}-primary"}, State.MISSING),
        ({"role": "Storage Blob Data Reader"}, State.MISSING),
        ({"principal_id": "somebody-else"}, State.MISSING),
    ],
)
def test_a_role_counts_for_its_principal_and_scope(changed: Mapping[str, str], state: State) -> None:
    [check] = check_roles("app: roles", [NEEDED], [replace(NEEDED, **changed)])
    assert check.state is state
    if state is State.WARNS:
        assert f"on {changed['scope']} (identity {APP}) is wider than needed" in check.text
    if state is State.MISSING:
        role = f"Storage Blob Data Owner on st (identity {APP})"
        assert check.text == f"not assigned: {role}. Run azd provision --no-state"


def test_a_wider_role_beside_the_right_one_is_named_once() -> None:
    other = replace(NEEDED, scope=f"{STORAGE}2")
    wide = replace(NEEDED, scope=GROUP)
    [check] = check_roles("app: roles", [NEEDED, other], [NEEDED, other, wide])
    assert (check.state, GROUP in check.text) == (State.WARNS, True)


async def test_an_inherited_role_is_no_failure() -> None:
    fake = FakeAzure(new_deployment())
    fake.certificates = {"kv-primary": "DigiCert"}
    fake.roles = [replace(each, scope=f"/subscriptions/{SUBSCRIPTION}") for each in fake.roles]
    checks = list((await azure_says(fake)).values())
    assert (are_well(checks), are_well(checks, strict=True)) == (True, False)
