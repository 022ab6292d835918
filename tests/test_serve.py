"""`vrft serve`: the page, its limits, and whose requests are refused."""

import asyncio
import io
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import chromium
import pytest
from own_processes import free_port
from PIL import Image
from small_policy import random_policy
from starlette.testclient import TestClient

from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.errors import InputError
from vrft_core.serving import app
from vrft_core.serving.app import build
from vrft_core.serving.models import Models
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]
CELL = "lvis-mini-1shot-s0"
ADDRESS = "http://127.0.0.1:8600"
ABOUT = {"cell": CELL, "models": ["base"], "categories": ["cat"]}
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def png(width: int = 90, height: int = 60) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "png")
    return file.getvalue()


def client(answer=lambda image, categories: []) -> TestClient:
    return TestClient(build(answer, ABOUT), base_url=ADDRESS, raise_server_exceptions=False)


def send(one: TestClient, body: bytes, kind: str = "image/png", query: str = "category=cat", **headers: str):
    return one.post(f"/ask?{query}", content=body, headers={"content-type": kind, **headers})


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose policy is made and whose trainings are not. What it answers means nothing, but it answers."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", root)
    weights = Layout(root).policy(load_params(root / "params.yaml").parse_cell(CELL))
    weights.mkdir(parents=True)
    random_policy(weights, ["cat", "dog"])
    return root


@pytest.fixture
def models(project) -> Models:
    params = load_params(project / "params.yaml")
    return Models(Layout(project), params, params.parse_cell(CELL))


def test_an_image_and_categories_are_answered_by_every_model_that_is_made(models):
    found = send(client(models.answer), png(), query="category=cat&category=%20dog%20&category=")
    assert found.status_code == 200
    [base] = found.json()["models"]
    assert base["name"] == "base" and [one["asked"] for one in base["answers"]] == ["cat", "dog"]
    assert all(set(one) == {"asked", "completion", "marks"} for one in base["answers"])


@pytest.mark.parametrize(
    ("body", "query", "said"),
    [
        (b"no image", "category=cat", "has no known format"),
        (png()[:60], "category=cat", "image"),
        (png(), "&".join(f"category={i}" for i in range(9)), "9 names; 8 at most at once"),
        (png(), f"category={'x' * 101}", "is too long; 100 letters at most"),
        (png(6000, 5000), "category=cat", "has 30,000,000 pixels"),
    ],
)
def test_what_no_model_should_see_is_refused_in_one_line(models, body, query, said):
    found = send(client(models.answer), body, query=query)
    assert found.status_code == 422 and said in found.json()["error"]
    assert "\n" not in found.json()["error"] and "/tmp" not in found.json()["error"]


def test_only_images_of_some_size_are_taken(monkeypatch):
    monkeypatch.setattr(app, "MOST_BYTES", 100)
    assert send(client(), b"x" * 101).status_code == 413
    assert send(client(), b"x" * 100).status_code == 200
    assert send(client(), b"").status_code == 400
    assert send(client(), png(), kind="text/html").status_code == 415
    assert client().get("/ask").status_code == 405


def test_few_questions_wait_and_one_is_answered_at_a_time():
    free, running, most = threading.Event(), [], []

    def slow(image, categories):
        running.append(1)
        most.append(len(running))
        free.wait(30)
        running.pop()
        return []

    one, statuses = client(slow), []
    threads = [threading.Thread(target=lambda: statuses.append(send(one, png()).status_code)) for _ in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(statuses) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert statuses == [503, 503]
    free.set()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * app.WAITING + [503] * 2 and max(most) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8600"},
        {"host": "user@127.0.0.1:8600"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_other_web_pages_are_refused(headers):
    assert client().get("/about", headers=headers).status_code == 403
    assert send(client(), png(), **headers).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"origin": ADDRESS}, {"host": "localhost:8600"}, {"host": "[::1]:8600"}])
def test_its_own_page_and_programs_are_answered(headers):
    assert client().get("/about", headers=headers).json() == ABOUT


def test_a_link_from_elsewhere_opens_the_page():
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client().get("/", headers=link).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/about", "/none"])
def test_every_answer_forbids_foreign_scripts_and_frames(path):
    rules = client().get(path).headers["content-security-policy"]
    assert "default-src 'none'" in rules and "script-src 'self'" in rules and "frame-ancestors 'none'" in rules
    assert "unsafe" not in rules and "http" not in rules


def test_the_page_loads_nothing_from_elsewhere():
    for name in app.PAGES.values():
        text = (Path(app.__file__).parent / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text and "innerHTML" not in text


def test_a_cell_without_a_model_is_told_how_to_make_it(tmp_path, capsys):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    assert main(["--root", str(tmp_path), "serve", CELL]) == 2
    assert f"is not there yet; make it with `vrft run {CELL}`" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(project, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert main(["--root", str(project), "serve", CELL, "--port", str(other.getsockname()[1])]) == 2
    assert "is taken on 127.0.0.1" in capsys.readouterr().err


def test_no_cell_but_a_whole_one_is_served(project):
    params = load_params(project / "params.yaml")
    with pytest.raises(InputError):
        Models(Layout(project / "nowhere"), params, params.parse_cell(CELL))


@pytest.fixture
def served(project):
    """(process, address) of the real server."""
    port = free_port()
    command = [sys.executable, "-m", "vrft_core.cli", "--root", str(project), "serve", CELL, "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/about").close()
            break
        except OSError:
            time.sleep(0.2)
    yield process, f"http://127.0.0.1:{port}/"
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium here")
def test_in_a_browser_an_image_is_asked_about_and_what_is_hostile_stays_text(served, tmp_path):
    (tmp_path / "a.png").write_bytes(png())

    async def visit() -> dict:
        async with chromium.page(served[1]) as page:
            await page.until("document.getElementById('cell').textContent !== 'the model'")
            await page.choose("#file", tmp_path / "a.png")
            await page.value(f"document.getElementById('categories').value = {HOSTILE!r}; ask(new Event('submit'))")
            await page.until("document.querySelector('section dt')")
            found = {
                "title": await page.value("document.title"),
                "asked": await page.value("document.querySelector('section dt').textContent"),
                "scripts": await page.value("document.scripts.length"),
                "images": await page.value("document.querySelectorAll('section img').length"),
                "console": page.messages,
            }
            await page.screenshot(tmp_path / "narrow.png", 420, 900)
            found["width"] = await page.value("document.documentElement.scrollWidth")
            return found

    found = asyncio.run(visit())
    assert found == {
        "title": f"vrft: {CELL}", "asked": HOSTILE, "scripts": 1, "images": 1, "console": [], "width": found["width"],
    }  # fmt: skip
    assert found["width"] <= 420


@pytest.mark.slow
def test_an_interrupt_ends_it_at_once(served):
    process, _ = served
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130)
