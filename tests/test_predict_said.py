"""What `vrft predict` says on the terminal: of boxes that were not drawn, and of files that do not exist."""

import subprocess
import sys

import pytest
from small_project import CELL, ROOT

from vrft_core.cli.models import _drawn, predict, presence
from vrft_core.commands.predict import _found
from vrft_core.errors import InputError


@pytest.mark.parametrize(
    ("boxes", "marks", "said"),
    [
        (0, 0, "nothing found, nothing drawn on the copy:"),
        (1, 1, "1 box drawn, of answers to"),
        (2, 2, "2 boxes drawn, of answers to"),
        (0, 1, "1 answer without a box drawn, of answers to"),
        (3, 5, "3 boxes and 2 answers without a box drawn, of answers to"),
    ],
)
def test_it_says_what_was_drawn(boxes, marks, said):
    assert _drawn({"boxes": boxes, "marks": marks}) == said


def test_a_file_that_does_not_exist_is_said_before_anything_is_imported():
    program = "import sys; from vrft_core.cli import main\nstatus = main(sys.argv[1:])\n"
    program += "print('torch' in sys.modules, 'vrft_core.params' in sys.modules); sys.exit(status)\n"
    command = [sys.executable, "-c", program, "--root", str(ROOT), "predict", CELL, "nofile.jpg", "cat"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "False False\n")
    assert done.stderr == "vrft: nofile.jpg: no such file or folder; check the path\n"


def test_a_file_that_is_no_image_is_left_to_its_owner(tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text("{}")
    with pytest.raises(InputError, match="has no known format") as refused:
        _found(labels)
    assert refused.value.remedy == "name images that can be opened"


@pytest.mark.parametrize(("command", "method"), [(predict, "rft"), (presence, "base")])
def test_the_help_names_the_method_that_is_asked_by_default(command, method):
    (option,) = [one for one in command.params if one.name == "method"]
    assert option.help.endswith(f"Default: {method}.")
