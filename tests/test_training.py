"""SFT and GRPO: what is learned from, what is written down, and that an interruption leaves no trace."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vrft_core import policy, rewards
from vrft_core.errors import InputError
from vrft_core.params import Adapter, Params, Recipe
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.prompts import answer, frame, question, thought
from vrft_core.runs import open_run
from vrft_core.training import rft, sft
from vrft_core.training.callbacks import Guard, best_step, untouched_randomness
from vrft_core.training.checkpoints import complete_checkpoints, write_marker
from vrft_core.training.loop import count_parameters, keep, train
from vrft_core.training.record import Record

MAKERS = {"sft": sft.make_trainer, "rft": rft.make_trainer}
BOXES = {"cat": [[10, 10, 50, 60]], "hog": [[40, 30, 100, 100]], "tiger": [[5, 5, 30, 40], [60, 50, 110, 90]]}
STEPS = 4


def small_recipe(adapter: bool = True) -> Recipe:
    recipe = Params.load(Path(__file__).parents[1] / "params.yaml").recipes["mini"]
    changes = {"steps": STEPS, "save_steps": 2, "warmup_steps": 1, "learning_rate": 1e-2}
    names = r".*language_model.*\.(q_proj|v_proj)"
    update = {
        "threads": 1,
        "adapter": Adapter(r=2, alpha=4, target_modules=names) if adapter else None,
        "sft": recipe.sft.model_copy(update={**changes, "batch_size": 2}),
        "rft": recipe.rft.model_copy(
            update={**changes, "batch_size": 8, "num_generations": 4, "max_completion_length": 24}
        ),
        "evaluation": recipe.evaluation.model_copy(update={"max_new_tokens": 24, "batch_size": 4}),
    }
    return recipe.model_copy(update=update)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A policy that has just learned to answer in sentences, and one example for each of three categories."""
    root = tmp_path_factory.mktemp("project")
    recipe = small_recipe()
    examples = [example(recipe, name, number) for number, name in enumerate(BOXES, 1)]
    for split in ("train", "val"):
        write_examples(root / "prompts" / split, examples)
    tokenizer = build_tokenizer(list(BOXES), 20, "qwen3-vl")
    processor = build_processor(tokenizer, PATCH_SIZE, 784, 12544)
    torch.set_num_threads(1)
    model = build_model(
        tokenizer, 0, hidden_size=32, layers=1, heads=2, vision_size=24, vision_layers=1, vision_heads=2
    )
    teach(model, processor, examples)
    (root / "models/mini/policy").mkdir(parents=True)
    policy.save(root / "models/mini/policy", model, processor)
    return root


def example(recipe: Recipe, category: str, number: int) -> dict:
    pixels = np.random.default_rng(number).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    where = frame(recipe.policy, 112, 112)
    boxes = BOXES[category]
    text = answer([where.to_answer(box) for box in boxes], [1.0] * len(boxes), thought(category, len(boxes)))
    return {
        "example_id": f"{number}-{number + 100}",
        "image": Image.fromarray(pixels),
        "width": 112,
        "height": 112,
        "category": category,
        "question": question(category, thinking=True, family="qwen3-vl"),
        "answer": text,
        "boxes": json.dumps([where.scale(box) for box in boxes]),
    }


def write_examples(directory: Path, examples: list[dict]) -> None:
    from datasets import Dataset

    directory.mkdir(parents=True)
    Dataset.from_list(examples).to_parquet(directory / "data.parquet")


def teach(model, processor, examples: list[dict]) -> None:
    """Some steps of plain supervised learning: enough for the right form, not for the right boxes."""
    turns = [
        [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": row["question"]}]},
            {"role": "assistant", "content": row["answer"]},
        ]
        for row in examples
    ]
    texts = [processor.apply_chat_template(turn) for turn in turns]
    batch = processor(text=texts, images=[[row["image"]] for row in examples], padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def run_training(root: Path, run: Path, method: str, recipe: Recipe, log=lambda step, numbers: None) -> Record:
    return train(
        MAKERS[method](recipe, run, 7),
        getattr(recipe, method),
        recipe,
        policy=root / "models/mini/policy",
        prompts=root / "prompts",
        run=run,
        seed=7,
        what=method,
        log=log,
    )


def _train_and_keep(
    root: Path, run: Path, method: str, kill_at: tuple[int, str] | None, how: int = signal.SIGKILL
) -> None:
    """In a process of its own; kills itself when it is about to log `kill_at` = (step, name of a number)."""

    def log(step: int, numbers: dict) -> None:
        if kill_at and step == kill_at[0] and kill_at[1] in numbers:
            os.kill(os.getpid(), how)

    record = run_training(root, run, method, small_recipe(), log)
    keep(run, record, "last", root / "models/mini/policy", run / "kept")


@pytest.fixture(scope="module")
def in_own_process():
    """Call `_train_and_keep` in a fresh process that has the libraries loaded; returns its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vrft_core.training.rft", "vrft_core.training.sft", "peft"])

    def call(*arguments) -> int:
        process = context.Process(target=_train_and_keep, args=arguments)
        process.start()
        process.join(timeout=300)
        return process.exitcode

    return call


@pytest.mark.parametrize("method", ["sft", "rft"])
def test_killed_twice_it_ends_in_the_very_bytes_of_an_uninterrupted_run(method, project, tmp_path, in_own_process):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_own_process(project, whole, method, None) == 0

    killed = -signal.SIGKILL
    assert in_own_process(project, broken, method, (2, "validation/coco/AP")) == killed  # while sealing checkpoint 2
    assert complete_checkpoints(broken) == []
    assert in_own_process(project, broken, method, (3, "loss")) == killed  # one step after it
    assert [step for step, *_ in complete_checkpoints(broken)] == [2]
    assert in_own_process(project, broken, method, None) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    first, last = (policy.loading.is_adapter(run / "kept") for run in (whole, broken))
    assert first and last
    marker = {run: complete_checkpoints(run)[-1][2] for run in (whole, broken)}
    assert marker[broken]["validation"] == marker[whole]["validation"]
    assert [row["step"] for row in marker[broken]["log"]] == [1, 2, 3, 4]
    assert [row["loss"] for row in marker[broken]["log"]] == [row["loss"] for row in marker[whole]["log"]]
    for name in ("completions", "tokens", "images"):
        assert marker[broken]["cost"][name] == marker[whole]["cost"][name]
    if method == "rft":
        assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()


@pytest.mark.parametrize("method", ["sft", "rft"])
def test_told_to_end_it_seals_a_checkpoint_after_the_step_at_hand_and_goes_on_from_there(
    method, project, tmp_path, in_own_process
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_own_process(project, whole, method, None) == 0

    told = -signal.SIGTERM
    assert in_own_process(project, broken, method, (1, "loss"), signal.SIGTERM) == told
    ((step, _, sealed),) = complete_checkpoints(broken)  # where one was due: no time for its validation
    assert step == 2 and [row["step"] for row in sealed["validation"]] == [0]
    assert in_own_process(project, broken, method, (2, "validation/coco/AP"), signal.SIGTERM) == told
    assert [step for step, *_ in complete_checkpoints(broken)] == [2, 3]  # the best so far, and one between
    assert in_own_process(project, broken, method, None) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    marker = {run: complete_checkpoints(run)[-1][2] for run in (whole, broken)}
    assert marker[broken]["validation"] == marker[whole]["validation"]
    assert [row["loss"] for row in marker[broken]["log"]] == [row["loss"] for row in marker[whole]["log"]]
    if method == "rft":
        assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()


@pytest.fixture(scope="module")
def grpo_run(project, tmp_path_factory) -> tuple[Path, Record]:
    run = tmp_path_factory.mktemp("grpo")
    return run, run_training(project, run, "rft", small_recipe())


def test_grpo_writes_down_every_completion_with_rewards_and_an_advantage_that_sums_to_zero_in_its_group(grpo_run):
    run, record = grpo_run
    rows = [json.loads(line) for line in (run / rft.ROLLOUTS).read_text().splitlines()]
    assert len(rows) == STEPS * 8 == record.cost["completions"]
    assert {row["category"] for row in rows} <= set(BOXES)
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        assert len({(row["step"], row["example_id"]) for row in group}) == 1
        assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)
    for row in rows:
        assert row["rewards"]["format"] == rewards.score("format", row["completion"], [])
    assert len({row["rewards"]["format"] for row in rows}) == 2, "some answers are well formed and some are not"


def test_grpo_moves_the_adapter(grpo_run):
    from safetensors.torch import load_file

    run, _ = grpo_run
    weights = load_file(run / f"checkpoint-{STEPS}" / "adapter_model.safetensors")
    assert any(value.any() for name, value in weights.items() if "lora_B" in name)


def test_the_record_holds_a_row_a_step_and_a_validation_a_checkpoint(grpo_run):
    _, record = grpo_run
    assert [row["step"] for row in record.log] == [1, 2, 3, 4]
    assert {"loss", "reward", "grad_norm", "rewards/iou/mean"} <= set(record.log[0])
    assert [row["step"] for row in record.validation] == [0, 2, 4]
    assert record.cost["cpu_seconds"] > 0 and record.validation_cost["cpu_seconds"] > 0


def test_a_kept_adapter_names_no_path_of_this_machine(grpo_run, project, tmp_path):
    run, record = grpo_run
    chosen = keep(run, record, "last", project / "models/mini/policy", tmp_path / "adapter")
    assert chosen == STEPS
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "models/mini/policy"
    assert str(project) not in (tmp_path / "adapter/adapter_config.json").read_text()


def test_full_weights_are_kept_as_a_policy_of_their_own(project, tmp_path):
    recipe, base = small_recipe(adapter=False), project / "models/mini/policy"
    record = run_training(project, tmp_path / "run", "sft", recipe)
    keep(tmp_path / "run", record, "validation", base, tmp_path / "kept")

    model, processor = policy.load(base, tmp_path / "kept")

    untrained = policy.load_model(base).state_dict()
    assert any(not torch.equal(untrained[name], value) for name, value in model.state_dict().items())
    assert processor.tokenizer("cat")["input_ids"] == policy.load(base)[1].tokenizer("cat")["input_ids"]


def test_a_reward_that_is_no_number_stops_the_run_and_names_the_example(monkeypatch):
    monkeypatch.setattr(rewards, "get", lambda name: lambda completion, truth: float("nan"))
    function = rft.reward_function("iou", small_recipe())
    turns = [[{"role": "assistant", "content": "<answer>[]</answer>"}]]
    with pytest.raises(InputError, match="'iou' is nan for example 12-3"):
        function(completions=turns, boxes=["[]"], width=[112], height=[112], example_id=["12-3"])


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_examples(project, tmp_path):
    model, processor = policy.load(project / "models/mini/policy")
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    broken = tmp_path / "models/mini/policy"
    broken.mkdir(parents=True)
    policy.save(broken, model, processor)
    (tmp_path / "prompts").symlink_to(project / "prompts")
    with pytest.raises(InputError, match=r"step 1: the loss is nan for example \d-10\d"):
        run_training(tmp_path, tmp_path / "run", "sft", small_recipe())


def test_a_gradient_that_is_no_number_stops_the_run_before_the_update():
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[1.0, float("inf")]])
    state = type("State", (), {"global_step": 4})
    with pytest.raises(InputError, match="step 5: the gradient is nan for example 3-9"):
        Guard(lambda: ["3-9", "3-9"]).on_pre_optimizer_step(None, state, None, model=model)


def test_other_parameters_start_from_zero_and_say_which(tmp_path, capsys):
    run = open_run(tmp_path / "run", {"settings": {"rft": {"learning_rate": 0.001}}, "data": "a"})
    (run / "checkpoint-2").mkdir()
    assert (open_run(run, {"settings": {"rft": {"learning_rate": 0.001}}, "data": "a"}) / "checkpoint-2").exists()

    open_run(run, {"settings": {"rft": {"learning_rate": 0.002}}, "data": "a"})

    assert not (run / "checkpoint-2").exists()
    assert "settings.rft.learning_rate changed; starting from zero" in capsys.readouterr().err


def test_a_checkpoint_without_its_seal_is_skipped_and_removed(tmp_path):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_marker(tmp_path / f"checkpoint-{step}", {"log": []})
    (tmp_path / "checkpoint-12").mkdir()
    assert [step for step, *_ in complete_checkpoints(tmp_path)] == [2, 10]
    assert not (tmp_path / "checkpoint-12").exists()


def test_of_equally_good_checkpoints_the_earliest_is_chosen_and_never_the_untrained_policy():
    scores = [(0, 0.9), (10, 0.3), (20, 0.5), (30, 0.5)]
    assert best_step(Record(validation=[{"step": step, "coco/AP": value} for step, value in scores])) == 20


def test_validation_draws_no_random_number_from_training():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with untouched_randomness():
        torch.rand(100)
        np.random.rand(3)
    assert torch.equal(torch.rand(3), expected)


def test_parameters_are_counted_adapter_and_policy_together(grpo_run, project, tmp_path):
    run, record = grpo_run
    base = project / "models/mini/policy"
    keep(run, record, "last", base, tmp_path / "adapter")

    counted = count_parameters(tmp_path / "adapter", base)

    rank, hidden, layers = 2, 32, 1
    assert counted["trainable"] == layers * 2 * rank * (hidden + hidden)  # q_proj and v_proj, down and up
    assert counted["total"] == counted["trainable"] + policy.load_model(base).num_parameters()
