"""Servers end with the command that has started them, however it ends, and so does what they have started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import leftovers

ROOT = Path(__file__).parents[1]
SERVER = "trap '' INT TERM; sleep 600 & echo $! > grandchild; echo $$ > child; wait; sleep 600"
COMMAND = """
import os, sys, time
from pathlib import Path
from pipelines import children
children.SECONDS_TO_STOP = 0.5
here = Path.cwd()
children.start("server", ["sh", "-c", sys.argv[1]], here, here, os.environ)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait(for_what) -> object:
    deadline = time.monotonic() + 120
    while not (found := for_what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_server_that_heeds_no_request_and_its_own_children_end_after_the_command_is_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = subprocess.Popen([sys.executable, "-c", COMMAND, SERVER], cwd=tmp_path, env=environment)
    wait(lambda: (tmp_path / "child").is_file() and (tmp_path / "child").read_text().strip())
    server, started = (int((tmp_path / name).read_text()) for name in ("child", "grandchild"))
    assert lives(server) and lives(started)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    wait(lambda: not lives(server) and not lives(started))


def test_a_group_that_has_ended_is_left_alone_since_its_number_may_be_given_again():
    assert leftovers.read(["+12\n", "+34\n", "-12\n", "+56\n"]) == {34, 56}
