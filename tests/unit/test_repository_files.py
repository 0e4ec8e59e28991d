"""The files that GitHub, pre-commit and editors read are what those expect."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.api import Json

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def conforms(schema: str, *files: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_fit_their_schema(schema: str) -> None:
    assert WORKFLOWS
    conforms(schema, *WORKFLOWS)


def test_dependabot_fits_its_schema() -> None:
    conforms("vendor.dependabot", ROOT / ".github/dependabot.yml")


def test_dependabot_looks_where_the_locks_are() -> None:
    files = {"pip": "*.txt", "gomod": "go.mod", "npm": "package.json", "github-actions": ".github/workflows/*.yml"}
    updates: list[Json] = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == set(files)
    for each in updates:
        for directory in each.get("directories") or [each["directory"]]:
            pattern = files[each["package-ecosystem"]]
            assert list((ROOT / directory.lstrip("/")).glob(pattern)), f"{directory} has no {pattern}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_rights_and_pinned_actions(path: Path) -> None:
    text = path.read_text()
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    used = re.findall(r"uses: (.+)", text)
    assert used
    for each in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_hooks_run_the_locked_tools() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
        assert Path(sys.executable).with_name(Path(program).name).exists(), program


def test_the_dev_container_has_the_right_python() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    version = (ROOT / ".python-version").read_text().strip()
    assert container["image"].startswith(f"python:{version}-")
    assert (ROOT / container["postCreateCommand"].split()[0]).exists()
