"""Jobs of a queue, as far as no queue is needed: the batch script, files that come late, what is asked for."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from pipelines.executors import Placement, failures, jobs, slurm_sweep
from pipelines.executors.failures import Cause
from pipelines.executors.job_executor import JobExecutor
from pipelines.executors.jobs import (
    Job,
    Phase,
    Refused,
    Status,
    Unreachable,
    job_name,
    measured,
    passed_on,
)
from pipelines.executors.pipes_files import FileMessages, GrowingFile
from pipelines.executors.slurm import Site, cpu_seconds, environment, mebibytes, script, status
from pipelines.executors.slurm_cli import JobInfo, SlurmCli, Unknown
from pipelines.executors.work import Work
from vrft_core.errors import InputError
from vrft_core.job import ATTEMPTS, attempts
from vrft_core.params import Params, Resources
from vrft_core.tasks import settings_models

ROOT = Path(__file__).parents[1]


def job(resources: Resources, *command: str) -> Job:
    labels = {"run": "5f0c", "asset": "lvis_rft_model", "partition": "mini-1shot-s0"}
    return Job("vrft-rft", Path("/sh ared/vrft"), Path("/sh ared/j%1"), list(command), {"A": "b c"}, resources, labels)


def lines(resources: Resources, *command: str, site: Site | None = None) -> list[str]:
    return script(job(resources, *command), site or Site()).splitlines()


def wait(for_what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_the_batch_script_asks_for_what_the_stage_needs_and_runs_its_command():
    need = Resources(gpus=2, gpu_type="a100", memory="3G", time="2h", partition="gpu", account="vision", qos="long")
    said = lines(need, "vrft", "stage", "policy", "--cell", "mini")
    for option in ("gres=gpu:a100:2", "mem=3072M", "time=120", "partition=gpu", "account=vision", "qos=long"):
        assert f"#SBATCH --{option}" in said
    assert "#SBATCH --signal=B:USR1@300" in said and "#SBATCH --requeue" in said and "export A='b c'" in said
    assert "#SBATCH --comment='Dagster run 5f0c, asset lvis_rft_model, partition mini-1shot-s0'" in said
    assert "#SBATCH --output='/sh ared/j%%1/log.txt'" in said, "a percent sign is Slurm's own"
    assert said[-1] == "exec python -m vrft_core.job '/sh ared/j%1' vrft stage policy --cell mini"


def test_nothing_is_asked_for_that_was_not_said():
    said = "\n".join(lines(Resources(), "vrft", "stage", "policy", "--cell", "mini"))
    for option in ("gres", "partition", "account", "qos"):
        assert f"--{option}=" not in said


def test_a_training_on_two_nodes_is_launched_once_a_node_with_a_process_a_gpu():
    said = "\n".join(lines(Resources(gpus=4, nodes=2), "vrft", "stage", "rft", "--cell", "x", site=Site(wrap="box")))
    assert "exec srun --ntasks-per-node=1" in said and "exec box python -m vrft_core.job" in said
    assert "--num_machines 2 --num_processes 8" in said and '"$folder" vrft stage rft --cell x' in said


def test_other_stages_are_one_process_however_many_gpus_they_are_given():
    assert "accelerate" not in "\n".join(lines(Resources(gpus=4), "vrft", "stage", "rft_eval", "--cell", "x"))


def test_a_sweeps_trainings_have_the_processes_that_are_asked_for_and_its_evaluations_one(tmp_path):
    todo = {"x-s0": ["rft"], "x-s1": ["sft_eval", "rft"]}
    text = slurm_sweep.script(ROOT, tmp_path / "sweep/1", todo, Resources(gpus=4, nodes=2), Site(wrap="box"))
    assert "#SBATCH --array=0-1" in text and "#SBATCH --gres=gpu:4" in text and "#SBATCH --nodes=2" in text
    assert text.count("run srun --ntasks-per-node=1") == text.count("--num_machines 2 --num_processes 8") == 2
    assert (
        f"  run box python -m vrft_core.job {tmp_path}/sweep/1/x-s1/sft_eval vrft stage sft_eval --cell x-s1\n" in text
    )
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_a_script_runs_the_projects_own_code_whatever_a_sites_careless_setup_does(tmp_path):
    setup = tmp_path / "setup.sh"
    setup.write_text("export LOADED=$NOT_SET_ANYWHERE:yes PYTHONPATH=/site\n")
    head = environment(tmp_path, Site(setup=setup))
    shown = subprocess.run(
        ["bash", "-c", "\n".join([*head, 'echo "$LOADED $PYTHONPATH $-"'])], capture_output=True, text=True, check=True
    ).stdout.split()
    assert shown[:2] == [":yes", f"{tmp_path}:/site"] and "u" in shown[2]


@pytest.mark.parametrize(
    ("state", "phase", "cause"),
    [
        ("PENDING", Phase.WAITING, None),
        ("CONFIGURING", Phase.WAITING, None),
        ("SUSPENDED", Phase.RUNNING, None),
        ("COMPLETING", Phase.RUNNING, None),
        ("COMPLETED", Phase.ENDED, None),
        ("FAILED", Phase.ENDED, Cause.OWN),
        ("OUT_OF_MEMORY", Phase.ENDED, Cause.MEMORY),
        ("TIMEOUT", Phase.ENDED, Cause.TIME),
        ("CANCELLED+", Phase.ENDED, Cause.CANCELLED),
        ("NODE_FAIL", Phase.ENDED, Cause.MACHINE),
        ("PREEMPTED", Phase.ENDED, Cause.MACHINE),
    ],
)
def test_each_state_of_slurm_has_its_meaning(state, phase, cause, tmp_path):
    found = status(JobInfo(state), tmp_path)
    assert (found.phase, found.cause) == (phase, cause)


def test_a_job_that_slurm_will_start_again_says_so_and_one_that_never_can_is_refused(tmp_path):
    again = status(JobInfo("PENDING", "BeginTime", restarts=1), tmp_path)
    assert again.text == "is pending (BeginTime), to start again after 1 start(s)" and again.cause is None
    never = status(JobInfo("PENDING", "PartitionTimeLimit"), tmp_path)
    assert never.text == "will never run (PartitionTimeLimit)" and never.cause is Cause.REFUSED
    assert status(JobInfo("PENDING", "PartitionNodeLimit"), tmp_path).cause is None, "nodes may be down"


@pytest.mark.parametrize(
    "said",
    [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some of the step tasks have been OOM Killed.",
        "slurmstepd-gpu1: error: Exceeded job memory limit",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ],
)
def test_out_of_memory_is_found_in_the_log_where_the_state_does_not_say(said, tmp_path):
    (tmp_path / "log.txt").write_text(f"training\n{said}\n")
    assert status(JobInfo("FAILED", "NonZeroExitCode"), tmp_path).cause is Cause.MEMORY


def test_only_the_machines_fault_is_tried_again():
    for cause in Cause:
        raised = failures.job_failure(cause, "Slurm job 7 ended", ["a", "b"])
        again = isinstance(raised, dg.RetryRequested)
        assert again == (cause is Cause.MACHINE)
        assert again or not raised.allow_retries


def test_slurms_times_and_sizes():
    assert [cpu_seconds(text) for text in ("00:03.500", "01:02:03", "1-00:00:01")] == [3.5, 3723, 86401]
    assert [mebibytes(text) for text in ("", "2048K", "1.5G")] == [0, 2, 1536]


def test_a_job_measures_itself_and_notes_how_it_ended(tmp_path):
    command = [sys.executable, "-m", "vrft_core.job", str(tmp_path), sys.executable, "-c", "raise SystemExit(3)"]
    assert subprocess.run(command, cwd=ROOT).returncode == 3
    start, end = attempts(tmp_path)
    assert start["event"] == "start" and (end["status"], end["warned"]) == (3, None)
    cost = measured(tmp_path, Resources(gpus=2, nodes=2))
    assert cost["starts"] == 1 and cost["cpu_seconds"] > 0 and cost["peak_memory_mb"] > 2
    assert cost["gpu_hours"] == round(end["seconds"] * 4 / 3600, 4)


def test_a_warning_is_passed_on_as_sigterm_and_noted(tmp_path):
    program = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "vrft_core.job", str(tmp_path), sys.executable, "-c", program], cwd=ROOT
    )
    wait((tmp_path / "ready").exists)
    started.send_signal(signal.SIGUSR1)
    assert started.wait(30) == 7
    assert attempts(tmp_path)[-1]["warned"] == "SIGUSR1"


def test_a_warning_that_comes_before_the_command_runs_is_not_lost(tmp_path):
    program = (
        "import os, pathlib, signal, sys\n"
        "from vrft_core import job\n"
        "note = job._note\n"
        "def warned(folder, row):\n"
        "    note(folder, row)\n"
        "    if row['event'] == 'start': os.kill(os.getpid(), signal.SIGUSR1)\n"
        "job._note = warned\n"
        "sys.exit(job.run(pathlib.Path(sys.argv[1]), [sys.executable, '-c', 'import time; time.sleep(60)']))\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, timeout=50).returncode == 143
    assert attempts(tmp_path)[-1]["warned"] == "SIGUSR1"


def test_the_command_itself_does_not_end_by_usr1(tmp_path):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)"
    command = [sys.executable, "-m", "vrft_core.job", str(tmp_path), sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_a_command_that_is_not_there_is_said_and_noted(tmp_path):
    command = [sys.executable, "-m", "vrft_core.job", str(tmp_path), "no-such-program"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 127 and done.stderr == "no-such-program: No such file or directory\n"
    assert attempts(tmp_path)[-1]["status"] == 127


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path):
    path = tmp_path / "log.txt"
    log = GrowingFile(path)
    assert log.lines() == [], "not there yet: storage lags"
    path.write_text("one\ntw")
    assert log.lines() == ["one"]
    os.rename(path, tmp_path / "away")
    assert log.lines() == [], "storage is away"
    os.rename(tmp_path / "away", path)
    with open(path, "a") as file:
        file.write("o\nthree")
    assert log.lines() == ["two"] and log.lines(rest=True) == ["three"]
    (tmp_path / ATTEMPTS).write_text('{"event": "start"}\n{"eve')
    assert attempts(tmp_path) == [{"event": "start"}]


class Handler:
    def __init__(self) -> None:
        self.got: list[str] = []

    def handle_message(self, message: dict) -> None:
        self.got.append(message["method"])


def test_results_count_from_a_jobs_last_start_only(tmp_path):
    first = ["opened", "log", "report_asset_materialization", "closed"]
    second = ["opened", "log", "report_asset_materialization"]
    path, handler = tmp_path / "messages.jsonl", Handler()
    messages = FileMessages(path)
    with messages.read_messages(handler) as told:
        assert told == {"path": str(path)}
        path.write_text("".join(json.dumps({"method": name}) + "\n" for name in first))
        messages.pump()
        assert messages.closed and handler.got == ["opened", "log"]
        with open(path, "a") as file:
            file.writelines(json.dumps({"method": name}) + "\n" for name in second)
        messages.pump()
        assert not messages.closed
    assert handler.got == ["opened", "log", "log", "report_asset_materialization"]


def test_a_torn_line_ends_no_healthy_job(tmp_path):
    torn = b'{"method": "lo\n\0\0\xe2\n7\n'
    path, handler = tmp_path / "messages.jsonl", Handler()
    path.write_bytes(b'{"method": "opened"}\n' + torn + b'{"method": "log"}\n')
    with FileMessages(path).read_messages(handler):
        pass
    assert handler.got == ["opened", "log"]
    (tmp_path / ATTEMPTS).write_bytes(b'{"event": "start"}\n' + torn + b'{"event": "end"}\n')
    assert [row["event"] for row in attempts(tmp_path)] == ["start", "end"]


def test_a_jobs_name_follows_from_project_and_command():
    command = ["vrft", "stage", "rft", "--cell", "lvis-mini-1shot-s0"]
    name = job_name(Path("/a"), command)
    assert name.startswith("vrft-rft-lvis-mini-1shot-s0-") and name == job_name(Path("/a"), command)
    assert name != job_name(Path("/b"), command)
    assert len(job_name(Path("/a"), ["vrft", "stage", "rft", "--cell", "x" * 200])) <= 60


def parsed(text: str) -> Params:
    return Params.parse(text, Path("params.yaml"), settings_models())


def test_resources_are_a_stages_own_over_the_recipes_default_and_a_run_may_ask_for_others():
    text = (ROOT / "params.yaml").read_text()
    own = "    rft: {gpus: 8, time: 2d}\n    default: {partition: gpu, gpus: 1}\n"
    params = parsed(text[: text.index("resources:")] + f"resources:\n  mini:\n{own}")
    found = params.resources_of("mini", "rft")
    assert (found.gpus, found.minutes, found.partition) == (8, 2880, "gpu")
    assert params.resources_of("mini", "sft").gpus == 1
    placed = Placement(resources={"time": "30m", "queue": "night"}).of(found)
    assert (placed.gpus, placed.minutes, placed.queue) == (8, 30, "night")
    with pytest.raises(dg.Failure, match=r"resources\.gpus: Input should be greater than or equal to 0"):
        Placement(resources={"gpus": -1}).of(found)


def test_resources_of_a_stage_or_recipe_that_is_none_are_refused():
    text = (ROOT / "params.yaml").read_text()
    for wrong in ("  mini: {rfft: {gpus: 1}}", "  maxi: {rft: {gpus: 1}}", "  mini: {rft: {memory: 4 GB}}"):
        with pytest.raises(InputError, match=r"resources"):
            parsed(text[: text.index("resources:")] + f"resources:\n{wrong}\n")


class Here:
    """A place that runs a job at once, as a process of this machine, and keeps no accounts."""

    title, every = "Here", 0.1

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault

    def submit(self, job: Job) -> str:
        command = [sys.executable, "-m", "vrft_core.job", str(job.folder), *job.command]
        with open(job.log, "ab") as log:
            self.process = subprocess.Popen(command, cwd=job.root, env={**os.environ, **job.environment}, stdout=log)
        return "1"

    def find(self, name: str) -> list[str]:
        return []

    def look(self, id: str, folder: Path) -> Status:
        if self.process.poll() is None:
            return Status(Phase.RUNNING, "is running")
        return Status(Phase.ENDED, "has ended", Cause.OWN if self.process.returncode else None)

    def cancel(self, id: str, now: bool) -> None:
        self.process.kill()

    def cost(self, id: str, folder: Path, resources: Resources) -> dict:
        if self.fault:
            raise self.fault
        return measured(folder, resources)


def run_here(root: Path, fault: Exception | None = None) -> dg.ExecuteInProcessResult:
    """An asset whose command does nothing; `committed` in its project is made when its result is taken."""
    executor = JobExecutor(root, Here(fault))

    @dg.asset
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        work = Work([sys.executable, "-c", "pass"], commit=(root / "committed").touch)
        return executor.run(context=context, work=work).get_materialize_result()

    return dg.materialize([made], raise_on_error=False)


@pytest.mark.parametrize("fault", [Unreachable("slurmdbd is down"), Refused("there is no program 'sacct' here")])
def test_a_result_is_taken_even_where_nobody_tells_its_cost(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "EVERY", 0.1)
    done = run_here(tmp_path, fault)
    assert done.success and (tmp_path / "committed").exists()
    (event,) = done.get_asset_materialization_events()
    assert event.materialization.metadata["seconds"].value > 0


def test_without_the_program_sacct_there_is_no_accounting(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert SlurmCli().usage("7") == []
    with pytest.raises(Unknown, match="no record of job 7"):
        SlurmCli().remembered("7")


def test_a_job_is_told_where_its_servers_are_and_one_process_not_how_to_launch_several(monkeypatch):
    monkeypatch.setenv("VRFT_VLLM_URL", "http://gpu1:8000")
    monkeypatch.setenv("VRFT_ACCELERATE", "--config_file mine.yaml")
    told = passed_on()
    assert told["VRFT_VLLM_URL"] == "http://gpu1:8000" and "VRFT_ACCELERATE" not in told
    training = ("vrft", "stage", "rft", "--cell", "x")
    one, several = (replace(job(Resources(gpus=gpus), *training), accelerate="--fp8") for gpus in (1, 2))
    assert "VRFT_ACCELERATE" not in script(one, Site())
    assert 'export VRFT_ACCELERATE=--fp8" --num_machines 1 --num_processes 2' in script(several, Site())


def test_an_address_with_a_login_in_it_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org/")
    failed = run_here(tmp_path)
    (event,) = (event for event in failed.all_events if event.is_step_failure)
    assert event.step_failure_data.user_failure_data.description.startswith("MLFLOW_TRACKING_URI: holds a login, which")
    assert not list(tmp_path.iterdir())
    for plain in ("https://mlflow.example.org/a@b", "sqlite:////shared/mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", plain)
        assert passed_on()["MLFLOW_TRACKING_URI"] == plain


def test_a_jobs_folder_is_numbered_after_the_highest_whatever_else_lies_there(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "EVERY", 0.1)
    folder = tmp_path / "runs/jobs" / job_name(tmp_path, [sys.executable, "-c", "pass"])
    (folder / "00007-5f0c1a2b").mkdir(parents=True)
    (folder / "lock-0").touch()
    assert run_here(tmp_path).success
    assert [path.name[:5] for path in sorted(folder.glob("*-*"))] == ["00007", "00008", "lock-"]


def test_a_sweep_takes_a_result_that_is_seen_late_and_names_a_stage_without_one(tmp_path, monkeypatch):
    class Project:
        def __init__(self) -> None:
            self.committed: list[str] = []

        def commit(self, target: str) -> None:
            self.committed.append(target)

    folder, project = tmp_path / "x/rft", Project()

    def storage_shows_it(seconds: float) -> None:
        folder.mkdir(parents=True)
        (folder / ATTEMPTS).write_text('{"event": "start"}\n{"event": "end", "status": 0}\n')

    monkeypatch.setattr(slurm_sweep.time, "sleep", storage_shows_it)
    assert slurm_sweep._commit(project, tmp_path, "x", ["rft"], time.monotonic() + 60) == []
    assert project.committed == ["rft@x"]
    (line,) = slurm_sweep._commit(project, tmp_path, "x", ["sft"], time.monotonic())
    assert line.startswith("sft of x did not end well") and project.committed == ["rft@x"]


def test_a_sweep_whose_slurm_does_not_answer_ends_with_one_line(monkeypatch, capsys):
    def sweep(root: Path, study: str) -> list[str]:
        raise Unreachable("Unable to contact slurm controller")

    monkeypatch.setattr(slurm_sweep, "sweep", sweep)
    assert slurm_sweep.main("lvis-mini-1shot") == 1
    assert capsys.readouterr().err.startswith("Slurm does not answer: Unable to contact slurm controller; ")


def test_the_apptainer_image_has_the_files_that_its_build_needs():
    lines = (ROOT / "deploy/slurm/vrft.def").read_text().splitlines()
    copied = {
        line.split()[0] for line in lines if line.startswith("    ") and line.split()[-1].startswith("/opt/vrft/")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    setup = {"Makefile", "pyproject.toml", "requirements.lock", "deploy"}
    assert copied == setup | packages | {project["project"]["readme"]}
