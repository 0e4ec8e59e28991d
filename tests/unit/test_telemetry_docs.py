"""docs/telemetry.md: its tables are those of the code."""

import re
from pathlib import Path

from shared.telemetry import spans
from shared.telemetry.metrics import all_metrics

PAGE = Path(__file__).parents[2] / "docs/telemetry.md"


def telemetry_page() -> str:
    """Return the page with the present tables."""
    text = _with(PAGE.read_text(encoding="utf-8"), "metrics", _metrics())
    return _with(text, "spans", _spans())


def test_the_page_of_telemetry_is_up_to_date() -> None:
    assert telemetry_page() == PAGE.read_text(encoding="utf-8")


def test_metrics_have_one_name_each_and_no_tenant() -> None:
    names = [each.name for each in all_metrics()]
    assert len(set(names)) == len(names)
    for each in all_metrics():
        assert re.fullmatch(r"berth(\.[a-z_]+)+", each.name), each.name
        assert not {"tenant", "operation", "instance", "slug"} & set(each.dimensions), each.name
        assert len(each.dimensions) <= 2, each.name


def _metrics() -> str:
    lines = ["| metric | instrument | unit | dimensions | what |", "|---|---|---|---|---|"]
    for each in all_metrics():
        dimensions = ", ".join(f"`{name}`" for name in each.dimensions)
        lines.append(f"| `{each.name}` | {each.instrument} | {each.unit} | {dimensions} | {each.description} |")
    return "\n".join(lines)


def _spans() -> str:
    lines = ["| name | attributes | what |", "|---|---|---|"]
    for each in spans.TYPES:
        attributes = ", ".join(f"`{name}`" for name in each.attributes)
        lines.append(f"| {f'`{each.name}`' if each.name else '(its own)'} | {attributes} | {each.description} |")
    return "\n".join(lines)


def _with(text: str, name: str, table: str) -> str:
    return re.sub(
        rf"(<!-- {name}: .* -->\n).*(<!-- end of {name} -->)", lambda found: f"{found[1]}{table}\n{found[2]}", text,
        flags=re.DOTALL,
    )  # fmt: skip
