"""SFT and GRPO: what is learned from, what is written down, and that an interruption leaves no trace."""

import errno
import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from small_policy import BOXES, STEPS, small_recipe, taught_policy

from vrft_core import policy
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.params import Limit, Recipe
from vrft_core.run_folder import open_run
from vrft_core.tasks import get_task
from vrft_core.training import rft, sft
from vrft_core.training.callbacks import Guard, best_step, exhausted, untouched_randomness
from vrft_core.training.checkpoints import complete_checkpoints, drop_checkpoints, full_disk_named, write_marker
from vrft_core.training.data import sft_columns
from vrft_core.training.guards import METRICS, metric
from vrft_core.training.interruption import Interruption
from vrft_core.training.loop import count_flops, count_parameters, describe, keep, train
from vrft_core.training.record import Record

TASK = get_task("detection")
MAKERS = {"sft": sft.make_trainer, "rft": rft.make_trainer}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    taught_policy(root / "models/mini/policy", root / "prompts")
    return root


def run_training(root: Path, run: Path, method: str, recipe: Recipe, log=lambda step, numbers: None) -> Record:
    return train(
        MAKERS[method](recipe, TASK, run, 7),
        getattr(recipe, method),
        recipe,
        TASK,
        policy=root / "models/mini/policy",
        prompts=root / "prompts",
        run=run,
        seed=7,
        what=method,
        log=log,
    )


def changed(method: str, **changes) -> Recipe:
    """The small recipe with other settings of a method."""
    recipe = small_recipe()
    return recipe.model_copy(update={method: getattr(recipe, method).model_copy(update=changes)})


def _train_and_keep(
    root: Path,
    run: Path,
    method: str,
    kill_at: tuple[int, str] | None,
    largest_file: int | None = None,
    said: Path | None = None,
    how: int = signal.SIGKILL,
    changes: dict | None = None,
) -> None:
    """In a process of its own; kills itself when it is about to log `kill_at` = (step, name of a number).

    `largest_file` (bytes) makes writes fail as on a full disk; what the user is told then goes to `said`. `changes`
    are settings of the method other than the small recipe's.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the test run itself was started with
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    def log(step: int, numbers: dict) -> None:
        if kill_at and step == kill_at[0] and kill_at[1] in numbers:
            os.kill(os.getpid(), how)

    try:
        record = run_training(root, run, method, changed(method, **(changes or {})), log)
    except InputError as error:
        said.write_text(str(error))
        raise SystemExit(2) from None
    keep(run, record, "last", root / "models/mini/policy", run / "kept")


@pytest.fixture(scope="module")
def in_own_process():
    """Call `_train_and_keep` in a fresh process that has the libraries loaded; returns its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vrft_core.training.rft", "vrft_core.training.sft", "peft"])

    def call(*arguments, **options) -> int:
        process = context.Process(target=_train_and_keep, args=arguments, kwargs=options)
        process.start()
        process.join(timeout=300)
        return process.exitcode

    return call


@pytest.mark.slow
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
@pytest.mark.slow
def test_told_to_end_it_seals_a_checkpoint_after_the_step_at_hand_and_goes_on_from_there(
    method, project, tmp_path, in_own_process
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_own_process(project, whole, method, None) == 0

    told = -signal.SIGTERM
    assert in_own_process(project, broken, method, (1, "loss"), how=signal.SIGTERM) == told
    ((step, _, sealed),) = complete_checkpoints(broken)  # where one was due: no time for its validation
    assert step == 2 and [row["step"] for row in sealed["validation"]] == [0]
    assert in_own_process(project, broken, method, (2, "validation/coco/AP"), how=signal.SIGTERM) == told
    assert [step for step, *_ in complete_checkpoints(broken)] == [2, 3]  # the best so far, and one between
    assert in_own_process(project, broken, method, None) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    marker = {run: complete_checkpoints(run)[-1][2] for run in (whole, broken)}
    assert marker[broken]["validation"] == marker[whole]["validation"]
    assert [row["loss"] for row in marker[broken]["log"]] == [row["loss"] for row in marker[whole]["log"]]
    if method == "rft":
        assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()


@pytest.mark.slow
def test_stopped_while_it_still_learns_from_a_generation_it_goes_on_from_the_end_of_one(
    project, tmp_path, in_own_process
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    two_updates = {"changes": {"num_iterations": 2, "save_steps": STEPS}}
    assert in_own_process(project, whole, "rft", None, **two_updates) == 0

    told = in_own_process(project, broken, "rft", (1, "loss"), how=signal.SIGTERM, **two_updates)
    assert told == -signal.SIGTERM
    assert [step for step, *_ in complete_checkpoints(broken)] == [2], "the step between is not one to go on from"
    assert in_own_process(project, broken, "rft", (3, "loss"), **two_updates) == -signal.SIGKILL
    assert [step for step, *_ in complete_checkpoints(broken)] == [2]
    assert in_own_process(project, broken, "rft", None, **two_updates) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()
    logs = [complete_checkpoints(run)[-1][2]["log"] for run in (whole, broken)]
    assert [row["loss"] for row in logs[1]] == [row["loss"] for row in logs[0]]
    assert ["reward" in row for row in logs[0]] == [True, False, True, False], "two generations for four updates"


def test_a_signal_handler_from_elsewhere_does_not_let_an_interrupted_training_live_on():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        interruption = Interruption()
        interruption.on_train_begin(None, None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit):
            interruption.on_train_end(None, None, None)
    finally:
        signal.signal(signal.SIGTERM, before)


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


def test_other_parameters_never_go_on_with_a_run_and_never_lose_it(tmp_path, capsys):
    first, second = (
        {"settings": {"rft": {"learning_rate": rate, "beta": 0.0}}, "versions": {"trl": trl}, "data": "a"}
        for rate, trl in ((0.001, "1.15"), (0.002, "1.16"))
    )
    run = open_run(tmp_path / "run", first)
    (run / "checkpoint-2").mkdir()
    assert (open_run(run, first) / "checkpoint-2").exists()

    open_run(run, second)

    assert not (run / "checkpoint-2").exists()
    said = capsys.readouterr().err
    assert "settings.rft.learning_rate changed from 0.001 to 0.002, versions.trl changed from 1.15 to 1.16; " in said
    assert "starting from zero" in said and "beta" not in said
    [aside] = [path for path in tmp_path.iterdir() if path != run]
    assert aside.name in said and (aside / "checkpoint-2").exists()

    assert (open_run(run, first) / "checkpoint-2").exists()
    assert f"back from {aside.name}" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_whose_origin_is_unknown_is_kept_but_not_continued(tmp_path):
    (tmp_path / "run/checkpoint-2").mkdir(parents=True)
    run = open_run(tmp_path / "run", {"data": "a"})
    assert not (run / "checkpoint-2").exists()
    assert len(list(tmp_path.glob("run-*/checkpoint-2"))) == 1


def test_a_removal_that_is_cut_short_leaves_no_checkpoint_that_looks_complete(tmp_path, monkeypatch):
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_marker(tmp_path / f"checkpoint-{step}", {"log": []})
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        drop_checkpoints(tmp_path, keep={4})
    monkeypatch.undo()
    assert [step for step, *_ in complete_checkpoints(tmp_path)] == [4]


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_last_checkpoint_is_kept(project, tmp_path, in_own_process):
    assert in_own_process(project, tmp_path / "run", "sft", (3, "loss")) == -signal.SIGKILL
    said = tmp_path / "said"

    assert in_own_process(project, tmp_path / "run", "sft", None, 6_000, said) == 2

    assert (
        "no space left on the disk; free some space and run the stage again: it resumes from step 2" in said.read_text()
    )
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-2"]
    assert in_own_process(project, tmp_path / "run", "sft", None) == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_a_full_disk_is_recognised_in_whatever_words(error, tmp_path):
    with pytest.raises(InputError, match="no space left on the disk"), full_disk_named(tmp_path):
        raise RuntimeError("while saving") from error
    with pytest.raises(ValueError, match="unrelated"), full_disk_named(tmp_path):
        raise ValueError("unrelated")


def test_a_checkpoint_without_its_seal_is_skipped_and_removed(tmp_path):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_marker(tmp_path / f"checkpoint-{step}", {"log": []})
    (tmp_path / "checkpoint-12").mkdir()
    assert [step for step, *_ in complete_checkpoints(tmp_path)] == [2, 10]
    assert not (tmp_path / "checkpoint-12").exists()


def test_of_equally_good_checkpoints_the_earliest_is_chosen_and_never_the_untrained_policy():
    scores = [(0, 0.9), (10, 0.3), (20, 0.5), (30, 0.5)]
    assert best_step(Record(validation=[{"step": step, "score": value} for step, value in scores])) == 20


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


def test_targets_hold_the_thought_or_only_the_answer():
    from datasets import Dataset

    thought_and_answer = "<think>1 cat</think><answer>[]</answer>"
    rows = Dataset.from_list([{"id": "1-2", "image": "", "question": "?", "answer": thought_and_answer}])
    for targets, text in (("as_asked", rows[0]["answer"]), ("answer_only", "<answer>[]</answer>")):
        [row] = sft_columns(rows, targets)
        assert row["completion"][0]["content"] == text


def test_training_ends_once_checkpoints_stop_getting_better():
    scores = [0.9, 0.3, 0.5, 0.5, 0.4, 0.4]  # the first is the untrained policy's
    records = [
        Record(validation=[{"step": step, "score": value} for step, value in enumerate(scores[:count])])
        for count in range(1, 7)
    ]
    assert [exhausted(record, 3) for record in records] == [False, False, False, False, False, True]
    assert [exhausted(record, 1) for record in records] == [False, False, False, True, True, True]
    assert not any(exhausted(record, None) for record in records)


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
def test_early_stopping_judges_after_an_interruption_as_without_one(project, tmp_path, in_own_process):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    changes = {"patience": 1, "steps": 20, "save_steps": 1, "learning_rate": 0.0}
    assert in_own_process(project, whole, "sft", None, changes=changes) == 0
    told = in_own_process(project, broken, "sft", (1, "loss"), how=signal.SIGTERM, changes=changes)
    assert told == -signal.SIGTERM
    [*_, (step, _, sealed)] = complete_checkpoints(broken)
    assert step == 2 and [row["step"] for row in sealed["validation"]] == [0, 1], "where it is to end, unjudged"

    assert in_own_process(project, broken, "sft", None, changes=changes) == 0

    markers = [complete_checkpoints(run)[-1][2] for run in (whole, broken)]
    assert [row["step"] for row in markers[1]["log"]] == [1, 2]
    assert markers[1]["validation"] == markers[0]["validation"]
    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()


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


def test_flops_are_counted_for_what_a_run_consumed(grpo_run, project):
    _, record = grpo_run
    base, recipe = project / "models/mini/policy", small_recipe()
    counted = count_flops(record, recipe.rft, base, adapter=True)
    without = count_flops(record, recipe.rft.model_copy(update={"beta": 0.0}), base, adapter=True)
    full = count_flops(record, recipe.rft, base, adapter=False)
    assert 0 < without < counted < full
    assert record.cost["patches"] == record.cost["completions"] * 64
