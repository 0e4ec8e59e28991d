"""The page of a report in a browser: it is read from a file, without network, on a screen, a phone and paper."""

import argparse
from pathlib import Path

import pytest

from cli.report import run
from tests.support.browser import visitor
from tests.support.reports import answer, past_world


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
async def test_it_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, width: int, scheme: str) -> None:
    answer(monkeypatch, await past_world())
    file, parser = tmp_path / "report.html", argparse.ArgumentParser()
    run.add_arguments(parser)
    assert await run.run(parser.parse_args(["--html", str(file)])) == 0
    async with visitor() as browser:
        page = await browser.page(width=width)
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.goto(file.as_uri())
        assert (asked, wrong) == ([file.as_uri()], [])
        assert await page.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
        charts = page.locator("figure svg")
        assert await charts.count() >= 6
        for number in range(await charts.count()):
            box = await charts.nth(number).bounding_box()
            assert box is not None
            assert box["height"] > 150
            assert box["width"] <= width
        ink = await page.locator("figure svg text").first.evaluate("each => getComputedStyle(each).fill")
        assert ink == ("rgb(230, 234, 240)" if scheme == "dark" else "rgb(27, 36, 48)")
        await page.get_by_text("Numbers").first.click()
        assert await page.get_by_role("table").first.is_visible()
        await page.emulate_media(media="print")
        assert await page.locator("figure svg").first.is_visible()
