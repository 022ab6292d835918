import os
import subprocess
import sys
import threading
import time

import pytest

from vrft_core.pauses import answer, end_by, pause

SILENT = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


class Ended(BaseException):
    pass


def test_a_pause_is_ended_from_another_thread_once_each_time_it_is_told():
    told, raised, cleaned = threading.Event(), [], threading.Event()

    def wait() -> None:
        end_by(told, Ended)
        for _ in range(2):
            try:
                pause(600)
            except Ended:
                raised.append(time.monotonic())
                pause(0.001)  # cleaning up is not ended by what began it
                cleaned.set()

    thread = threading.Thread(target=wait, daemon=True)
    told.set()  # before it pauses: not lost
    thread.start()
    assert cleaned.wait(60) and len(raised) == 1
    told.set()
    thread.join(60)
    assert len(raised) == 2 and not thread.is_alive()


def test_elsewhere_it_is_a_sleep():
    began = time.monotonic()
    pause(0.01)
    assert time.monotonic() - began >= 0.01


def test_a_command_that_answers_gives_what_it_said():
    program = "import sys, time; text = sys.stdin.read(); time.sleep(0.5); print(text); sys.exit(text or 3)"
    done = answer([sys.executable, "-c", program], 60, b"a" * 2**20)
    assert (done.returncode, len(done.stdout), len(done.stderr)) == (1, 2**20 + 1, 2**20 + 1)
    assert answer([sys.executable, "-c", program], 60).returncode == 3


def test_a_command_that_does_not_answer_is_killed_at_an_interruption_or_in_the_end(tmp_path):
    told, pid = threading.Event(), tmp_path / "pid"
    command, raised = [sys.executable, "-c", SILENT, str(pid)], threading.Event()

    def ask() -> None:
        end_by(told, Ended)
        try:
            answer(command, 600)
        except Ended:
            raised.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    told.set()
    assert raised.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    with pytest.raises(subprocess.TimeoutExpired):
        answer(command, 0)
