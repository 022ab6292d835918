"""Stages as pods of a real Kubernetes: what they report arrives, what goes wrong is named, nothing is lost or doubled.

Dagster's side has the rights in deploy/kubernetes and no others, so every test here says that they suffice.
"""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import kubernetes_dagster
import pytest
import yaml
from asset_runs import REPORT, SECONDS, Orchestrator, Outcome, materialize
from kubernetes_cluster import (
    DEPLOY,
    NAMESPACE,
    ROOT,
    TOOLS,
    apply,
    away,
    cluster,
    dagster_in_pods,
    evict,
    kubeconfig_of,
    kubectl,
    lose_node_under,
    pods,
    running_pod,
    template,
    wait,
    watched_pods,
)

from pipelines.executors import jobs, kubernetes_api
from pipelines.executors.jobs import Refused
from pipelines.executors.kubernetes import Kubernetes

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.skipif(not TOOLS.exists(), reason="../shared/tools/kubernetes is not here"),
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="bringing up a cluster needs root"),
]
SMALL = {"gpus": 1, "cpus": 1, "memory": "200M", "time": "10m"}
START = "print('started', file=open('starts', 'a'), flush=True)\n"
UNTIL_GO = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"
# The first start waits for ever, any further one goes on.
FIRST_HANGS = START + "import time\nwhile len(open('starts').readlines()) < 2: time.sleep(0.1)\n"


@pytest.fixture(scope="module", autouse=True)
def login(tmp_path_factory) -> Iterator[None]:
    """The cluster, and Dagster's login to it."""
    folder = tmp_path_factory.mktemp("login")
    (folder / "job.yaml").write_text(yaml.safe_dump(template()))
    with cluster(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig_of("vrft", folder / "kubeconfig")))
        patch.setenv("VRFT_KUBERNETES_JOB", str(folder / "job.yaml"))
        yield


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(jobs, "EVERY", 0.2)


@pytest.fixture(scope="module")
def beside() -> Callable[..., Future]:
    """What runs while a test does other things. One that never ends is left behind."""

    def start(function: Callable, *arguments, **options) -> Future:
        future = Future()

        def work() -> None:
            try:
                future.set_result(function(*arguments, **options))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    return start


def project(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def run(folder: Path, program: str, retries: int = 0, **resources) -> Outcome:
    return materialize(project(folder), program, "kubernetes", SMALL | resources, retries=retries)


@pytest.fixture(scope="module")
def limited_to_a_minute(beside, tmp_path_factory) -> Future:
    """Begun early, since a minute is the shortest time limit."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('a last checkpoint is written'))\n"
        "time.sleep(600)\n"
    )
    return beside(run, tmp_path_factory.mktemp("limited"), program, retries=1, gpus=0, time="1m")


def wait_for_line(text: str, capfd) -> None:
    """Until it is in Dagster's log."""
    seen = []

    def shown() -> bool:
        seen.append(capfd.readouterr().err)
        return text in "".join(seen)

    wait(shown)


@pytest.mark.usefixtures("limited_to_a_minute")
def test_lines_arrive_while_the_pod_runs_and_at_the_end_metrics_and_cost(tmp_path, beside, capfd):
    program = START + "print('sft: 3/40', flush=True)\n" + UNTIL_GO + REPORT
    outcome = beside(run, tmp_path, program)
    wait_for_line("sft: 3/40", capfd)
    pod = running_pod(tmp_path)
    (tmp_path / "go").touch()
    outcome = outcome.result(SECONDS)
    assert outcome.success and outcome.metadata["lvis/AP"] == 0.41
    assert outcome.metadata["gpu_hours"] > 0 and outcome.metadata["peak_memory_mb"] > 5
    assert outcome.metadata["job"] == f"Kubernetes {NAMESPACE}/{pod['metadata']['labels']['vrft/id']}"
    assert pod["metadata"]["labels"]["vrft/asset"] == "made" and len(pod["metadata"]["labels"]["vrft/run"]) == 36
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "200Mi"}
    assert "sft: 3/40" in kubectl("logs", pod["metadata"]["name"])
    assert outcome.says("is running on localhost") and outcome.says("ended well")


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    outcome = run(tmp_path, "for i in range(99): print('line', i)\nraise ValueError('no such thing')")
    assert "ended with status 1 in Kubernetes job" in outcome.failure
    assert "ValueError: no such thing" in outcome.failure
    assert "line 98" in outcome.failure and "line 70" not in outcome.failure


def test_out_of_memory_is_named_and_not_retried(tmp_path):
    outcome = run(tmp_path, "print('begun', flush=True)\nx = bytes(range(256)) * 2**22\n", retries=1)
    assert "out of memory (OOMKilled) on localhost; it had 200M: raise `memory`" in outcome.failure
    assert "begun" in outcome.failure and outcome.attempts == 1


def test_more_gpus_than_any_node_has_are_refused_at_once(tmp_path):
    outcome = run(tmp_path, "", retries=1, gpus=5)
    assert "no node has 5 of nvidia.com/gpu; the largest has 4" in outcome.failure and outcome.attempts == 1


def test_more_than_the_quota_is_named_and_not_retried(tmp_path):
    quota = {"requests.nvidia.com/gpu": "1"}
    apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": quota}})
    try:
        wait(lambda: kubectl("get", "resourcequota", "small", "-o", "jsonpath={.status.hard}"))
        outcome = run(tmp_path, "", retries=1, gpus=2)
    finally:
        kubectl("delete", "resourcequota", "small")
    assert "exceeded quota: small, requested: requests.nvidia.com/gpu=2" in outcome.failure
    assert outcome.attempts == 1 and not outcome.says("submitted by")


def test_a_priority_that_does_not_exist_is_named(tmp_path):
    assert "no PriorityClass with name nosuch" in run(tmp_path, "", priority="nosuch").failure


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"image": "test.local/nowhere:1"}, "ErrImageNeverPull"),
        ({"path": "/usr/bin:/bin"}, "python: not found"),
        ({"folders": ["/usr"]}, "cannot create"),  # the project's folder is not there
    ],
    ids=["image", "python", "storage"],
)
def test_a_template_that_does_not_fit_is_found_out(tmp_path, monkeypatch, what, said):
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(template(**what)))
    monkeypatch.setenv("VRFT_KUBERNETES_JOB", str(tmp_path / "job.yaml"))
    assert said in run(tmp_path, "").failure


def test_a_cancelled_run_leaves_no_pod_and_frees_its_gpus_within_ten_seconds(tmp_path):
    """Even where the program does not care to be told. By the API server's clock, which is this machine's."""
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + START + UNTIL_GO
    noted = []

    with watched_pods() as watched:

        def seen(pod: dict) -> list[tuple[str, dict]]:
            return [(kind, metadata) for kind, metadata in watched() if metadata["uid"] == pod["metadata"]["uid"]]

        def cancel() -> None:
            pod = running_pod(tmp_path)
            wait(lambda: seen(pod))
            noted.extend((pod, datetime.now(UTC)))
            os.kill(os.getpid(), signal.SIGINT)  # what Dagster's run worker gets when its run is cancelled

        threading.Thread(target=cancel, daemon=True).start()
        assert not run(tmp_path, program, gpus=4).success
        pod, cancelled = noted
        wait(lambda: seen(pod)[-1][0] == "DELETED")
        due = [metadata["deletionTimestamp"] for _, metadata in seen(pod) if "deletionTimestamp" in metadata]
    # Each includes a grace period: that of the Job's own removal, or the shorter one of the cancelled run.
    assert datetime.fromisoformat(min(due)) < cancelled + timedelta(seconds=10)
    assert pod["metadata"]["name"] not in kubectl("get", "pods", "-o", "name")
    assert pod["metadata"]["labels"]["vrft/id"] not in kubectl("get", "jobs", "-o", "name")
    assert run(tmp_path / "next", "", gpus=4).success


def test_an_evicted_pod_starts_again_and_waits_for_its_last_checkpoint(tmp_path, beside):
    program = (
        "import os, signal, sys, time\n"
        "def seal(*_):\n    time.sleep(2)\n    open('sealed', 'w').close()\n    sys.exit(1)\n"
        "first = not os.path.exists('starts')\n"
        "signal.signal(signal.SIGTERM, seal)\n" + START + "if first: time.sleep(600)\n"
        "assert os.path.exists('sealed')\n" + REPORT
    )
    outcome = beside(run, tmp_path, program)
    evict(running_pod(tmp_path))
    outcome = outcome.result(SECONDS)
    assert outcome.success and outcome.metadata["lvis/AP"] == 0.41
    assert (tmp_path / "starts").read_text().count("started") == outcome.metadata["starts"] == 2


def test_a_pod_that_is_lost_with_its_node_starts_again(tmp_path, beside):
    outcome = beside(run, tmp_path, FIRST_HANGS)
    lose_node_under(running_pod(tmp_path))
    assert outcome.result(SECONDS).success
    assert (tmp_path / "starts").read_text().count("started") == 2


def test_a_preempted_pod_waits_and_starts_again(tmp_path, beside):
    apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 9})
    preempted = beside(run, tmp_path / "preempted", FIRST_HANGS, gpus=3)
    running_pod(tmp_path / "preempted")
    urgent = run(tmp_path / "urgent", START, gpus=3, priority="urgent")
    assert urgent.success and preempted.result(SECONDS).success
    assert (tmp_path / "preempted/starts").read_text().count("started") == 2


def test_of_two_runs_that_want_the_last_gpus_one_waits(tmp_path, beside):
    first = beside(run, tmp_path / "first", START + UNTIL_GO, gpus=3)
    running_pod(tmp_path / "first")
    second = beside(run, tmp_path / "second", START, gpus=3)
    wait(lambda: pods("Pending"))
    (tmp_path / "first/go").touch()
    first, second = first.result(SECONDS), second.result(SECONDS)
    assert first.success and second.success
    assert second.says("waits: 0/1 nodes are available") and second.says("1 Insufficient nvidia.com/gpu")


def test_the_job_of_an_orchestrator_that_was_killed_is_taken_over(tmp_path, beside):
    killed = Orchestrator(project(tmp_path), START + UNTIL_GO + REPORT, "kubernetes", SMALL)
    running_pod(tmp_path)
    killed.kill()
    outcome = beside(run, tmp_path, START + UNTIL_GO + REPORT)
    (tmp_path / "go").touch()
    outcome = outcome.result(SECONDS)
    assert outcome.success and outcome.metadata["lvis/AP"] == 0.41
    assert (tmp_path / "starts").read_text().count("started") == 1
    assert (tmp_path / "committed").read_text() == "x"


def test_while_the_api_server_is_away_the_pod_goes_on_and_its_end_is_seen_afterwards(
    tmp_path, beside, monkeypatch, capfd
):
    monkeypatch.setattr(kubernetes_api, "TIMEOUT", 2)
    outcome = beside(run, tmp_path, START + UNTIL_GO)
    running_pod(tmp_path)
    with away("apiserver"):
        (tmp_path / "go").touch()
        wait(lambda: "end" in next(tmp_path.rglob("attempts.jsonl")).read_text())
        wait_for_line("does not answer, still trying", capfd)
    outcome = outcome.result(SECONDS)
    assert outcome.success and outcome.says("does not answer, still trying") and outcome.says("answers again after")


def test_the_rights_that_are_shipped_are_those_that_are_needed(tmp_path):
    """Each verb taken away is missed before anything is begun, and named."""
    role = next(part for part in yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()) if part["kind"] == "Role")
    rules = role["rules"]

    def refused() -> str:
        try:
            return str(Kubernetes(project(tmp_path)).find("nothing") or "")
        except Refused as error:
            return str(error)

    try:
        for number, rule in enumerate(rules):
            for verb in rule["verbs"]:
                fewer = {**rule, "verbs": [other for other in rule["verbs"] if other != verb] or ["watch"]}
                apply(role | {"rules": [*rules[:number], fewer, *rules[number + 1 :]]})
                # The server takes note of a change in its own time.
                wait(lambda said=f"may not {verb} {rule['resources'][0]} in vrft": said in refused(), 60)
    finally:
        apply(role)
    wait(lambda: refused() == "", 60)


def test_a_step_that_is_lost_with_its_node_is_tried_again_where_dagster_gives_every_step_a_pod(tmp_path):
    """K8sRunLauncher starts the run's pod, and that one its step's."""
    origin = dg.reconstructable(kubernetes_dagster.job).get_python_origin()
    with dagster_in_pods(tmp_path) as instance:
        run = instance.create_run_for_job(kubernetes_dagster.job(), job_code_origin=origin)
        instance.launch_run(run.run_id, workspace=None)
        wait((tmp_path / "begun").exists, SECONDS)
        (pod,) = (pod for pod in pods() if "dagster/op" in pod["metadata"]["labels"])
        lose_node_under(pod)
        wait(lambda: instance.get_run_by_id(run.run_id).is_finished, SECONDS)
        assert instance.get_run_by_id(run.run_id).is_success
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
    (lost,) = (event for event in events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert "was lost with" in lost.step_retry_data.error.message
    (made,) = (event for event in events if event.is_step_materialization)
    assert made.materialization.metadata["retry"].value == 1


def test_the_time_limit_is_named_and_not_retried(limited_to_a_minute):
    outcome = limited_to_a_minute.result(SECONDS)
    assert "reached its time limit on localhost; it had 1m" in outcome.failure
    assert "a last checkpoint is written" in outcome.failure and outcome.attempts == 1
