"""Who is asked before all is deleted, and what is said."""

import json
from argparse import Namespace

import pytest

from cli.api import Api, Json
from cli.confirming import NotConfirmedError
from cli.deploy.deployment import DeploymentError
from cli.deploy.removal import SHOWN, confirm, tenants_of
from cli.deploy.run import run
from tests.support.fake_azure import new_deployment

FOUND = new_deployment()


def listed(number: int) -> list[Json]:
    return [{"slug": f"tenant-{each}", "state": "active"} for each in range(number)]


def nobody(text: str) -> str:
    raise EOFError


def test_nobody_is_asked_without_a_tenant() -> None:
    confirm(FOUND, [], nobody)


@pytest.mark.parametrize("tenants", [listed(1), None])
def test_without_a_terminal_nothing_goes(tenants: list[Json] | None) -> None:
    with pytest.raises(NotConfirmedError, match="deploy down --yes first"):
        confirm(FOUND, tenants, nobody)


def test_of_many_tenants_some_are_named() -> None:
    asked: list[str] = []

    def yes(text: str) -> str:
        asked.append(text)
        return "prod\n"

    confirm(FOUND, listed(SHOWN + 5), yes)
    confirm(FOUND, None, yes)
    assert f"tenant-{SHOWN - 1} and 5 more" in asked[0]
    assert "it is not known which tenants there are" in asked[1]
    for text in asked:
        assert "is deleted now, for good. azd asks again afterwards; a no there brings none of it back" in text


async def test_an_app_that_is_gone_is_not_one_without_tenants() -> None:
    async with Api("http://127.0.0.1:9", "key") as api:
        assert await tenants_of(api) is None


class _EmptyAzd:
    async def run(self, *command: str, stdin: str = "") -> str:
        return json.dumps({"AZURE_ENV_NAME": "prod"})


async def test_a_deployment_that_stopped_half_way_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLUSTERS", raising=False)
    assert await run(Namespace(action="down", wait=1.0, yes=True), _EmptyAzd()) == 0
    with pytest.raises(DeploymentError, match="run azd provision, or azd env refresh"):
        await run(Namespace(action="app", wait=1.0), _EmptyAzd())


async def test_what_was_deployed_elsewhere_goes_only_if_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLUSTERS", raising=False)
    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(NotConfirmedError, match="deploy down --yes first"):
        await run(Namespace(action="down", wait=1.0, yes=False), _EmptyAzd())


async def test_outputs_that_cannot_be_read_delete_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERS", "[{}]")  # of a deployment with other outputs
    for yes in (False, True):
        with pytest.raises(DeploymentError, match="lacks a value"):
            await run(Namespace(action="down", wait=1.0, yes=yes), _EmptyAzd())
