"""`make ui` as it really runs: Dagster, its daemon and MLflow on free ports, asked over HTTP as a browser would."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_processes import free_port, processes_for
from small_project import ROOT, run, small_project
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pipelines.pages import link

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, and servers end with their parent on Linux"),
]
JSON = {"Content-Type": "application/json"}
WRITES = "mutation { setConcurrencyLimit(concurrencyKey: %s, limit: 7) }"


class Ui:
    """`python -m pipelines.ui` for a small project, up when it has said so."""

    def __init__(self, root: Path) -> None:
        self.root, self.port, self.mlflow = root, free_port(), free_port()
        (root / "dagster_home").mkdir()
        shutil.copy(ROOT / "dagster_home/dagster.yaml", root / "dagster_home")
        environment = {
            **os.environ, "VRFT_ROOT": str(root), "PYTHONPATH": str(ROOT), "VRFT_DAGSTER_PORT": str(self.port),
            "VRFT_MLFLOW_PORT": str(self.mlflow), "VRFT_UI_HOSTS": "gpu.example.org",
        }  # fmt: skip
        environment.pop("MLFLOW_TRACKING_URI", None)
        self.said = root / "said"
        with open(self.said, "w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.ui"], cwd=root, env=environment, stdout=file, stderr=file
            )
        deadline = time.monotonic() + 600
        while "Ready" not in self.said.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.3)

    def ask(self, method: str, path: str, body: str = "", port: int | None = None, **headers: str):
        """(status, headers, text); underscores in the headers' names are hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()

    def query(self, text: str, **headers: str) -> dict:
        status, _, body = self.ask("POST", "/graphql", json.dumps({"query": text}), **{**JSON, **headers})
        assert status == 200, body
        return json.loads(body)["data"]

    def pools(self) -> set[str]:
        found = self.query("{ instance { concurrencyLimits { concurrencyKey } } }")
        return {row["concurrencyKey"] for row in found["instance"]["concurrencyLimits"]}

    def processes(self) -> dict[int, str]:
        """Descendants of the command, by their number; found by the project they were started for."""
        return {pid: line for pid, line in processes_for(self.root).items() if pid != os.getpid()}


@pytest.fixture(scope="module")
def ui(tmp_path_factory) -> Iterator[Ui]:
    root = small_project(tmp_path_factory.mktemp("ui") / "project")
    run("git", "add", "dvc.yaml", "params.yaml", cwd=root)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "made", cwd=root)
    server = Ui(root)
    yield server
    server.process.terminate()
    server.process.wait(60)


def test_it_says_that_it_is_ready_and_where_everything_is_and_nothing_else(ui):
    first, second, *lines = ui.said.read_text().splitlines()
    assert first.startswith("Starting Dagster and MLflow") and second == "Ready. Ctrl-C stops all of it."
    own = f"http://127.0.0.1:{ui.port}"
    places = dict(re.split(r"\s{2,}|(?<=docs) ", line.strip(), maxsplit=1) for line in lines)
    assert places == {
        "Dagster": own, "reports, data docs": f"{own}/vrft/", "logs": str(ui.root / "dagster_home/ui"),
        "MLflow": f"http://127.0.0.1:{ui.mlflow}/#/experiments",
    }  # fmt: skip
    locations = ui.query("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
    assert locations["workspaceOrError"]["locationEntries"] == [{"loadStatus": "LOADED"}]


def test_mlflow_has_no_helpers_and_writes_no_line_a_request(ui):
    for _ in range(3):
        assert ui.ask("GET", "/health", port=ui.mlflow)[0] == 200
    mlflow = [line for line in ui.processes().values() if "mlflow" in line]
    assert len(mlflow) == 2, mlflow
    assert "GET /" not in (ui.root / "dagster_home/ui/mlflow.log").read_text()


def test_mlflow_refuses_other_web_pages_itself(ui):
    body = json.dumps({"name": "stolen"})
    path = "/api/2.0/mlflow/experiments/create"
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert ui.ask("POST", path, body, port=ui.mlflow, **JSON, **headers)[0] == 403


OTHERS = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "127.0.0.1@evil.example"},
    {"Host": ""},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
]


@pytest.mark.parametrize("headers", OTHERS, ids=str)
def test_another_web_page_changes_nothing(ui, headers):
    body = json.dumps({"query": WRITES % '"stolen"'})
    assert ui.ask("POST", "/graphql", body, **JSON, **headers)[0] == 403
    assert ui.ask("POST", "/report_asset_materialization/lvis_raw", "{}", **JSON, **headers)[0] == 403
    assert "stolen" not in ui.pools()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if "Host" not in headers:
        with pytest.raises(InvalidStatus) as caught:
            connect(f"ws://127.0.0.1:{ui.port}/graphql", subprotocols=["graphql-ws"], additional_headers=headers)
        assert caught.value.response.status_code == 403


def test_a_link_or_a_form_changes_nothing(ui):
    query = f"/graphql?query={WRITES % '%22linked%22'}".replace(" ", "%20").replace("{", "%7B").replace("}", "%7D")
    for method, path in (("GET", query), ("GET", query.replace("graphql", "%67raphql")), ("HEAD", query)):
        assert ui.ask(method, path)[0] == 405
    status, _, text = ui.ask("GET", query, Accept="text/html")
    assert status == 200 and text.lstrip().startswith("<!"), "the page to write queries in, which runs nothing"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ui.ask("POST", query, Content_Type=kind)[0] == 415
    assert "linked" not in ui.pools()


def test_its_own_pages_and_programs_are_obeyed(ui):
    own = f"http://127.0.0.1:{ui.port}"
    ui.query(WRITES % '"own"', Origin=own, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors")
    ui.query(WRITES % '"program"')
    ui.query(WRITES % '"named"', Host="gpu.example.org", Origin="https://gpu.example.org")
    ui.query(WRITES % '"tunnel"', Host="localhost:8080", Origin="http://localhost:8080")
    assert {"own", "program", "named", "tunnel"} <= ui.pools()
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert ui.ask("GET", "/assets", **link)[0] == 200, "a link from elsewhere opens a page"
    with connect(f"ws://127.0.0.1:{ui.port}/graphql", subprotocols=["graphql-ws"], origin=own) as talk:
        talk.send('{"type": "connection_init"}')
        assert json.loads(talk.recv(10))["type"] == "connection_ack"


def test_no_page_may_be_put_into_a_frame(ui):
    assert ui.ask("GET", "/")[1]["X-Frame-Options"] == "DENY"


def test_reports_and_data_docs_are_one_click_away_and_harmless(ui):
    for name in ("reports/lvis-mini-1shot/s0/report/report.html", "data_docs/raw/lvis mini/index.html"):
        page = ui.root / name
        page.parent.mkdir(parents=True)
        page.write_text("<p>42</p><script>fetch('/graphql')</script>")
        status, headers, text = ui.ask("GET", link(ui.root, page).url)
        assert status == 200 and "<p>42</p>" in text and headers["Content-Type"].startswith("text/html")
        rules = headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in rules and "sandbox allow-popups" in rules and "frame-ancestors 'none'" in rules
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert ui.ask("POST", link(ui.root, page).url)[0] == 405


def test_a_page_that_is_not_made_yet_says_so(ui):
    status, headers, text = ui.ask("GET", "/vrft/reports/lvis-mini-1shot/s2/report/report.html")
    assert status == 404 and "not made yet" in text and "sandbox" in headers["Content-Security-Policy"]


def test_all_experiments_are_on_one_page(ui):
    status, headers, text = ui.ask("GET", "/vrft/")
    assert status == 200 and 'id="lvis-mini-1shot-s0"' in text and "sandbox" in headers["Content-Security-Policy"]


def test_code_is_shown_at_the_commit_as_text_and_nothing_that_git_does_not_hold(ui):
    commit = run("git", "rev-parse", "HEAD", cwd=ui.root).strip()
    status, headers, text = ui.ask("GET", f"/vrft/code/{commit}/dvc.yaml")
    assert status == 200 and text == (ui.root / "dvc.yaml").read_text().rstrip()
    assert headers["Content-Type"].startswith("text/plain") and "sandbox" in headers["Content-Security-Policy"]
    for path in (
        f"{commit}/said",
        f"{commit}/../said",
        "HEAD/dvc.yaml",
        f"{'0' * 40}x/dvc.yaml",
        f"{commit}/.git/config",
    ):
        assert ui.ask("GET", f"/vrft/code/{path}")[0] == 404, path


def test_nothing_outside_those_folders_is_served(ui):
    folder = ui.root / "reports/more"
    folder.mkdir(parents=True)
    (folder / ".half-written.html").write_text("secret")
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "home").symlink_to(ui.root)
    os.mkfifo(folder / "pipe")
    up = ("../params.yaml", "..%2fparams.yaml", "more/../../params.yaml", "%2e%2e/params.yaml", "..%5cparams.yaml")
    for path in (*up, "/etc/passwd", "more/passwd", "more/home/params.yaml", "more/.half-written.html", "more/pipe",
                 "more", "more/", "", "a" * 5000, "more/%00"):  # fmt: skip
        status, _, text = ui.ask("GET", f"/vrft/reports/{path}")
        assert not any(word in text for word in ("secret", "root:", "recipes:")), path
        assert status in (400, 404), path


def test_where_the_pages_are_not_ours_a_report_has_its_path(tmp_path, monkeypatch):
    page = tmp_path / "reports/report.html"
    monkeypatch.setenv("VRFT_STEPS", "kubernetes")
    assert link(tmp_path, page).path == str(page)
    monkeypatch.delenv("VRFT_STEPS")
    assert link(tmp_path, Path("/elsewhere/report.html")).path == "/elsewhere/report.html"


def test_a_port_that_is_taken_is_one_line(ui):
    environment = {**os.environ, "VRFT_ROOT": str(ui.root), "PYTHONPATH": str(ROOT), "VRFT_DAGSTER_PORT": str(ui.port)}
    command = [sys.executable, "-m", "pipelines.ui"]
    done = subprocess.run(command, cwd=ui.root, env=environment, text=True, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"127.0.0.1:{ui.port} is taken: stop what listens there, or set VRFT_DAGSTER_PORT\n"


def test_when_it_is_killed_nothing_stays_behind(ui):
    assert len(ui.processes()) >= 6
    os.kill(ui.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 90  # the code server's own process waits half a minute for a heartbeat
    while (left := ui.processes()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left
