"""Steps of one run at the same time: which do, which do not, and what a failure or an interruption of one means."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines import definitions
from pipelines.dvc_assets import GPU_POOL, HERE, PLACE
from pipelines.executors import gpu_executor, room
from pipelines.executors.work import Work
from pipelines.step_threads import step_threads
from vrft_core import machine
from vrft_core.commands import telling
from vrft_core.locks import some_of

ROOT = Path(__file__).parents[1]
# `meet OWN OTHER SECONDS`: is there, waits for the other, notes whether it came, and leaves when both know
MEET = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:3])
until = time.monotonic() + float(sys.argv[3])
own.touch()
while not (met := other.exists()) and time.monotonic() < until:
    time.sleep(0.02)
own.with_suffix(".met").write_text(str(met))
while met and not other.with_suffix(".met").exists():
    time.sleep(0.02)
own.unlink()
"""
LONG = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1] + ".tmp").write_text(str(os.getpid()))
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(600)
"""
FAIL = "import sys; sys.exit('cannot')"
Program = tuple[str, ...]  # a Python program and its arguments


@pytest.fixture
def two_cpus(monkeypatch):
    monkeypatch.setattr(machine, "cpus", lambda: 2)
    monkeypatch.setattr(machine, "has_gpu", lambda: False)


def job(root: str, programs: dict[str, Program], needs: dict[str, str], places: int) -> dg.JobDefinition:
    """One asset a program, run as a GPU stage with one thread; `needs`: asset → the one it needs."""

    def asset(name: str, program: Program) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=[needs[name]] if name in needs else [], op_tags={PLACE: GPU_POOL})
        def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            work = Work([sys.executable, "-c", *program], threads=1)
            return gpu_executor(Path(root)).run(context=context, work=work).get_materialize_result()

        return made

    assets = [asset(name, program) for name, program in programs.items()]
    jobs = [dg.define_asset_job("all", assets)]
    return dg.Definitions(assets=assets, jobs=jobs, executor=step_threads(places)).resolve_job_def("all")


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as one:
        yield one


@pytest.fixture
def run(tmp_path, instance) -> Callable[..., dg.JobExecutionResult]:
    def run(
        programs: dict[str, Program], needs: dict[str, str] | None = None, places: int = 2
    ) -> dg.JobExecutionResult:
        of = {"root": str(tmp_path), "programs": programs, "needs": needs or {}, "places": places}
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        made = dg.build_reconstructable_job(__name__, "job", reconstructable_kwargs=of)
        return dg.execute_job(made, instance, run_config=quiet)

    return run


def meeting(root: Path, seconds: int) -> dict[str, Program]:
    a, b = str(root / "a"), str(root / "b")
    return {"a": (MEET, a, b, str(seconds)), "b": (MEET, b, a, str(seconds))}


def met(root: Path) -> list[str]:
    return [(root / f"{name}.met").read_text() for name in "ab"]


def steps(result: dg.JobExecutionResult, kind: Callable[[dg.DagsterEvent], bool]) -> list[str | None]:
    return [event.step_key for event in result.all_events if kind(event)]


def wait(for_what: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not for_what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_steps_that_do_not_need_each_other_run_at_the_same_time(tmp_path, run, two_cpus):
    assert run(meeting(tmp_path, 120)).success
    assert met(tmp_path) == ["True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize("places", [1, 2], ids=["one step of a run", "one command of the machine"])
def test_with_a_gpu_stages_on_it_go_one_at_a_time(tmp_path, run, two_cpus, monkeypatch, places):
    """`places` 2: as from two runs, which know nothing of each other."""
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    assert run(meeting(tmp_path, 1), places=places).success
    assert met(tmp_path) == ["False", "False"]


@pytest.mark.slow
def test_a_step_that_needs_another_comes_after_it(tmp_path, run, two_cpus):
    assert run(meeting(tmp_path, 0), needs={"b": "a"}).success
    assert met(tmp_path) == ["False", "False"]


@pytest.mark.slow
def test_a_failed_step_stops_those_that_need_it_and_no_others(tmp_path, run, two_cpus):
    note = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
    programs = {"a": (FAIL,), "b": (note, str(tmp_path / "b")), "c": (note, str(tmp_path / "c"))}
    result = run(programs | {"d": (note, str(tmp_path / "d"))}, needs={"c": "a", "d": "b"})
    assert not result.success
    assert steps(result, lambda event: event.is_step_failure) == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["b", "d"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_an_interruption_ends_every_command_and_the_run(tmp_path, run, two_cpus):
    both = [tmp_path / "a", tmp_path / "b"]

    def interrupt() -> None:
        wait(lambda: all(path.exists() for path in both))
        os.kill(os.getpid(), signal.SIGINT)  # what Dagster's run worker gets when its run is cancelled

    threading.Thread(target=interrupt, daemon=True).start()
    programs = {path.name: (LONG, str(path)) for path in both} | {"c": (FAIL,)}
    result = run(programs, needs={"c": "a"})
    assert not result.success
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    assert [error and error.cls_name for error in errors] == ["DagsterExecutionInterruptedError"] * 2
    assert not any(Path(f"/proc/{path.read_text()}").exists() for path in both)
    assert not [thread for thread in threading.enumerate() if thread.name in ("a", "b", "c")]


def test_a_stage_takes_as_many_parts_of_a_machine_as_its_threads_and_its_memory_need(two_cpus, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 8 * 2**30)
    assert [room.needed(threads, 2048) for threads in (1, 2, 8, None)] == [1, 2, 2, 2]
    assert [room.needed(1, megabytes) for megabytes in (4096, 5000, 9000)] == [1, 2, 2]
    assert len(room.parts(Path("gpu.lock"))) == 2
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    assert [room.needed(1, 2048), len(room.parts(Path("gpu.lock")))] == [1, 1]


def test_who_needs_all_waits_for_each_and_lets_none_pass_meanwhile(tmp_path, two_cpus, capfd):
    parts, entered = room.parts(tmp_path / "gpu.lock"), []

    def enter(count: int, name: str) -> threading.Thread:
        def hold() -> None:
            with some_of(parts, count, name):
                entered.append(name)

        thread = threading.Thread(target=hold)
        thread.start()
        wait(lambda: f"{name}: waiting for process" in capfd.readouterr().err)
        return thread

    with some_of(parts, 1, "it") as one, some_of(parts, 1, "it") as other:
        assert [Path(lock.file.name).name for lock in (*one, *other)] == ["gpu.lock", "gpu.1.lock"]
        whole = enter(2, "whole")
    whole.join(60)
    with some_of(parts, 1, "it"):
        threads = [enter(2, "whole"), enter(1, "small")]  # the other part is free, and kept for the first
        assert entered == ["whole"]
    for thread in threads:
        thread.join(60)
    assert entered == ["whole", "whole", "small"]


@pytest.mark.parametrize(("hidden", "there"), [("", False), ("-1", False), ("0", True), (None, True)])
def test_a_gpu_that_is_hidden_is_none(tmp_path, monkeypatch, hidden, there):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert machine.has_gpu() is there
    (tmp_path / "nvidia0").rename(tmp_path / "nvidiactl")
    assert not machine.has_gpu()


@pytest.mark.slow
def test_of_the_stages_of_a_cell_data_go_first_and_then_what_takes_longest():
    job = definitions.cell_job(str(ROOT), "lvis")
    tags = {node.name.removeprefix("lvis_"): node.tags for node in job.nodes}
    order = sorted(tags, key=lambda name: -int(tags[name]["dagster/priority"]))
    assert order.index("raw") < order.index("rft_model") < order.index("sft_model")
    assert {name for name in tags if tags[name][PLACE] == HERE} >= {"raw", "few_shot", "prompts", "report"}


def test_the_time_ahead_is_that_of_the_longest_chain_or_of_all_shared_out():
    names = ["policy", "raw", "rft", "sft", "rft_eval", "sft_eval", "report"]
    seconds = [400.0, 10.0, 130.0, 60.0, 25.0, 25.0, 10.0]
    assert telling._span(names, seconds, 1) == 660
    assert telling._span(names, seconds, 2) == 400 + 130 + 25 + 10
    assert telling._span(["rft", "sft", "base_eval"], [50.0, 40.0, 30.0], 2) == 60
