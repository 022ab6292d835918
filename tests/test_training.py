"""What SFT and GRPO learn from, and that a number that is none stops them and names the example."""

import json

import numpy as np
import pytest
import torch
from small_policy import small_recipe
from small_training import TASK, run_training, taught_project  # noqa: F401 - fixtures

from vrft_core import policy
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.training import rft
from vrft_core.training.callbacks import Guard, untouched_randomness
from vrft_core.training.data import sft_columns
from vrft_core.training.loop import describe, keep


@pytest.mark.slow
def test_full_weights_are_kept_as_a_policy_of_their_own(project, tmp_path):
    recipe, base = small_recipe(adapter=False), project / "models/mini/policy"
    record = run_training(project, tmp_path / "run", "sft", recipe)
    keep(tmp_path / "run", record, "validation", base, tmp_path / "kept")

    model, processor = policy.load(base, tmp_path / "kept")

    assert json.loads((tmp_path / "kept/config.json").read_text())["use_cache"] is True
    untrained = policy.load_model(base).state_dict()
    assert any(not torch.equal(untrained[name], value) for name, value in model.state_dict().items())
    assert processor.tokenizer("cat")["input_ids"] == policy.load(base)[1].tokenizer("cat")["input_ids"]


@pytest.mark.slow
def test_an_update_of_a_millionth_is_not_lost_where_the_starting_weights_have_16_bits(project, tmp_path):
    from safetensors.torch import load_file

    base, name = tmp_path / "models/mini/policy", "model.language_model.layers.0.self_attn.q_proj.weight"
    model, processor = policy.load(project / "models/mini/policy")
    base.mkdir(parents=True)
    policy.save(base, model.to(torch.bfloat16), processor)
    (tmp_path / "prompts").symlink_to(project / "prompts")
    before = load_file(base / "model.safetensors")[name]
    recipe = small_recipe(adapter=False)
    settings = recipe.sft.model_copy(update={"learning_rate": 1e-6, "warmup_steps": 0, "steps": 2})

    record = run_training(tmp_path, tmp_path / "run", "sft", recipe.model_copy(update={"sft": settings}))

    after = load_file(tmp_path / "run/checkpoint-2/model.safetensors")[name]
    moved = (after - before.float()).abs()
    assert moved.median() > 5e-7 and moved.max() < 2e-6
    assert ((before.float() + 1e-6).to(torch.bfloat16) == before).float().mean() > 0.9, "16 bits would have lost it"
    keep(tmp_path / "run", record, "last", base, tmp_path / "kept")
    assert policy.load(base, tmp_path / "kept")[0].dtype == torch.bfloat16, "evaluated as the starting weights are"


def test_a_reward_that_is_no_number_stops_the_run_and_names_the_example(monkeypatch):
    monkeypatch.setattr(TASK.rewards, "get", lambda name: lambda completion, truth: float("nan"))
    function = rft.Reader(TASK, Form.of(small_recipe())).reward_function("iou")
    turns = [[{"role": "assistant", "content": "<answer>[]</answer>"}]]
    with pytest.raises(InputError, match="'iou' is nan for example 12-3"):
        function(completions=turns, truth=['{"boxes": []}'], width=[112], height=[112], id=["12-3"])


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


def test_validation_draws_no_random_number_from_training():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with untouched_randomness():
        torch.rand(100)
        np.random.rand(3)
    assert torch.equal(torch.rand(3), expected)


def test_targets_hold_the_thought_or_only_the_answer():
    from datasets import Dataset

    thought_and_answer = "<think>1 cat</think><answer>[]</answer>"
    rows = Dataset.from_list([{"id": "1-2", "image": "", "question": "?", "answer": thought_and_answer}])
    for targets, text in (("as_asked", rows[0]["answer"]), ("answer_only", "<answer>[]</answer>")):
        [row] = sft_columns(rows, targets)
        assert row["completion"][0]["content"] == text


@pytest.mark.slow
def test_an_sft_run_stops_early_says_where_and_is_not_taken_up_again(project, tmp_path):
    recipe = small_recipe()
    settings = recipe.sft.model_copy(update={"patience": 1, "steps": 20, "save_steps": 1, "learning_rate": 0.0})
    recipe = recipe.model_copy(update={"sft": settings})
    record = run_training(project, tmp_path / "run", "sft", recipe)
    assert [row["step"] for row in record.validation] == [0, 1, 2]
    assert describe(record, settings, 1)["steps"] == 2
    again = run_training(project, tmp_path / "run", "sft", recipe)
    assert again.to_dict() == record.to_dict()


@pytest.mark.slow
def test_smaller_micro_batches_change_nothing_but_memory(project, tmp_path):
    records = []
    for micro in (None, 1):
        recipe = small_recipe()
        settings = recipe.sft.model_copy(update={"micro_batch_size": micro, "targets": "answer_only"})
        recipe = recipe.model_copy(update={"sft": settings})
        records.append(run_training(project, tmp_path / str(micro), "sft", recipe))
    losses = [[row["loss"] for row in record.log] for record in records]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert records[1].cost["tokens"] <= records[0].cost["tokens"], "less padding at most"
