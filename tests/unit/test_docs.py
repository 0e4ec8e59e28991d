"""What the documents say is what the code does."""

import re
from pathlib import Path

from shared.settings import describe
from tests.package import deployed_files

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
    tops = {path if path.startswith("docs/") else path.partition("/")[0] for path in deployed_files()}
    assert tops == {"docs/problems.md", "function_app.py", "functions", "host.json", "requirements.txt", "shared"}


def test_every_link_and_path_of_the_readme_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)\)", readme)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
