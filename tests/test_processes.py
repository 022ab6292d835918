"""One training over several processes: the same numbers as in one, groups whole, and one process that writes."""

import json
import os
import shutil
from pathlib import Path

import pytest
from own_processes import ended, free_port, in_own_process
from safetensors.torch import load_file
from small_policy import drawn_by_question, small_recipe, taught_policy
from small_project import CELL, edit_params, run, small_project

from vrft_core import cli
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.training import rft
from vrft_core.training.loop import batches
from vrft_core.training.record import ROLLOUTS

WHERE = Cell("mini", "lvis", 1, 0)


def _stage(root: Path, method: str, rank: int, count: int, port: int) -> None:
    """`vrft stage` as one of `count` processes, told who it is as torchrun tells."""
    if count > 1:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in told.items()} | {"MASTER_ADDR": "127.0.0.1"}
    rft.GrpoTrainer._generate_single_turn = drawn_by_question
    whole = rft.GrpoTrainer._generate_and_score_completions

    def watched(self, inputs):
        ids = [row["id"] for row in inputs]
        assert len(ids) == self.args.generation_batch_size // count
        assert all(len(set(ids[i : i + 4])) == 1 for i in range(0, len(ids), 4)), "groups"
        return whole(self, inputs)

    dealt = rft.GrpoTrainer._prepare_inputs

    def looked_at(self, batch):
        inputs = dealt(self, batch)
        prompts = inputs["prompts"]
        assert len({prompt.key for prompt in prompts}) == max(len(prompts) // 4, 1), "no more groups than it must hold"
        return inputs

    rft.GrpoTrainer._generate_and_score_completions = watched
    rft.GrpoTrainer._prepare_inputs = looked_at
    raise SystemExit(cli.main(["--root", str(root), "stage", method, "--cell", CELL]))


def stage(root: Path, method: str, count: int) -> list[int | None]:
    """The exit codes of as many processes that train together."""
    port = free_port()
    return ended(*[in_own_process(_stage, root, method, rank, count, port) for rank in range(count)])


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> dict[int, Layout]:
    """Number of processes → a project of four examples, ready to train."""
    made = {}
    for count in (1, 2):
        root = small_project(tmp_path_factory.mktemp("processes") / str(count))
        recipe = small_recipe()
        content = recipe.model_dump(mode="json")
        content["sft"]["batch_size"] = 4
        edit_params(root, lambda params, content=content: params["recipes"].update(mini=content))
        made[count] = layout = Layout(root)
        taught_policy(layout.policy(WHERE), layout.prompts(WHERE), ("cat", "hog", "tiger", "cat"))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "rft"])
def test_two_processes_learn_what_one_learns(method, projects):
    assert stage(projects[1].root, method, 1) == [0]
    if method == "sft":  # by the launcher itself, as any door would start it
        launcher = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --main_process_port 0"
        run("vrft", "stage", "sft", "--cell", CELL, cwd=projects[2].root, VRFT_ACCELERATE=launcher)
    else:
        assert stage(projects[2].root, method, 2) == [0, 0]
    one, two = (json.loads(layout.training(WHERE, method).read_text()) for layout in projects.values())

    assert [row["step"] for row in two["log"]] == [1, 2, 3, 4]
    clocks = ("step_time", "epoch")
    for mine, other in zip(one["log"], two["log"], strict=True):
        assert {k: v for k, v in other.items() if k not in clocks} == pytest.approx(
            {k: v for k, v in mine.items() if k not in clocks}, rel=1e-4, abs=1e-6
        )
    assert [row["score"] for row in two["validation"]] == pytest.approx([row["score"] for row in one["validation"]])
    for name in ("completions", "images", "tokens"):
        assert two["cost"][name] == one["cost"][name]
    first, second = (load_file(p.model(WHERE, method) / "adapter_model.safetensors") for p in projects.values())
    assert any(value.any() for name, value in first.items() if "lora_B" in name)
    for name, value in first.items():
        assert second[name].numpy() == pytest.approx(value.numpy(), abs=1e-6), name
    if method == "rft":
        lines = [(layout.runs(WHERE, method) / ROLLOUTS).read_text().splitlines() for layout in projects.values()]
        assert [_same(row) for row in lines[0]] == [_same(row) for row in lines[1]]


@pytest.mark.slow
def test_groups_larger_than_what_a_process_computes_at_once_are_not_mixed(projects, tmp_path):
    copied = {
        count: shutil.copytree(layout.root, tmp_path / str(count), symlinks=True) for count, layout in projects.items()
    }
    projects = {count: Layout(root) for count, root in copied.items()}
    for layout in projects.values():
        halves = {"batch_size": 16, "micro_batch_size": 2}  # two groups of 4 for each of two processes
        edit_params(layout.root, lambda params, halves=halves: params["recipes"]["mini"]["rft"].update(halves))
    assert stage(projects[1].root, "rft", 1) == [0]
    assert stage(projects[2].root, "rft", 2) == [0, 0]

    one, two = (json.loads(layout.training(WHERE, "rft").read_text()) for layout in projects.values())
    for name in ("loss", "reward", "grad_norm"):
        mine, other = ([row[name] for row in record["log"]] for record in (one, two))
        assert other == pytest.approx(mine, rel=1e-4, abs=1e-6)
    first, second = (load_file(p.model(WHERE, "rft") / "adapter_model.safetensors") for p in projects.values())
    for name, value in first.items():
        assert second[name].numpy() == pytest.approx(value.numpy(), abs=1e-6), name


def _same(line: str) -> tuple:
    row = json.loads(line)
    return row["step"], row["id"], row["completion"], row["rewards"], round(row["advantage"], 4)


def test_what_cannot_be_shared_out_evenly_is_refused():
    settings = small_recipe().rft
    assert batches(settings, 100) == {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    small = settings.model_copy(update={"micro_batch_size": 2})
    assert batches(small, 100) == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    with pytest.raises(InputError, match="8 rows cannot be divided over 1 processes in groups of 3"):
        batches(settings, 100, unit=3)
    with pytest.raises(InputError, match="micro_batch_size 3 does not divide"):
        batches(settings.model_copy(update={"micro_batch_size": 3}), 100)
