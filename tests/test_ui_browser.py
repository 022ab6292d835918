"""Dagster's pages as someone uses them: `make ui` in a headless Chromium, from an asset to its report.

The cell's outputs are made up and recorded by DVC, so that the run finds them up to date; its checks really run.
"""

import asyncio
import contextlib
import json
import re
import sys
from pathlib import Path

import chromium
import pytest
from chromium import Page
from plausible_results import plausible_project
from small_project import CELL, edit_params, run, small_project
from test_ui import Ui

from vrft_core import io
from vrft_core.stages.report import report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, and servers end with their parent on Linux"),
]
STAGES = ("raw", "policy", "rft", "rft_eval")  # what the run needs, its own stage last
SCHEDULE = "nightly_regression"
PATIENCE = 400  # seconds; no measure of speed


def one_cell(params: dict) -> None:
    params["grid"]["cells"] = {CELL: params["grid"]["cells"][CELL]}
    params["grid"]["studies"]["lvis-mini-1shot"]["seeds"] = [0]


def finished(root: Path) -> Path:
    """A project with one cell's results and its report, as DVC has recorded them."""
    small_project(root)
    layout, params = plausible_project(root)
    edit_params(root, one_cell)
    cell = params.parse_cell(CELL)
    for folder in (layout.policy(cell), layout.model(cell, "rft")):
        io.write_text(folder / "weights.safetensors", f"of {folder.name}")
    prompts = layout.prompts(cell)
    io.write_text(prompts / "train/data.parquet", "questions")
    report(layout, params, cell)
    run("dvc", "commit", "-q", "-f", *(f"{name}@{key(cell, name)}" for name in STAGES), cwd=root)
    return root


def key(cell, stage: str) -> str:
    return {"raw": cell.at("data").key, "policy": cell.recipe}.get(stage, cell.key)


def button(text: str) -> str:
    found = "[...document.querySelectorAll('button')].find(e => e.innerText.trim().startsWith(%s))"
    return found % json.dumps(text)


async def query(page: Page, text: str) -> dict:
    request = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": json.dumps({"query": text})}
    return await page.value(f"fetch('/graphql', {json.dumps(request)}).then(r => r.json()).then(d => d.data)")


async def click_until(page: Page, element: str, shown: str) -> None:
    """Again where a page that still loads took no notice."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await page.click(element, PATIENCE)
            with contextlib.suppress(TimeoutError):
                return await page.until(shown, 30)


async def ended(page: Page) -> dict:
    """The only run, when it has ended."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            found = await query(page, "{ runsOrError { ... on Runs { results { runId status } } } }")
            runs = found["runsOrError"]["results"]
            if runs and runs[0]["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                return runs[0]
            await asyncio.sleep(1)


async def use(ui: Ui) -> None:
    own = f"http://127.0.0.1:{ui.port}"
    async with chromium.page(f"{own}/assets/lvis_rft_eval?partition=mini-1shot-s0") as page:
        await page.until("document.body.innerText.includes('Comes out:')", PATIENCE)

        await click_until(page, button("Materialize"), f"{button('Confirm')} || {button('Launch 1 run')}")
        if await page.value(f"Boolean({button('Confirm')})"):  # what lies upstream was made by others
            await page.click(button("Confirm"), PATIENCE)
        await page.click(button("Launch 1 run"), PATIENCE)

        made = await ended(page)
        assert made["status"] == "SUCCESS"
        await page.go(f"{own}/runs/{made['runId']}")
        await page.until("document.body.innerText.includes('rft_eval@lvis-mini-1shot-s0 is up to date')", PATIENCE)

        await page.go(f"{own}/assets/lvis_rft_eval?partition=mini-1shot-s0")
        await page.until("document.body.innerText.includes('LVIS AP (oracle presence), low end')", PATIENCE)
        shown = await page.value("document.body.innerText")
        assert not re.search(r"0\.\d{8}", shown), "points, with the digits that count"
        link = "[...document.querySelectorAll('a')].find(e => e.getAttribute('href')?.endsWith('report.html'))"
        await page.until(link, PATIENCE)
        await page.value(f"{link}.removeAttribute('target')")
        await page.click(link, PATIENCE)
        await page.until("document.querySelector('.headline')", PATIENCE)
        assert "/vrft/reports/lvis-mini-1shot/s0/report/report.html" in await page.value("location.href")

        await page.go(f"{own}/automation")
        row = f"document.querySelector('a[href*=\"schedules/{SCHEDULE}\"]')?.closest('[data-index]')"
        switch = f"[...({row}?.querySelectorAll('input[type=checkbox]') ?? [])].at(-1)"
        assert await schedule(page) == "STOPPED"
        await click_until(page, f"{switch}?.closest('label').querySelector('svg')", f"{switch}?.checked")
        async with asyncio.timeout(PATIENCE):
            while await schedule(page) != "RUNNING":
                await asyncio.sleep(1)


async def schedule(page: Page) -> str:
    """Whether it is switched on, as Dagster itself says."""
    text = '{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "vrft"})'
    found = await query(page, text + " { ... on Schedules { results { name scheduleState { status } } } } }")
    return {row["name"]: row["scheduleState"]["status"] for row in found["schedulesOrError"]["results"]}[SCHEDULE]


def test_from_an_asset_to_its_report_and_the_schedule(tmp_path):
    ui = Ui(finished(tmp_path / "project"))
    try:
        asyncio.run(use(ui))
    finally:
        ui.process.terminate()
        ui.process.wait(60)
