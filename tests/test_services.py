"""`make services`: PostgreSQL, MLflow, code server, daemon and pages; a training that outlives their deaths; a night.

One start for all: the training is cancelled, its run's process killed, then each server, and goes on every time.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from own_processes import free_port, processes_for
from small_policy import small_recipe, taught_policy
from small_project import CELL, ROOT, edit_params, run, small_project

from pipelines import postgres
from pipelines.children import answers
from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.tasks import load_params
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.record import ROLLOUTS

STEPS, MOMENT = 40, 0.1  # a step takes about as many seconds
PARTITION = CELL.removeprefix("lvis-")
CELL_ = Cell("mini", "lvis", 1, 0)
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
CANCEL = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
BACKFILL = """mutation($of: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $of) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LAUNCH = """mutation($of: ExecutionParams!) { launchRun(executionParams: $of) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


def _missing() -> str:
    if sys.platform != "linux":
        return "processes end with their parent on Linux"
    try:
        postgres.programs()
    except InputError as error:
        return str(error)
    return ""


LONG = pytest.mark.skipif("VRFT_LONG_DRILLS" not in os.environ, reason="four minutes: set VRFT_LONG_DRILLS=1")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(_missing()), reason=_missing())]


def wait(for_what: Callable[[], object], seconds: float = 1500, every: float = 0.3):
    deadline = time.monotonic() + seconds
    while not (found := for_what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


class Services:
    """`python -m pipelines.services` for a small project, up when it has said so."""

    def __init__(self, root: Path) -> None:
        self.root, self.port, self.mlflow = root, free_port(), free_port()
        self.state = root / "dagster_home/services"
        self.environment = {
            **os.environ, "VRFT_ROOT": str(root), "PYTHONPATH": str(ROOT), "VRFT_DAGSTER_PORT": str(self.port),
            "VRFT_MLFLOW_PORT": str(self.mlflow), "VRFT_SCHEDULES": "off",
        }  # fmt: skip
        for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
            self.environment.pop(name, None)
        self.said = root / "said"
        with open(self.said, "w") as file:
            command = [sys.executable, "-m", "pipelines.services"]
            self.process = subprocess.Popen(command, cwd=root, env=self.environment, stdout=file, stderr=file)
        wait(lambda: "Ready" in self.said.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said.read_text()

    def post(self, port: int, path: str, body: dict | None, method: str = "POST") -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return json.loads(text)

    def query(self, text: str, **variables: object) -> dict:
        return self.post(self.port, "/graphql", {"query": text, "variables": variables})["data"]

    def launch(self, job: str, *assets: str) -> str:
        """The run's id."""
        selector = {"repositoryLocationName": "vrft", "repositoryName": "__repository__", "jobName": job}
        tags = []
        if assets:
            selector |= {"assetSelection": [{"path": [asset]} for asset in assets]}
            tags = [{"key": "dagster/partition", "value": PARTITION}]
        wanted = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
        found = self.query(LAUNCH, of=wanted)["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return found["run"]["runId"]

    def api(self, path: str, method: str = "POST", **fields: object) -> dict:
        """One of MLflow's answers."""
        query = f"?{urlencode(fields)}" if method == "GET" else ""
        body = None if method == "GET" else fields
        return self.post(self.mlflow, f"/api/2.0/mlflow/{path}{query}", body, method)

    def experiment(self, name: str) -> str:
        found = self.api("experiments/get-by-name", "GET", experiment_name=name)
        return found["experiment"]["experiment_id"]

    def runs(self) -> dict[str, str]:
        """Run → status; [] while the database or the pages are away."""
        try:
            found = self.query("{ runsOrError { ... on Runs { results { runId status } } } }")
            return {one["runId"]: one["status"] for one in found["runsOrError"]["results"]}
        except (OSError, AssertionError, TypeError, KeyError, http.client.HTTPException):
            return {}

    def ended(self, run_id: str) -> str:
        return wait(lambda: (status := self.runs().get(run_id)) in ENDED and status)

    def part(self, words: str) -> int:
        """The process that was started with these words by the command itself."""
        started = processes_for(self.root).items()
        (pid,) = (pid for pid, line in started if words in line and parent(pid) == self.process.pid)
        return pid

    def stages(self) -> list[int]:
        return [pid for pid, line in processes_for(self.root).items() if "vrft stage" in line]


def tags(run_of_mlflow: dict) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run_of_mlflow["data"]["tags"]}


def tracked(services: Services) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{services.mlflow}"}


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


def small_training(params: dict) -> None:
    """An adapter that learns quickly enough for its bytes to tell something."""
    recipe, small = params["recipes"]["mini"], small_recipe().model_dump(mode="json")
    recipe |= {name: small[name] for name in ("threads", "adapter", "evaluation")}
    recipe["rft"] = small["rft"] | {"steps": STEPS, "save_steps": 2}
    recipe["evaluation"] |= {"validation_images": 8, "draws": 20}
    params["nightly"]["golden"] = None


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    # not in pytest's own folder: each start of pytest closes that to PostgreSQL's account
    with tempfile.TemporaryDirectory(prefix="vrft-services-") as folder:
        os.chmod(folder, 0o711)
        root = small_project(Path(folder) / "project")
        edit_params(root, small_training)
        taught_policy(Layout(root).policy(CELL_), root / "unused")
        shutil.rmtree(root / "unused")
        server = Services(root)
        yield server
        server.process.terminate()
        server.process.wait(90)


def test_both_stores_are_in_postgresql_which_nobody_else_can_reach(services):
    (line,) = services.said.read_text().splitlines()
    assert line.startswith(
        f"Ready: Dagster http://127.0.0.1:{services.port}   MLflow http://127.0.0.1:{services.mlflow}"
    )
    prepared = services.launch("lvis", "lvis_raw", "lvis_few_shot", "lvis_prompts")
    assert services.ended(prepared) == "SUCCESS"
    left = [path.name for path in services.root.rglob("*.db")]
    assert not left, "SQLite keeps nothing"
    password = (services.state / "postgres/password").read_text()
    assert len(password) > 30 and not any(password in line for line in processes_for(services.root).values())
    assert not any(password in log.read_text() for log in (services.state / "logs").iterdir())
    assert (services.state / "postgres/password").stat().st_mode & 0o077 == 0


def sealed(services: Services) -> int:
    """The step of the newest checkpoint that is whole."""
    return max((step for step, *_ in complete_checkpoints(Layout(services.root).runs(CELL_, "rft"))), default=0)


def continue_to_end(pid: int) -> None:
    """Let a process that stands still go on once it has been asked to end, and not to its own end before that."""
    asked = 1 << (signal.SIGTERM - 1)

    def pending() -> bool:
        text = Path(f"/proc/{pid}/status").read_text()
        return bool(asked & int(text.partition("ShdPnd:")[2].split()[0], 16))

    wait(pending, every=0.1)
    os.kill(pid, signal.SIGCONT)


def begun_anew(services: Services, run_id: str) -> str:
    """The run that Dagster has begun in its place."""
    asked = "query($id: ID!) { runOrError(runId: $id) { ... on Run { parentRunId } } }"

    def parent_of(one: str) -> str | None:
        return services.query(asked, id=one)["runOrError"].get("parentRunId")

    return wait(lambda: next((one for one in services.runs() if parent_of(one) == run_id), None))


def paused(services: Services, run_id: str, after: int) -> int:
    """Stop the training of a run once it has a checkpoint later than `after`; its process.

    It runs for moments only, and is looked at while it stands still: on no machine it gets to its end unseen.
    """
    folder = Layout(services.root).runs(CELL_, "rft")

    def later() -> bool:
        return any(int(seal.parent.name[11:]) > after for seal in folder.glob("checkpoint-*/complete.json"))

    def started() -> list[int]:
        assert services.runs().get(run_id) not in ENDED, "it ended by itself"
        return services.stages()

    (pid,) = wait(started, every=0)
    deadline = time.monotonic() + 1500
    while True:
        os.kill(pid, signal.SIGSTOP)
        if later():
            return pid
        assert time.monotonic() < deadline and pid in services.stages(), "it ended by itself"
        os.kill(pid, signal.SIGCONT)
        time.sleep(MOMENT)


@LONG
def test_one_training_outlives_cancel_and_the_death_of_every_process_and_is_the_same_as_another(services):
    layout = Layout(services.root)
    # cancelled in mid-training
    first = services.launch("lvis", "lvis_rft_model")
    stage = paused(services, first, 0)
    services.query(CANCEL, id=first)
    continue_to_end(stage)
    assert services.ended(first) == "CANCELED"
    wait(lambda: not services.stages())
    at = sealed(services)
    assert at >= 2 and not layout.model(CELL_, "rft").exists()

    # the run's own process is killed: Dagster sees it and begins the run anew
    second = services.launch("lvis", "lvis_rft_model")
    stage = paused(services, second, at)
    os.kill(parent(stage), signal.SIGKILL)
    continue_to_end(stage)
    assert services.ended(second) == "FAILURE"
    wait(lambda: stage not in services.stages())
    third = begun_anew(services, second)

    # the code server is killed, and all that it started: seen, and begun anew as well
    stage = paused(services, third, sealed(services))
    os.kill(services.part("dagster api grpc"), signal.SIGKILL)
    continue_to_end(stage)
    assert services.ended(third) == "FAILURE"
    wait(lambda: stage not in services.stages())
    fourth = begun_anew(services, third)

    # daemon, MLflow and PostgreSQL are killed: the training goes on without them
    stage = paused(services, fourth, sealed(services))
    for words in ("dagster._daemon", "mlflow server", "bin/postgres"):
        os.kill(services.part(words), signal.SIGKILL)
    assert paused(services, fourth, sealed(services)) == stage
    wait(services.runs)  # what the run writes at its end is written to a database that is there again
    os.kill(stage, signal.SIGCONT)
    assert services.ended(fourth) == "SUCCESS"
    said = services.said.read_text()
    for name in ("code", "daemon", "mlflow", "postgres"):
        assert said.count(f"vrft: {name} ended with status -9; it is started again") == 1, said

    assert {"STARTED", "STARTING", "QUEUED", "CANCELING"}.isdisjoint(services.runs().values()), "no slot stays taken"
    assert not services.stages()
    steps = [json.loads(line)["step"] for line in (layout.runs(CELL_, "rft") / ROLLOUTS).read_text().splitlines()]
    assert steps == sorted(steps) and len(steps) == 8 * STEPS, "nothing lost, nothing doubled"
    whole = Layout(services.root.with_name("whole"))
    ignored = shutil.ignore_patterns("dagster_home", "runs", "rft")
    shutil.copytree(services.root, whole.root, ignore=ignored)
    run("vrft", "stage", "rft", "--cell", CELL, cwd=whole.root)
    weights = [(one.model(CELL_, "rft") / "adapter_model.safetensors").read_bytes() for one in (layout, whole)]
    assert weights[0] == weights[1], "as if nothing had happened"


@LONG
def test_mlflow_has_every_step_of_it_once_although_it_was_killed_meanwhile(services):
    wait(lambda: answers(f"http://127.0.0.1:{services.mlflow}/health"))
    run("vrft", "track", "--resend", cwd=services.root, **tracked(services))
    found = services.api("runs/search", experiment_ids=[services.experiment("lvis")])
    (training,) = (one for one in found["runs"] if tags(one).get("stage") == "rft")
    assert training["info"]["status"] == "FINISHED"
    history = services.api("metrics/get-history", "GET", run_id=training["info"]["run_id"], metric_key="train/loss")[
        "metrics"
    ]
    assert [int(one["step"]) for one in history] == list(range(1, STEPS + 1))
    artifacts = services.state / "artifacts"
    assert any(path.is_file() for path in artifacts.rglob("*")), "through the server, into its store"


@LONG
def test_the_nightly_job_runs_from_the_queue_to_its_verdict(services):
    assert services.ended(services.launch("lvis", "lvis_rft_eval")) == "SUCCESS"
    run("vrft", "baseline", CELL, cwd=services.root)
    assert services.ended(services.launch("nightly_regression")) == "SUCCESS"
    (night,) = io.read_jsonl(services.root / "reports/nightly/nights.jsonl")
    assert night["passed"] and night["cells"][CELL]["verdict"] == "good" and night["data"]["passed"], night
    (kept,) = services.api("runs/search", experiment_ids=[services.experiment("nightly")])["runs"]
    assert tags(kept)["verdict"] == "passed" and night["run"].startswith(f"http://127.0.0.1:{services.mlflow}/")


@LONG
def test_a_backfill_over_seeds_makes_every_partition_and_shared_data_once(services):
    seeds = [f"mini-1shot-s{seed}" for seed in range(3)]
    assets = [{"path": [asset]} for asset in ("lvis_raw", "lvis_few_shot", "lvis_prompts")]
    data = load_params(services.root / "params.yaml").parse_cell("lvis-embedded")
    raw = Layout(services.root).runs(data, "raw").with_suffix(".cost.jsonl")
    before = raw.read_text()
    found = services.query(BACKFILL, of={"assetSelection": assets, "partitionNames": seeds})["launchPartitionBackfill"]
    assert found["__typename"] == "LaunchBackfillSuccess", found
    asked = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"

    def status() -> str:
        return services.query(asked, id=found["backfillId"])["partitionBackfillOrError"]["status"]

    assert wait(lambda: (now := status()) != "REQUESTED" and now) == "COMPLETED_SUCCESS"
    for seed in range(3):
        assert any(Layout(services.root).prompts(Cell("mini", "lvis", 1, seed)).iterdir())
    assert raw.read_text() == before, "up to date for all three"


@LONG
def test_when_it_is_killed_nothing_stays_behind(services):
    assert len(processes_for(services.root)) >= 5
    os.kill(services.process.pid, signal.SIGKILL)
    wait(lambda: not processes_for(services.root), 300)
