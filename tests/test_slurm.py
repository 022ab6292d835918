"""GPU stages on a real Slurm: what its user sees, and everything that goes wrong on the way."""

import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asset_runs import REPORT, Orchestrator, execute, materialize
from slurm_cluster import TOOLS, Cluster, wait
from small_project import CELL, edit_params, small_project

from pipelines.executors import job_executor, jobs, slurm_sweep
from pipelines.executors.jobs import Refused, Unreachable
from pipelines.executors.slurm import Site, Slurm
from pipelines.executors.slurm_cli import SlurmCli
from vrft_core.cell import Cell, Layout
from vrft_core.job import attempts
from vrft_core.params import Resources
from vrft_core.training.record import ROLLOUTS

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not TOOLS.is_dir(), reason=f"needs {TOOLS}, which brings Slurm up on one machine"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can install Slurm and bring it up"),
]
WHERE = Cell("mini", "lvis", 1, 0)
SMALL = {"cpus": 1, "memory": "500M", "time": "20m"}
# Counts to 20 in a file, as a training does in checkpoints: whoever starts it again goes on. Not further than 10
# before there is a file `go`.
COUNT = """
import os, sys, time
from pathlib import Path
from dagster_pipes import open_dagster_pipes
with open('starts', 'a') as file:
    file.write(os.environ['SLURM_JOB_ID'] + '\\n')
state = Path('count')
first = int(state.read_text()) if state.exists() else 0
with open_dagster_pipes() as pipes:
    for number in range(first, 20):
        print('step', number, file=sys.stderr, flush=True)
        time.sleep(0.1)
        while number == 10 and not os.path.exists('go'):
            time.sleep(0.1)
        state.with_suffix('.new').write_text(str(number + 1))
        os.replace('count.new', 'count')
    pipes.report_asset_materialization(metadata={'went on from': first})
"""
SLEEP = "import time; time.sleep(600)"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    place = Path(tempfile.mkdtemp(prefix="slurm-"))  # munge's socket wants a short path
    place.chmod(0o755)
    cluster = Cluster(place / "s")
    try:
        cluster.up()
        yield cluster
    finally:
        Orchestrator.kill_all()
        cluster.down()
        shutil.rmtree(place)


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(jobs, "EVERY", 0.2)


@pytest.fixture(scope="session")
def out_of_time(cluster, tmp_path_factory) -> Orchestrator:
    """Begun before the other tests, since Slurm counts time limits in minutes."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('a last checkpoint is written'))\n"
        "print('training', file=sys.stderr, flush=True)\n"
        "time.sleep(200)\n"
    )
    return Orchestrator(tmp_path_factory.mktemp("time"), program, "slurm", {**SMALL, "time": "1m"}, retries=2)


@pytest.fixture(scope="session")
def on_a_node_that_is_lost(cluster, tmp_path_factory) -> dict[str, tuple[Path, Orchestrator]]:
    """Two jobs, one that Slurm may start again and one that it may not. Begun before the other tests, since Slurm
    gives a silent node some time."""
    runs = {}
    for name in ("requeue", "no requeue"):
        root = tmp_path_factory.mktemp("node")
        runs[name] = root, Orchestrator(root, COUNT, "slurm", {**SMALL, "partition": "frail"})
    for root, _ in runs.values():
        wait((root / "count").exists)
    requeued, single = ((root / "starts").read_text().strip() for root, _ in runs.values())
    cluster.run("scontrol", "update", f"JobId={single}", "Requeue=0")
    cluster.lose("gpu3", requeued, single)
    for root, _ in runs.values():
        (root / "go").touch()
    return runs


@pytest.fixture(scope="session", autouse=True)
def slow_ones_first(request):
    """Those that the tests at hand ask for."""
    wanted = {name for item in request.session.items for name in item.fixturenames}
    for name in sorted(wanted & {"out_of_time", "on_a_node_that_is_lost"}):
        request.getfixturevalue(name)


def run(root: Path, program: str, **resources):
    return materialize(root, program, "slurm", {**SMALL, **resources})


def interrupted(root: Path, program: str, when, **resources):
    """The outcome of a run that is cancelled once `when()`; what Dagster's run worker gets then is a SIGINT."""

    def cancel() -> None:
        wait(when)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel, daemon=True).start()
    return run(root, program, **resources)


def test_the_user_sees_job_node_states_lines_results_and_cost(cluster, tmp_path, capfd):
    done = run(tmp_path, "import sys, time; print('sft: 3/40', file=sys.stderr); time.sleep(1)" + REPORT, gpus=1)

    assert done.success and done.says("is running on gpu") and done.says("has ended: COMPLETED on gpu")
    assert "sft: 3/40" in capfd.readouterr().err
    assert done.metadata["lvis/AP"] == 0.41
    assert done.metadata["seconds"] > 0 and done.metadata["gpu_hours"] > 0 and done.metadata["peak_memory_mb"] > 5
    log = Path(done.metadata["log"])
    assert "sft: 3/40" in log.read_text() and done.says(str(log.parent))
    kept = (log.parent / "job.sh").read_text()
    assert "#SBATCH --gres=gpu:1\n" in kept and "#SBATCH --mem=500M\n" in kept


def test_what_the_command_prints_is_shown_while_it_runs(cluster, tmp_path):
    program = "import pathlib, sys, time\nprint('one', file=sys.stderr, flush=True)\n"
    program += "while not pathlib.Path('seen').exists(): time.sleep(0.1)\n"

    class Pump(job_executor.JobLog):
        def pump(self, rest: bool = False) -> None:
            super().pump(rest)
            if "one" in self.last_lines:
                (tmp_path / "seen").touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_executor, "JobLog", Pump)
        assert run(tmp_path, program).success


def test_a_users_mistake_is_one_line(cluster, tmp_path):
    program = "import sys; print('vrft: params.yaml: no such cell', file=sys.stderr); sys.exit(2)"
    assert run(tmp_path, program).failure == "params.yaml: no such cell"


def test_the_jobs_own_failure_shows_the_last_lines_of_its_log(cluster, tmp_path):
    program = "import sys\nfor i in range(99): print('line', i, file=sys.stderr)\nraise ValueError('no such thing')"
    failed = run(tmp_path, program).failure
    assert "ended with status 1 in Slurm job" in failed and "ValueError: no such thing" in failed
    assert "line 98" in failed and "line 70" not in failed


def test_out_of_memory_is_named_and_not_retried(cluster, tmp_path):
    program = "import time; much = bytearray(400 * 2**20); time.sleep(60)"
    failed = materialize(tmp_path, program, "slurm", {**SMALL, "memory": "60M"}, retries=2)
    assert "out of memory; it had 60M: raise `memory` under `resources` in params.yaml" in failed.failure
    assert failed.attempts == 1


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"partition": "nowhere"}, "Invalid partition name specified"),
        ({"gpus": 3}, "Requested node configuration is not available"),
        ({"account": "nobody", "time": "2h"}, "will never run (PartitionTimeLimit)"),
    ],
)
def test_a_request_that_cannot_be_met_is_named_and_not_retried(request_, says, cluster, tmp_path):
    failed = materialize(tmp_path, SLEEP, "slurm", {**SMALL, **request_}, retries=2)
    assert says in failed.failure and "see `resources` in params.yaml" in failed.failure
    assert failed.attempts == 1 and no_job_of(tmp_path, cluster)


def no_job_of(root: Path, cluster: Cluster) -> bool:
    """Whether none of the jobs that were begun in a project waits or runs."""
    return not any(cluster.run("squeue", "--noheader", f"--name={p.name}") for p in root.glob("runs/jobs/*"))


def test_a_cancelled_run_ends_its_running_job_and_frees_the_gpu_within_ten_seconds(cluster, tmp_path):
    """Even where the program does not care to be told. By the controller's clock, from the first it hears of it."""
    program = (
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('job.new').write_text(os.environ['SLURM_JOB_ID'])\n"
        "os.rename('job.new', 'job')\n"
        "time.sleep(600)\n"
    )
    outcome = interrupted(tmp_path, program, lambda: (tmp_path / "job").exists() and cluster.gpus_in_use() == 2, gpus=2)
    assert not outcome.success and no_job_of(tmp_path, cluster)
    assert cluster.gpus_in_use() == 0
    assert cluster.seconds_from_cancel_to_end((tmp_path / "job").read_text()) <= 10


def test_a_cancelled_run_takes_its_waiting_job_out_of_the_queue(cluster, tmp_path):
    blocker = cluster.run(
        "sbatch", "--parsable", "--partition=frail", "--gres=gpu:2", "--output=/dev/null", "--wrap=sleep 60"
    ).strip()

    def there() -> bool:
        return any('"id": "' in path.read_text() for path in tmp_path.glob("runs/jobs/*/*/job.json"))

    outcome = interrupted(tmp_path, SLEEP, there, gpus=2, partition="frail")
    cluster.run("scancel", blocker)
    assert not outcome.success and not outcome.says("is running") and no_job_of(tmp_path, cluster)


def test_two_runs_want_the_last_gpu_and_one_waits_for_the_other(cluster, tmp_path, monkeypatch):
    """Four GPUs there are; the second run's reason for waiting is shown. Only then does the first one end."""
    program = (
        "import os, time\nos.mkdir('busy')\n"
        "while not os.path.exists('seen'): time.sleep(0.1)\n"
        "time.sleep(1)\nos.rmdir('busy')\n"
    )
    first = Orchestrator(tmp_path, program, "slurm", {**SMALL, "gpus": 2, "nodes": 2})
    wait((tmp_path / "busy").exists)
    look = Slurm.look

    def watched(self, id: str, folder: Path):
        found = look(self, id, folder)
        if "(Resources)" in found.text:
            (tmp_path / "seen").touch()
        return found

    monkeypatch.setattr(Slurm, "look", watched)
    second = run(tmp_path, program + "# another", gpus=1)
    assert first.outcome().success and second.success and second.says("is pending (Resources)")


def test_a_preempted_job_is_started_again_and_goes_on(cluster, tmp_path):
    low = Orchestrator(tmp_path, COUNT, "slurm", {**SMALL, "gpus": 2, "nodes": 2, "partition": "spot"})
    wait((tmp_path / "count").exists)
    job = (tmp_path / "starts").read_text().strip()

    high = run(tmp_path, "pass", gpus=2)
    (tmp_path / "go").touch()
    cluster.let_run_again(job)

    done = low.outcome()
    assert high.success and done.success
    assert done.metadata["went on from"] > 0 and done.metadata["starts"] == 2


def test_after_the_orchestrators_death_the_next_run_watches_the_same_job(cluster, tmp_path, monkeypatch):
    dead = Orchestrator(tmp_path, COUNT, "slurm", SMALL, inputs="as before")
    wait((tmp_path / "count").exists)
    dead.kill()

    class Taken(job_executor.JobLog):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            (tmp_path / "go").touch()

    monkeypatch.setattr(job_executor, "JobLog", Taken)
    done = materialize(tmp_path, COUNT, "slurm", SMALL, inputs="as before")

    assert done.success and done.says("has not ended: it is watched from here")
    assert len((tmp_path / "starts").read_text().split()) == 1
    assert (tmp_path / "prepared").read_text() == "x" and (tmp_path / "committed").read_text() == "x"
    assert done.metadata["went on from"] == 0


def test_a_job_that_ended_well_while_nobody_watched_is_not_run_again(cluster, tmp_path):
    program = (
        "open('starts', 'a').write('x')\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.1)" + REPORT
    )
    dead = Orchestrator(tmp_path, program, "slurm", SMALL, inputs="as before")
    wait((tmp_path / "starts").exists)
    dead.kill()
    (tmp_path / "go").touch()
    wait(lambda: no_job_of(tmp_path, cluster))

    done = materialize(tmp_path, program, "slurm", SMALL, inputs="as before")

    assert done.success and done.says("has ended well: its result is taken")
    assert (tmp_path / "starts").read_text() == "x" and done.metadata["lvis/AP"] == 0.41


def test_a_job_that_was_left_with_other_inputs_is_ended_before_the_next_one_starts(cluster, tmp_path):
    program = (
        "import os, time\nfirst = not os.path.exists('starts')\n"
        "open('starts', 'a').write(os.environ['SLURM_JOB_ID'] + '\\n')\nif first: time.sleep(600)\n"
    )
    dead = Orchestrator(tmp_path, program, "slurm", SMALL, inputs="old")
    wait((tmp_path / "starts").exists)
    dead.kill()

    done = materialize(tmp_path, program, "slurm", SMALL, inputs="new")

    assert done.success and done.says("does other work than is wanted now: it is ended")
    assert (tmp_path / "prepared").read_text() == "xx"
    old, new = (tmp_path / "starts").read_text().split()
    assert cluster.field(old, "EndTime") <= cluster.field(new, "StartTime")


def test_while_the_controller_is_away_the_job_goes_on_and_its_end_is_seen_afterwards(cluster, tmp_path, monkeypatch):
    in_vain = threading.Event()
    look = Slurm.look

    def watched(self, id: str, folder: Path):
        try:
            return look(self, id, folder)
        except Unreachable:
            in_vain.set()
            raise

    def away() -> None:
        wait((tmp_path / "count").exists)
        cluster.stop_controller()
        in_vain.clear()
        try:
            (tmp_path / "go").touch()
            wait(lambda: (tmp_path / "count").read_text() == "20" and in_vain.is_set())
        finally:
            cluster.start_controller()

    monkeypatch.setattr(Slurm, "look", watched)
    threading.Thread(target=away, daemon=True).start()
    done = materialize(tmp_path, COUNT, "slurm", SMALL, patience=2)

    assert done.success and done.says("does not answer, still trying") and done.says("answers again after")
    assert len((tmp_path / "starts").read_text().split()) == 1


def test_a_job_that_the_controller_forgot_is_known_from_the_completion_file_or_by_its_own_notes(cluster, tmp_path):
    done = run(tmp_path, "pass")
    id, folder = done.metadata["job"].split()[1], Path(done.metadata["log"]).parent
    assert SlurmCli().remembered(id).state == "COMPLETED"
    assert Slurm(Site()).look("999999", folder).text == "noted its end with status 0"


def test_a_job_is_submitted_and_followed_through_ssh(cluster, tmp_path, monkeypatch):
    """`ssh` is a program that runs here what it is to run there: a command line for the login node's shell."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin/ssh"
    ssh.write_text(
        '#!/bin/bash\n[ "$1 $2 $3" = "-o BatchMode=yes me@login" ] || exit 255\n'
        f'echo "$4" >> {tmp_path}/asked\nexec /usr/bin/env PATH=/usr/bin:/bin /bin/bash -c "$4"\n'
    )
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}")
    monkeypatch.setenv("VRFT_SLURM_SSH", "me@login")
    assert run(tmp_path, REPORT).metadata["lvis/AP"] == 0.41
    asked = (tmp_path / "asked").read_text()
    assert "sbatch --parsable" in asked and "scontrol show job" in asked


def test_the_sites_own_lines_and_words_are_in_the_script(cluster, tmp_path, monkeypatch):
    setup = tmp_path / "setup.sh"
    setup.write_text("export FROM_SETUP=yes\n")
    monkeypatch.setenv("VRFT_SLURM_SETUP", str(setup))
    monkeypatch.setenv("VRFT_SLURM_WRAP", "env WRAPPED=yes")
    program = "import os; assert (os.environ['FROM_SETUP'], os.environ['WRAPPED']) == ('yes', 'yes')"
    assert run(tmp_path, program).success


def test_a_sweeps_training_runs_on_each_node_and_is_warned_there_and_its_evaluation_follows_once(cluster, tmp_path):
    (tmp_path / "bin").mkdir()
    vrft = tmp_path / "bin/vrft"
    vrft.write_text(
        '#!/bin/bash\necho "$2 on $SLURM_NODEID, ${VRFT_ACCELERATE:+launched}" >> said\n[ $2 = rft ] || exit 0\n'
        "trap 'echo warned >> said; exit 0' TERM\ntouch there-$SLURM_NODEID\nwhile :; do sleep 0.1; done\n"
    )
    vrft.chmod(0o755)
    (tmp_path / "setup.sh").write_text(f"export PATH={tmp_path}/bin:$PATH\n")
    folder = tmp_path / "runs/jobs/sweep/1"
    folder.mkdir(parents=True)
    need, site = Resources(**SMALL, nodes=2), Site(setup=tmp_path / "setup.sh")
    (folder / "job.sh").write_text(slurm_sweep.script(tmp_path, folder, {"x": ["rft", "rft_eval"]}, need, site))

    id = SlurmCli().submit(folder / "job.sh")
    wait(lambda: (tmp_path / "there-0").exists() and (tmp_path / "there-1").exists())
    cluster.run("scancel", "--signal=USR1", "--batch", f"{id}_0")  # as Slurm does when the time limit is near
    wait(lambda: no_job_of(tmp_path, cluster))

    said = (tmp_path / "said").read_text().splitlines()
    assert sorted(said[:2]) == ["rft on 0, launched", "rft on 1, launched"]
    assert said[2:] == ["warned", "warned", "rft_eval on 0, "], (folder / "log-0.txt").read_text()
    assert attempts(folder / "x/rft")[-1]["status"] == attempts(folder / "x/rft/node-1")[-1]["status"] == 0


def test_a_sweep_that_can_never_run_is_ended_and_says_why(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_sweep, "EVERY", 0.2)
    folder = tmp_path / "runs/jobs/sweep/1"
    folder.mkdir(parents=True)
    too_long = Resources(**{**SMALL, "time": "2h"})
    (folder / "job.sh").write_text(slurm_sweep.script(tmp_path, folder, {"x": ["rft"], "y": ["rft"]}, too_long, Site()))
    id = SlurmCli().submit(folder / "job.sh")
    with pytest.raises(Refused, match=r"will never run \(PartitionTimeLimit\); see `resources` in params.yaml"):
        slurm_sweep._wait(SlurmCli(), "sweep", id, folder)
    wait(lambda: no_job_of(tmp_path, cluster))


def ready_to_train(root: Path) -> Layout:
    """A project of four examples. Two processes would draw other completions than one: here they follow from the
    question, the rest is as always."""
    from small_policy import small_recipe, taught_policy  # torch comes with it

    layout = Layout(small_project(root))
    edit_params(root, lambda params: params["recipes"].update(mini=small_recipe().model_dump(mode="json")))
    taught_policy(layout.policy(WHERE), layout.prompts(WHERE), ("cat", "hog", "tiger", "cat"))
    with open(root / "vrft_core/training/rft.py", "a") as file:
        file.write(
            f"import sys\nsys.path.append({str(Path(__file__).parent)!r})\nfrom small_policy import drawn_by_question\n"
            "GrpoTrainer._generate_single_turn = drawn_by_question\n"
        )
    return layout


def test_a_training_on_two_nodes_learns_what_one_process_learns(cluster, tmp_path):
    logs, rollouts = [], []
    layouts = {1: ready_to_train(tmp_path / "one"), 2: Layout(tmp_path / "two")}
    shutil.copytree(layouts[1].root, layouts[2].root)
    for nodes, layout in layouts.items():
        need = {**SMALL, "memory": "3G", "nodes": nodes}
        done = execute(layout.root, ["vrft", "stage", "rft", "--cell", CELL], "slurm", need)
        assert done.success, done.failure
        folder = Path(done.metadata["log"]).parent
        assert [bool(attempts(place)) for place in (folder, folder / "node-1")] == [True, nodes == 2]
        logs.append(json.loads(layout.training(WHERE, "rft").read_text())["log"])
        lines = (layout.runs(WHERE, "rft") / ROLLOUTS).read_text().splitlines()
        rollouts.append([json.loads(line) | {"advantage": 0} for line in lines])

    one, two = logs
    assert [row["step"] for row in two] == [1, 2, 3, 4] and any(row["reward"] != one[0]["reward"] for row in one)
    for mine, other in zip(one, two, strict=True):
        assert other | {"step_time": 0} == pytest.approx(mine | {"step_time": 0}, rel=1e-4, abs=1e-6)
    assert len(rollouts[0]) == 32 and rollouts[0] == rollouts[1], "completions and what each reward gave for them"


def test_a_job_whose_node_is_lost_is_started_again_and_goes_on(cluster, on_a_node_that_is_lost):
    root, watched = on_a_node_that_is_lost["requeue"]
    job = (root / "starts").read_text().split()[0]
    cluster.bring_back("gpu3")
    cluster.let_run_again(job)

    done = watched.outcome()
    assert done.success and done.metadata["went on from"] > 0
    assert (root / "starts").read_text().split() == [job, job], "one job, two starts"


def test_a_node_that_is_lost_under_a_job_that_slurm_does_not_start_again_is_tried_again(
    cluster, on_a_node_that_is_lost
):
    root, watched = on_a_node_that_is_lost["no requeue"]
    cluster.bring_back("gpu3")

    done = watched.outcome()
    assert done.success and done.attempts == 2 and done.metadata["went on from"] > 0
    assert len(set((root / "starts").read_text().split())) == 2, "two jobs, one after the other"


def test_the_time_limit_is_named_with_time_for_a_last_checkpoint_and_not_retried(out_of_time):
    failed = out_of_time.outcome()
    assert "its time limit being near; it had 1m: start again to resume from the last checkpoint" in failed.failure
    assert "a last checkpoint is written" in failed.failure and failed.attempts == 1
