"""What the hooks ask of Azure, and how they wait for roles. Whether az takes the options is not checked here."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from cli.deploy.azure import Azure
from cli.deploy.commands import CommandError, SystemCommands
from cli.deploy.deployment import Deployment, DeploymentError, deployment
from cli.deploy.waiting import NotYetError, Waiting
from tests.support.bicep import INFRA, BicepFile, text
from tests.support.fake_azure import FakeAzure, new_deployment, values

FOUND = new_deployment()
VALUES = values(FOUND)


class Azd:
    """azd, which prints the values of its environment."""

    def __init__(self, values: Mapping[str, str] | None) -> None:
        self._values = values

    async def run(self, *command: str, stdin: str = "") -> str:
        assert command == ("azd", "env", "get-values", "--output", "json")
        if self._values is None:
            raise CommandError("azd: no project exists")
        return json.dumps(self._values)


def azure(found: Deployment, fake: FakeAzure, *, seconds: float = 5) -> tuple[Azure, list[str]]:
    lines: list[str] = []
    return Azure(fake, found, Waiting(seconds, pause=0, say=lines.append)), lines


async def test_a_hook_reads_its_variables() -> None:
    found = await deployment(Azd(None), VALUES)
    assert replace(found, clusters=tuple(found.clusters)) == FOUND


async def test_outside_of_a_hook_azd_is_asked() -> None:
    assert await deployment(Azd(VALUES), {}) == await deployment(Azd(None), VALUES)
    with pytest.raises(DeploymentError, match="no project exists"):
        await deployment(Azd(None), {})


def test_the_clusters_are_as_the_bicep_files_give_them() -> None:
    output = text(BicepFile(INFRA / "main.bicep").one("output", "CLUSTERS").node)
    assert re.findall(r"^    (\w+): ", output, re.MULTILINE) == list(json.loads(VALUES["CLUSTERS"])[0])
    outputs = {each.name for each in BicepFile(INFRA / "main.bicep").of("output")}
    assert {name for name in VALUES if not name.startswith(("AZURE_", "BERTH_"))} <= outputs


@pytest.mark.parametrize("missing", ["APP_URL", "KEY_VAULT_SECRETS"])
async def test_a_missing_value_is_named(missing: str) -> None:
    with pytest.raises(DeploymentError, match=f"{missing}.*azd provision"):
        await deployment(Azd(None), {name: value for name, value in VALUES.items() if name != missing})


async def test_a_role_that_takes_minutes_is_waited_for() -> None:
    found = new_deployment()
    fake = FakeAzure(found)
    fake.refusals = 3
    asked, lines = azure(found, fake)
    assert await asked.ensure_secrets() == found.secrets
    assert len(lines) == 1  # said once
    assert lines[0].startswith("waiting, up to 5 s: a role is missing, or takes some minutes yet")


async def test_a_role_that_never_comes_is_named() -> None:
    found = new_deployment()
    fake = FakeAzure(found)
    fake.refusals = 10**9
    asked, _ = azure(found, fake, seconds=0.05)
    with pytest.raises(NotYetError, match=r"a role is missing.*not authorized"):
        await asked.master_key()


async def test_another_error_is_not_waited_for() -> None:
    found = new_deployment(vault="another")
    fake = FakeAzure(new_deployment(secrets=[]))
    asked, lines = azure(found, fake)
    with pytest.raises(AssertionError):  # the fake has no such vault
        await asked.ensure_secrets()
    assert lines == []


async def test_a_role_that_is_gone_already_may_be_taken_back() -> None:
    found = new_deployment()
    fake = FakeAzure(found)
    asked, _ = azure(found, fake)
    await asked.allow_pull(found.clusters[0])
    for _ in range(2):
        await asked.disallow_pull(found.clusters[0])
    assert fake.pulls == []


async def test_metrics_that_are_not_collected_may_be_stopped() -> None:
    found = new_deployment()
    fake = FakeAzure(found)
    asked, _ = azure(found, fake)
    for _ in range(2):
        await asked.stop_metrics(found.clusters[0])
    assert fake.associations == set()


async def test_without_a_registry_no_role_is_given() -> None:
    found = new_deployment(registry_id="")
    fake = FakeAzure(found)
    asked, _ = azure(found, fake)
    await asked.allow_pull(found.clusters[0])
    await asked.disallow_pull(found.clusters[0])
    assert fake.lines == []


async def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(CommandError, match="there is no no-such-program here"):
        await SystemCommands().run("no-such-program")


async def test_the_error_of_a_program_has_no_arguments() -> None:
    with pytest.raises(CommandError) as raised:
        await SystemCommands().run("sh", "-c", "echo why >&2; exit 3", "a-secret")
    assert str(raised.value) == "sh: why"
    assert await SystemCommands().run("cat", stdin="given") == "given"
