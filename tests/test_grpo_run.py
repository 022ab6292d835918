"""What a GRPO run writes down, moves and keeps."""

import json
from pathlib import Path

import pytest
from small_policy import BOXES, STEPS, small_recipe
from small_training import TASK, run_training, taught_project  # noqa: F401 - fixtures

from vrft_core import policy
from vrft_core.families.form import Form
from vrft_core.params import Limit
from vrft_core.training import rft
from vrft_core.training.guards import METRICS, metric
from vrft_core.training.loop import count_flops, count_parameters, keep
from vrft_core.training.record import Record


@pytest.fixture(scope="module")
def grpo_run(project, tmp_path_factory) -> tuple[Path, Record]:
    run = tmp_path_factory.mktemp("grpo")
    return run, run_training(project, run, "rft", small_recipe())


@pytest.mark.slow
def test_grpo_writes_down_every_completion_with_rewards_and_an_advantage_that_sums_to_zero_in_its_group(grpo_run):
    run, record = grpo_run
    rows = [json.loads(line) for line in (run / rft.ROLLOUTS).read_text().splitlines()]
    assert len(rows) == STEPS * 8 == record.cost["completions"]
    assert {row["label"] for row in rows} <= set(BOXES)
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        assert len({(row["step"], row["id"]) for row in group}) == 1
        assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)
    form_of = TASK.rewards.get("format")
    for row in rows:
        assert row["rewards"]["format"] == form_of(TASK.rewards.read(row["completion"]), [])
    assert len({row["rewards"]["format"] for row in rows}) == 2, "some answers are well formed and some are not"


def test_every_guarded_metric_is_in_the_log_of_a_real_run(grpo_run):
    _, record = grpo_run
    rewards_too = [f"{kind}/{name}" for kind in ("zero_variance", "reward") for name in ("iou", "confidence", "format")]
    own = TASK.diagnostics.GUARDS
    missing = [name for name in [*METRICS, *own, *rewards_too] if metric(name, own) not in record.log[0]]
    assert missing == ["resampled", "dead"], "only where the recipe resamples: test_resampling.py"


@pytest.mark.slow
def test_each_completion_is_parsed_once_for_all_rewards_and_for_all_that_is_measured(project, tmp_path, monkeypatch):
    parse, parsed = TASK.rewards.parse, []
    monkeypatch.setattr(TASK.rewards, "parse", lambda text, *how: parsed.append(text) or parse(text, *how))

    record = run_training(project, tmp_path / "run", "rft", small_recipe())

    measured = {f"rewards/{name}/mean" for name in ("iou", "confidence", "format")}
    measured |= {"answers/faulty", "boxes/inflation"}
    assert all(measured <= set(row) for row in record.log)
    assert len(parsed) == record.cost["completions"] == STEPS * 8


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["validation", "last"])
def test_a_guard_of_the_recipe_ends_a_real_run_which_keeps_the_best_checkpoint_so_far(project, tmp_path, choice):
    recipe = small_recipe()
    limits = {"truncated": Limit(below=2.0, steps=3, then="stop"), "identical": Limit(below=2.0)}
    recipe = recipe.model_copy(update={"rft": recipe.rft.model_copy(update={"guards": limits})})

    record = run_training(project, tmp_path / "run", "rft", recipe)

    assert (record.stopped["step"], record.stopped["guard"]) == (3, "truncated")
    assert [row["step"] for row in record.validation] == [0, 2, 3]
    assert [warning["guard"] for warning in record.warnings] == ["identical"]
    assert keep(tmp_path / "run", record, choice, project / "models/mini/policy", tmp_path / "kept") == 2
    assert run_training(project, tmp_path / "run", "rft", recipe) == record, "it is not taken up again"


def test_a_training_that_a_guard_ends_before_its_first_checkpoint_keeps_the_weights_it_has(project, tmp_path):
    recipe = small_recipe()
    limits = {"truncated": Limit(below=2.0, then="stop")}
    recipe = recipe.model_copy(update={"rft": recipe.rft.model_copy(update={"guards": limits})})

    record = run_training(project, tmp_path / "run", "rft", recipe)

    assert keep(tmp_path / "run", record, "validation", project / "models/mini/policy", tmp_path / "kept") == 1


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


def test_a_reward_over_the_group_sees_all_answers_to_the_same_question_and_no_others():
    function = rft.Reader(TASK, Form.of(small_recipe())).reward_function("ranking")
    said = [([100, 100, 300, 290], 0.9), ([100, 100, 300, 240], 0.5), ([100, 100, 300, 290], 0.1)]
    texts = [f"<answer>[{{'Position': {box}, 'Confidence': {confidence}}}]</answer>" for box, confidence in said]
    values = function(
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        truth=['{"boxes": [[100, 100, 300, 300]]}'] * 3,
        width=[112] * 3,
        height=[112] * 3,
        id=["12-3", "12-3", "7-3"],
    )
    assert values == [1.0, 1.0, None]


def test_parameters_are_counted_adapter_and_policy_together(grpo_run, project, tmp_path):
    run, record = grpo_run
    base = project / "models/mini/policy"
    keep(run, record, "last", base, tmp_path / "adapter")

    counted = count_parameters(tmp_path / "adapter", base)

    rank, hidden, layers = 2, 32, 1
    assert counted["trainable"] == layers * 2 * rank * (hidden + hidden)  # q_proj and v_proj, down and up
    assert counted["total"] == counted["trainable"] + policy.load_model(base).num_parameters()


def test_flops_are_counted_for_what_a_run_consumed(grpo_run, project):
    _, record = grpo_run
    base, recipe = project / "models/mini/policy", small_recipe()
    counted = count_flops(record, recipe.rft, base, adapter=True)
    without = count_flops(record, recipe.rft.model_copy(update={"beta": 0.0}), base, adapter=True)
    full = count_flops(record, recipe.rft, base, adapter=False)
    assert 0 < without < counted < full
    assert record.cost["patches"] == record.cost["completions"] * 64
