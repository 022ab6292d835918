"""The command line itself: help, exit statuses, options with several values, completion. No command's own work."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from vrft_core import cli
from vrft_core.cli import app, main

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "pydantic", "numpy", "PIL", "yaml", "mlflow", "dvc", "dagster")


@pytest.fixture
def project(tmp_path) -> list[str]:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return ["--root", str(tmp_path)]


def test_help_lists_every_command_under_its_section_in_a_whole_line(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for title, commands in app.vrft.sections.items():
        assert commands and f"\n{title}:\n" in said
        for command in commands:
            summary = (command.help or "").split("\n")[0].removesuffix(".")
            assert summary and summary.split(".")[0] in said, f"{command.name}: its first sentence is too long"
    assert {name for one in app.vrft.sections.values() for command in one if (name := command.name)} == set(
        app.vrft.commands
    )
    for status in ("0 ", "1 ", "2 ", "130 "):
        assert f"\n    {status}" in said


@pytest.mark.parametrize("command", sorted(app.vrft.commands))
def test_every_command_has_help_for_itself_and_its_options(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"Usage: vrft {command}" in capsys.readouterr().out
    options = [one for one in app.vrft.commands[command].params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []


def test_help_imports_nothing_heavy():
    code = f"""
import sys
from vrft_core.cli import main
main(["--help"])
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plam"], "No such command 'plam'. Did you mean 'plan'?; see `vrft --help`"),
        (["run"], "Missing argument 'CELL'; see `vrft run --help`"),
        (["export", "lvis-mini-1shot-s0", "out", "--methods", "sft"], "--method"),
        (["export", "lvis-mini-1shot-s0", "out", "--method", "base"], "'base' is not one of 'sft', 'rft'"),
        (["init", "my-data"], "my-data: no such folder; give the folder that holds images and labels"),
        (["init", str(ROOT / "README.md")], "README.md: is a file; give the folder that holds images and labels"),
        (["show", "lvis-embeded"], "grid has no cell 'lvis-embeded'; is it lvis-embedded or"),
        (["score", "log.jsonl"], "Missing option '--task'"),
        (["stage", "train", "--cell", "lvis-mini-1shot-s0"], "no stage 'train'; known: raw, few_shot"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_2(words, said, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert line.startswith("vrft: ") and said in line and not out


def test_without_a_command_the_help_is_shown_and_the_status_is_2(capsys):
    assert main([]) == 2
    assert "Experiments:" in capsys.readouterr().err


def test_an_unknown_cell_is_told_the_closest_ones_and_what_there_is(project, capsys):
    assert main([*project, "run", "lvis-mini-2shot-s0"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "no cell 'lvis-mini-2shot-s0'; is it lvis-mini-1shot-s0" in line and "phrases-mini-4shot-s2" in line


@pytest.mark.parametrize(
    ("key", "said"), [("mini", "mini: is a recipe, not a cell"), ("lvis-mini", "lvis-mini: is a setup, not a cell")]
)
def test_a_recipe_is_no_cell_and_its_cells_are_listed(project, capsys, key, said):
    assert main([*project, "predict", "--cell", key, "--output", "out.jsonl"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line and "its cells: " in line and "lvis-mini-1shot-s0, lvis-mini-1shot-s1" in line


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["--seeds", "1", "2", "--name", "x"], (1, 2)),
        (["--seeds", "1", "--seeds", "2"], (1, 2)),
        (["--seeds=1", "--name", "2"], (1,)),
        (["--name", "x", "--seeds", "3"], (3,)),
        ([], (0,)),
    ],
)
def test_an_option_may_take_several_values(words, values):
    seeds, name = app.Several(["--seeds"], type=int, default=(0,)), click.Option(["--name"])
    command = app.Command("x", params=[seeds, name], callback=lambda seeds, name: seeds)
    assert command.main(words, standalone_mode=False) == values


def test_values_after_two_hyphens_belong_to_no_option():
    names, rest = app.Several(["--names"]), click.Argument(["rest"], nargs=-1)
    command = app.Command("x", params=[names, rest], callback=lambda names, rest: (names, rest))
    assert command.main(["--names", "a", "b", "--", "c"], standalone_mode=False) == (("a", "b"), ("c",))


def test_an_interrupt_is_one_line_and_exit_status_130(project, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vrft_core.commands.run.run", interrupted)
    assert main([*project, "run", "lvis-mini-1shot-s0"]) == 130
    assert capsys.readouterr().err.split("\n")[-2] == (
        "vrft: interrupted; finished work is kept. Run the same command again to resume"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_vrft(shell, capsys):
    assert main(["completion", shell]) == 0
    assert f"_VRFT_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("vrft ru", ["run"]),
        ("vrft run lvis-mini-1shot", [*(f"lvis-mini-1shot-s{seed}" for seed in range(3)), "lvis-mini-1shot"]),
        ("vrft stage rft", ["rft", "rft_eval"]),
        ("vrft predict --meth", ["--method"]),
        ("vrft add ico", ["icons"]),
        ("vrft add icons --recipe mini", ["mini", "mini-no-thinking", "mini-native"]),
    ],
)
def test_the_shell_completes_commands_options_stages_and_cells(words, offered):
    asked = {"_VRFT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    command = [sys.executable, "-m", "vrft_core.cli"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offered


def test_a_cell_may_be_named_with_or_without_the_option(capsys):
    assert main(["--root", str(ROOT), "plan", "lvis-mini-1shot-s0"]) == 0
    said = capsys.readouterr().out
    for words in (["--cell", "lvis-mini-1shot-s0"], ["--cell=lvis-mini-1shot-s0"]):
        assert main(["--root", str(ROOT), "plan", *words]) == 0
        assert capsys.readouterr().out == said


def test_numbers_are_printed_as_json_for_programs_alone(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    answer = "<think>x</think><answer>cat</answer>"
    log.write_text(json.dumps({"completion": answer, "solution": answer}))
    asked = ["evaluate", "--rules", "classification", "--answers", str(log)]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["queries"] == 1
    assert main(asked) == 0
    assert "{" not in capsys.readouterr().out


def test_the_script_and_the_module_are_one():
    from vrft_core.cli import __main__

    assert __main__.main is cli.main


def test_who_waits_for_a_lock_is_told_the_module_that_was_started(tmp_path):
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker/__init__.py").touch()
    (tmp_path / "worker/__main__.py").write_text("from vrft_core import locks; print(locks.command_line())")
    command, path = [sys.executable, "-m", "worker", "stage", "raw"], f"{tmp_path}:{ROOT}"
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout == "worker stage raw\n"
