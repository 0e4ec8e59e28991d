"""The documents match the code, and all text of the product uses the terms of docs/glossary.md."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shared.settings import describe
from tests.support.builders import PLANS
from tests.support.package import deployed_files

ROOT = Path(__file__).parents[2]
HEAD = """# Settings

Each is an app setting. A worker reads them once, when it first needs one; if any is wrong or missing, one message lists
everything that is wrong.

| setting | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """Return what docs/settings.md is to hold."""
    rows = (f"| `{name}` | {default or 'empty'} | {' '.join(text.split())} |\n" for name, default, text in describe())
    return HEAD + "".join(rows)


def test_the_page_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs/settings.md").read_text() == settings_page()


def test_the_page_of_the_product_has_all_plans() -> None:
    text = (ROOT / "docs/product.md").read_text()
    *_, table = text.partition("| plan |")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]
    columns = (
        *("name", "cpu_request", "cpu_limit", "memory_request", "memory_limit"),
        *("ephemeral_storage", "scratch", "volume", "priority", "weight"),
    )
    assert rows == [[str(getattr(plan, each)) for each in columns] for plan in PLANS.values()]


def test_the_page_of_the_product_has_all_variables() -> None:
    template = (ROOT / "shared/templates/tenant/40-config.yaml").read_text()
    variables = re.findall(r"^  (TENANT\w*):", template, re.MULTILINE)
    assert re.findall(r"^\| `(TENANT\w*)` \|", (ROOT / "docs/product.md").read_text(), re.MULTILINE) == variables
    assert variables


def test_only_what_the_app_needs_is_deployed() -> None:
    single = {"docs/problems.md", "infra/kubernetes/cluster-role.yaml"}  # which the app reads
    files = deployed_files()
    assert single <= files
    assert {path.partition("/")[0] for path in files - single} == {
        *("function_app.py", "functions", "host.json", "requirements.txt", "shared"),
    }


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert "docs/architecture.md" in (ROOT / "README.md").read_text()


def test_the_glossary_is_sorted_and_has_one_line_for_a_term() -> None:
    lines = (ROOT / "docs/glossary.md").read_text().splitlines()[2:]
    terms = [line.removeprefix("- **").partition("**: ")[0] for line in lines]
    assert all(line.startswith("- **") and "**: " in line for line in lines)
    assert terms == sorted(set(terms))


# Words with a private meaning that were replaced by standard terms. An underscore counts as a space.
PRIVATE_WORDS = re.compile(
    r"\b(mend(s|ed|ing)?|reapers?|signs? of life|as (it|they) should be|latest word|let be|gave up|giv(e|es|ing|en) up"
    r"|look(s|ed|ing)? again|wish(es|ed)?|makes? place|playing field|dice|patience|try seconds"
    r"|budget seconds|what came of|translated)\b",
    re.IGNORECASE,
)
# Generated files, those of others and licences; the changelog keeps the words of its time; this file lists the words.
NOT_CHECKED = re.compile(
    r"package-lock\.json|go\.(mod|sum)|requirements.*\.txt|LICENSE|CHANGELOG\.md|tests/unit/test_docs\.py|\.(png|gz)$"
    r"|/vendor/"
)
LONGEST_NAME = 59


def tracked(suffix: str = "") -> list[str]:
    command = ["git", "ls-files", "--", f"*{suffix}"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if (ROOT / path).is_file()]


def test_the_text_uses_standard_terms() -> None:
    found = [
        f"{path}: {match[0]}"
        for path in tracked()
        if not NOT_CHECKED.search(path)
        for match in PRIVATE_WORDS.finditer((ROOT / path).read_text().replace("_", " "))
    ]
    assert not found, found


def modules_of_tests() -> Iterator[tuple[str, ast.Module]]:
    for path in tracked(".py"):
        if path.startswith("tests/"):
            yield path, ast.parse((ROOT / path).read_text())


def test_test_names_are_short() -> None:
    found = [
        f"{path}: {node.name}"
        for path, module in modules_of_tests()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name) > LONGEST_NAME
    ]
    assert not found, found


def test_no_test_module_is_imported() -> None:
    found = [
        f"{path}: {name}"
        for path, module in modules_of_tests()
        for node in ast.walk(module)
        for name in imported_names(node)
        if name.startswith("tests.") and any(part.startswith("test_") or part == "conftest" for part in name.split("."))
    ]
    assert not found, found


def imported_names(node: ast.AST) -> list[str]:
    """Return the dotted names that an import statement takes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
