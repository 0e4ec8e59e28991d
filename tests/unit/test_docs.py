"""What the documents say is what the code does."""

import re
import subprocess
from pathlib import Path

from shared.settings import describe

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


def test_only_what_the_app_needs_is_deployed() -> None:
    listed = [line for line in (ROOT / ".funcignore").read_text().splitlines() if line]

    def named(path: str, patterns: list[str]) -> bool:  # as Core Tools does: from the start, not to the end
        return any(re.match(re.escape(each).replace(r"\*", "[^/]+"), path) for each in patterns)

    kept = [each.removeprefix("!") for each in listed if each.startswith("!")]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    deployed = {path for path in tracked if named(path, kept) or not named(path, listed)}
    tops = {path if path.startswith("docs/") else path.partition("/")[0] for path in deployed}
    assert tops == {"docs/problems.md", "function_app.py", "functions", "host.json", "requirements.txt", "shared"}


def test_every_link_and_path_of_the_readme_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)\)", readme)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
