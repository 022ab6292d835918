"""The report as a reader sees it: opened from its file in Chromium, on a wide screen and on a narrow one."""

import asyncio
import json
from pathlib import Path

import chromium
import pytest
from plausible_results import plausible_project, write_rows

from vrft_core import io
from vrft_core.commands.overview import overview
from vrft_core.stages import run_stage

WIDTHS = (1440, 420)
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>\u202e"
WIDE = """[...document.querySelectorAll('main *')]
    .filter(e => e.checkVisibility() && !e.closest('.large, .unseen, .store, svg'))
    .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + '.' + e.className)"""
CUT = """[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.getAttribute('aria-label'))"""
SEEN = "[...document.querySelectorAll('.entry')].filter(e => e.checkVisibility())"
COUNT = f"{SEEN}.length"
OPEN = "document.querySelectorAll(':popover-open').length"
INKS = """[...document.querySelectorAll('svg.chart text')].every(e => getComputedStyle(e).fill !== 'rgb(0, 0, 0)')"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A cell's report with hostile answers and names, its study, and the page that compares both."""
    layout, params = plausible_project(tmp_path_factory.mktemp("project"))
    cell = params.cells()[0]
    selections = [layout.few_shot(one) / "selection.json" for one in params.cells()]
    for path in (layout.raw(cell) / "annotations.json", *selections):
        io.write_json(path, json.loads(path.read_text().replace('"tiger"', json.dumps(HOSTILE))))
    answered = [(cell.at("setup"), "base"), *((one, model) for one in params.cells() for model in ("sft", "rft"))]
    for one, model in answered:
        rows = io.read_jsonl(layout.evaluation(one, model) / "predictions.jsonl")
        rows = [row | {"completion": HOSTILE, "reasons": [HOSTILE]} for row in rows]
        write_rows(layout, params, one, model, rows)
    for one in params.cells():
        run_stage("report", layout, params, one)
    run_stage("study", layout, params, cell)
    overview(layout, params, [*params.cells(), cell.at("study")])
    found = {"cell": layout.report(cell) / "report.html", "study": layout.report(cell.at("study")) / "report.html"}
    return {**found, "overview": layout.root / "reports/overview.html"}


async def narrow_and_wide(tab: chromium.Page, name: str, folder) -> None:
    """Nothing is cut, and charts stand in the colours of the page, light and dark."""
    for width in WIDTHS:
        await tab.screenshot(folder / f"{name}-{width}.png", width)
        assert await tab.value("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        assert await tab.value(WIDE) == [], (name, width)
        assert await tab.value(CUT) == [], (name, width)
    for scheme in ("dark", "light"):
        await tab.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert await tab.value(INKS), (name, scheme)


async def press(tab: chromium.Page, key: str, code: int) -> None:
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        await tab.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


async def filtered(tab: chromium.Page) -> None:
    """Twelve at first; all when asked for; and what a choice leaves is what it says."""
    every = await tab.value("document.querySelectorAll('.entry').length")
    assert every > 12 and await tab.value(COUNT) == 12
    await tab.value("document.querySelector('#every').click()")
    assert await tab.value(COUNT) == every
    await tab.value("document.querySelector('#every').click()")
    for choice in ("by-category", "by-outcome", "by-failure"):
        for number in range(1, await tab.value(f"document.querySelector('#{choice}').length")):
            said = await tab.value(f"""(() => {{ const one = document.querySelector('#{choice}');
                one.selectedIndex = {number}; return one.selectedOptions[0].text; }})()""")
            assert f"({await tab.value(COUNT)} of " in said, said
        await tab.value(f"document.querySelector('#{choice}').selectedIndex = 0")
    assert await tab.value(COUNT) == 12


async def enlarged(tab: chromium.Page) -> None:
    """By the keyboard alone: Enter opens, Escape closes, the focus is back."""
    await tab.value("document.querySelector('.entry .open').focus()")
    await press(tab, "Enter", 13)
    assert await tab.value(OPEN) == 1
    large = "document.querySelector(':popover-open')"
    assert await tab.value(f"{large}.getBoundingClientRect().width <= innerWidth")
    assert await tab.value(f"{large}.innerText.includes('Question') && {large}.innerText.includes('<script>')")
    small = "document.querySelector('.open svg')"
    assert await tab.value(f"{large}.querySelector('svg').clientWidth > 2 * {small}.clientWidth")
    await press(tab, "Escape", 27)
    assert await tab.value(OPEN) == 0
    assert await tab.value("document.activeElement.matches('.entry .open')")


@pytest.mark.slow
@pytest.mark.skipif(not chromium.PROGRAM, reason="no Chromium here (apt-get install chromium)")
def test_the_pages_in_a_browser(pages, tmp_path):
    async def look() -> list[str]:
        async with chromium.page(pages["cell"].as_uri()) as tab:
            await narrow_and_wide(tab, "cell", tmp_path)
            await filtered(tab)
            await enlarged(tab)
            links = await tab.value("[...document.querySelectorAll('.facts a')].map(e => e.href)")
            for name in ("study", "overview"):
                await tab.do("Page.navigate", url=pages[name].as_uri())
                await tab.until(f"document.readyState === 'complete' && location.href === '{pages[name].as_uri()}'")
                await narrow_and_wide(tab, name, tmp_path)
                links += await tab.value("[...document.querySelectorAll('main a')].map(e => e.href)")
            assert await tab.value("document.title") != "run"
            assert tab.messages == []
            return links

    for link in asyncio.run(look()):
        assert link.startswith("file:///")
        assert Path(link.removeprefix("file://").partition("#")[0]).is_file(), link


@pytest.mark.slow
def test_a_page_stays_below_eight_megabytes(pages):
    assert max(path.stat().st_size for path in pages.values()) < 8_000_000
