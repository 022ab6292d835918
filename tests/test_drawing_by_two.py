"""Pre-training scenes drawn by two processes: they are those that one draws, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from vrft_core import machine
from vrft_core.sources.scenes import many
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]
BENCHMARKS = load_params(ROOT / "params.yaml").benchmarks
COUNT = 30
ALONE = many.scene
PROGRAM = """
import itertools, sys, time
from pathlib import Path
from vrft_core.sources.scenes import many
from vrft_core.tasks import load_params
many.machine.cpus = lambda: 2
scenes = many.draw(load_params(Path("params.yaml")).benchmarks["icons"].embedded, 10**6, "scenes")
while next(scenes)[0] < 10**5:
    pass
print("two", flush=True)
time.sleep(600)
"""


def wait(for_what: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not for_what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def drawers(parent: int) -> list[int]:
    """Second processes of a process that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z" and many.__name__.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def scenes_of(name: str):
    settings = BENCHMARKS[name].embedded
    assert settings
    return settings


@pytest.fixture
def at_third(monkeypatch):
    """at_third(do) → this process does that before it draws its third scene, and the second process is at work then."""
    queues = []

    class Queue(SimpleQueue):
        def __init__(self):
            queues.append(self)

    def at_third(do: Callable[[], object]) -> None:
        def scene(settings, number: int):
            if number == 2:
                wait(lambda: not queues[0].empty())
                do()
            return drawn(settings, number)

        drawn = many.scene
        monkeypatch.setattr(many, "scene", scene)

    monkeypatch.setattr(many, "SimpleQueue", Queue)
    monkeypatch.setattr(many, "WORTH", 1)
    monkeypatch.setattr(machine, "cpus", lambda: 2)
    return at_third


@pytest.mark.parametrize("name", ["lvis", "phrases", "icons"])
def test_two_draw_what_one_draws(name, at_third):
    settings = scenes_of(name)
    at_third(lambda: None)
    found = list(many.draw(settings, COUNT, name))
    numbers = [number for number, _ in found]
    assert sorted(numbers) == list(range(COUNT))
    assert numbers[3] == COUNT - 1, "the last one was drawn by the second process"
    for number, drawn in found:
        alone = ALONE(settings, number)
        assert np.array_equal(drawn.image, alone.image)
        assert [(o.category, o.box) for o in drawn.objects] == [(o.category, o.box) for o in alone.objects]
        assert all(np.array_equal(a.mask, b.mask) for a, b in zip(drawn.objects, alone.objects, strict=True))
        assert getattr(drawn, "expressions", None) == getattr(alone, "expressions", None)
    assert drawers(os.getpid()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_when_the_second_is_killed_the_first_draws_the_rest(at_third):
    def kill() -> None:
        [pid] = drawers(os.getpid())
        os.kill(pid, signal.SIGKILL)
        wait(lambda: not drawers(os.getpid()))

    at_third(kill)
    assert sorted(number for number, _ in many.draw(scenes_of("icons"), 400, "icons")) == list(range(400))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_who_stops_drawing_ends_the_second(at_third):
    at_third(lambda: None)
    scenes = many.draw(scenes_of("icons"), 10**6, "icons")
    assert [next(scenes)[0] for _ in range(4)] == [0, 1, 2, 10**6 - 1]
    assert len(drawers(os.getpid())) == 1
    scenes.close()
    assert drawers(os.getpid()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_ends_takes_its_second_along(number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == b"two\n"
        [second] = drawers(process.pid)
        process.send_signal(number)
        assert process.wait(60) != 0
        wait(lambda: not Path(f"/proc/{second}").exists())
    finally:
        process.kill()
        process.wait()


def test_few_scenes_are_drawn_by_one(monkeypatch):
    monkeypatch.setattr(machine, "cpus", lambda: 2)
    scenes = many.draw(scenes_of("icons"), many.WORTH - 1, "icons")
    assert next(scenes)[0] == 0
    assert drawers(os.getpid()) == []
    scenes.close()
