"""`./berth doctor` on the embedded stack, with faults that operators make."""

from collections.abc import Sequence

import pytest

from cli.api import Api
from cli.doctor.app import check_app
from cli.doctor.azure import check_azure
from cli.doctor.check import Check, State, are_well
from local.kubernetes.control_plane import kubectl
from local.kubernetes.objects import PRIORITIES, ROLE
from tests.support.deployed_stack import Deployed
from tests.support.polling import until

DNS = "tenants cannot resolve names"  # the stack has no pods of its own for that
BY_HAND = ("apply", "--server-side", "--force-conflicts", "-f")


@pytest.fixture(scope="module")
async def in_service(deployed: Deployed) -> Deployed:
    """A stack on which all is well."""
    await deployed.register()
    return deployed


async def found(deployed: Deployed) -> Sequence[Check]:
    """Return what the doctor says, but for what is always so."""
    return [each for each in await check_app(deployed.operators) if DNS not in each.text]


async def texts(deployed: Deployed, state: State) -> Sequence[str]:
    return [each.text for each in await found(deployed) if each.state is state]


async def test_all_is_well(in_service: Deployed) -> None:
    checks = await found(in_service)
    assert are_well(checks, strict=True), checks
    name = f"cluster {in_service.cluster.name}"
    assert [each.part for each in checks] == [
        "app",
        "version",
        "settings and key",
        "sign-in",
        "tables",
        "task hub",
        name,
    ]


async def test_a_missing_class_is_found(in_service: Deployed) -> None:
    plane = in_service.stack.control_plane
    await kubectl(plane, "delete", "priorityclass", "berth-trial")
    missing = await texts(in_service, State.MISSING)
    await kubectl(plane, *BY_HAND, str(PRIORITIES))
    assert missing == ["it has no priority class berth-trial: create it, or change shared/plans.yaml"]


async def test_a_missing_right_is_found(in_service: Deployed) -> None:
    plane = in_service.stack.control_plane
    older = ROLE.read_text().replace("verbs: [create, patch, list, deletecollection]", "verbs: [create, patch, list]")
    await kubectl(plane, *BY_HAND, "-", stdin=older)

    async def is_found() -> bool:  # the API server reads a changed role after a moment
        return await texts(in_service, State.MISSING) == [
            "berth may not deletecollection statefulsets.apps: apply infra/kubernetes/cluster-role.yaml"
        ]

    try:
        await until(is_found)
    finally:
        await kubectl(plane, *BY_HAND, str(ROLE))


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("httproute", "waiting-room", "apply infra/kubernetes/waiting-room"),
        ("flowschema", "berth", "apply infra/kubernetes/flow-control.yaml with this identity"),
        ("validatingadmissionpolicybinding", "berth-stack", "apply infra/kubernetes/admission-policy.yaml"),
    ],
)
async def test_what_protects_and_is_gone_is_found(in_service: Deployed, kind: str, name: str, says: str) -> None:
    plane = in_service.stack.control_plane
    namespace = ("-n", "waiting-room") if kind == "httproute" else ()
    kept = await kubectl(plane, "get", kind, name, *namespace, "-o", "json")
    await kubectl(plane, "delete", kind, name, *namespace)

    async def is_found() -> bool:
        return any(says in each for each in await texts(in_service, State.WARNS))

    try:
        await until(is_found)
    finally:
        await kubectl(plane, "create", "-f", "-", stdin=kept)


async def test_a_missing_gateway_is_found(in_service: Deployed) -> None:
    plane = in_service.stack.control_plane
    kept = await kubectl(plane, "get", "gateway", "tenants", "-n", "gateway", "-o", "json")
    await kubectl(plane, "delete", "gateway", "tenants", "-n", "gateway")
    missing = await texts(in_service, State.MISSING)
    await kubectl(plane, "create", "-f", "-", stdin=kept)
    await kubectl(plane, "wait", "--for=condition=Programmed", "gateway/tenants", "-n", "gateway", "--timeout=20s")
    assert missing == ["there is no gateway gateway/tenants"]


async def test_an_app_that_is_down_is_found() -> None:
    async with Api("http://127.0.0.1:9", "key") as api:
        [check] = await check_app(api)
    assert check.state is State.MISSING
    assert check.text.startswith("it does not respond")
    assert check.text.endswith("deploy it, start it, or check its address")


async def test_a_wrong_key_is_named(in_service: Deployed) -> None:
    async with Api(in_service.stack.api_url, "wrong") as api:
        *_, check = await check_app(api)
    assert (check.part, check.state) == ("settings and key", State.MISSING)
    assert "BERTH_KEY" in check.text


async def test_azure_is_asked_too(in_service: Deployed) -> None:
    checks = await check_azure(in_service.azure, in_service.deployment)
    [certificate] = [each for each in checks if each.state is not State.OK]
    assert (certificate.part, certificate.state) == (f"cluster {in_service.cluster.name}: certificate", State.WARNS)
