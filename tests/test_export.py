"""An exported model: the same likelihoods as base and adapter together, usable without this project."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from small_policy import example, small_recipe, taught_policy
from small_project import CELL, edit_params, run, small_project

from vrft_core import io, policy
from vrft_core.cell import Cell, Layout
from vrft_core.commands.export import USE, card, export
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.stages import run_stage
from vrft_core.tasks import get_task, load_params

WHERE = Cell("mini", "lvis", 1, 0, data="embedded")
CAT = example(small_recipe(), "cat", 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Layout, Params, Path]:
    root = small_project(tmp_path_factory.mktemp("export") / "project")
    recipe = small_recipe().model_dump(mode="json")
    edit_params(root, lambda params: params["recipes"].update(mini=recipe))
    layout, params = Layout(root), load_params(root / "params.yaml")
    _commit(root)
    taught_policy(layout.policy(WHERE), layout.prompts(WHERE))
    io.write_json(layout.few_shot(WHERE) / "selection.json", {"categories": [{"name": CAT.label}]})
    run_stage("sft", layout, params, WHERE)
    export(layout, params, WHERE, "sft", root / "exported")
    return layout, params, root / "exported"


def _commit(root: Path) -> str:
    """A new commit of a project, whatever has changed; its name."""
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    run("git", "add", "-A", cwd=root)
    run("git", *who, "commit", "-q", "--allow-empty", "-m", "test", cwd=root)
    return run("git", "rev-parse", "HEAD", cwd=root).strip()


def likelihoods(model, processor) -> torch.Tensor:
    """Log-probabilities of every token after question and answer."""
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": CAT.question}]}]
    text = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) + CAT.answer
    inputs = processor(text=[text], images=[[CAT.image]], return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits.log_softmax(-1)


@pytest.mark.slow
def test_merged_weights_say_what_base_and_adapter_say_together(exported):
    from peft import PeftModel

    layout, _, directory = exported
    base, processor = policy.load(layout.policy(WHERE))
    untouched = likelihoods(base, processor)
    together = likelihoods(PeftModel.from_pretrained(base, str(directory / "adapter")).eval(), processor)
    merged = likelihoods(*policy.load(directory))
    assert (merged - together).abs().max() < 1e-4
    assert (untouched - together).abs().max() > 1e-2, "training changed something"


@pytest.mark.slow
def test_plain_transformers_answers_with_it_where_this_project_cannot_be_imported(exported, tmp_path):
    _, _, directory = exported
    CAT.image.save(tmp_path / "image.png")
    card = (directory / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert code.strip() == USE.format(folder=".", picture="image.jpg", question=CAT.question, limit=24).strip()

    hidden = "import sys; sys.modules['vrft_core'] = None\n"
    script = code.replace('"image.jpg"', repr(str(tmp_path / "image.png"))).replace(
        "'image.jpg'", repr(str(tmp_path / "image.png"))
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", hidden + script], cwd=directory, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr

    model, processor = policy.load(directory)
    [row] = predict_one(model, processor)
    assert done.stdout.strip() == row["completion"]


def predict_one(model, processor) -> list[dict]:
    from vrft_core.evaluation.predict import predict
    from vrft_core.families.form import Form

    form = Form.of(small_recipe())
    return predict(model, processor, [CAT], get_task("detection"), form, batch_size=1, max_new_tokens=24)


@pytest.mark.slow
def test_the_card_tells_where_the_model_came_from(exported):
    layout, params, directory = exported
    text = (directory / "README.md").read_text()
    matter = yaml.safe_load(text.split("---")[1])
    assert matter["library_name"] == "transformers"
    settings = params.recipe(WHERE).sft
    for fact in (
        f"vrft run {CELL}",
        f"| learning_rate | {settings.learning_rate} |",
        "rank 2, alpha 4",
        ".dir",
        "torch",
    ):
        assert fact in text
    assert str(layout.root) not in text


@pytest.mark.slow
def test_the_card_names_the_commit_of_the_training_and_the_exports_if_it_is_another(exported):
    layout, params, directory = exported
    trained = run("git", "rev-parse", "HEAD", cwd=layout.root).strip()
    text = (directory / "README.md").read_text()
    assert f"- trained at commit: {trained}\n" in text and "exported at commit" not in text

    later = _commit(layout.root)

    text = card(layout, params, WHERE, "sft")
    assert f"- trained at commit: {trained}\n- exported at commit: {later}\n" in text


@pytest.mark.slow
def test_an_export_replaces_nothing_and_invents_nothing(exported, tmp_path):
    layout, params, directory = exported
    with pytest.raises(InputError, match="exists already"):
        export(layout, params, WHERE, "sft", directory)
    with pytest.raises(InputError, match="no trained model here"):
        export(layout, params, WHERE, "rft", tmp_path / "new")
    assert not (tmp_path / "new").exists()
