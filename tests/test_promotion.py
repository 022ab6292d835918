"""The registry: who may become champion, the way back, and a registered model that needs nothing of this project."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image
from plausible_results import plausible_project
from small_policy import small_recipe, taught_policy
from small_project import ROOT

from vrft_core import io, nights, provenance, registry, tracking
from vrft_core import policy as policies
from vrft_core.cell import Layout
from vrft_core.commands.baseline import record_baseline
from vrft_core.commands.promote import promote, roll_back
from vrft_core.errors import InputError
from vrft_core.families.frames import frame
from vrft_core.served_model import Answering, answer_of, boxes_in
from vrft_core.tasks import get_task, load_params

MODEL = "lvis-mini"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    """A project whose cells are trained (a policy of a few thousand weights), evaluated, and have a baseline."""
    root = tmp_path_factory.mktemp("promotion")
    layout, params = plausible_project(root)
    first, second, *_ = params.cells()
    prompts = root / "prompts"
    taught_policy(layout.policy(first), prompts)
    params = params.model_copy(update={"nightly": params.nightly.model_copy(update={"golden": None})})
    for number, cell in enumerate((first, second)):
        model, processor = policies.load(layout.policy(first))
        model.lm_head.weight.data[0, 0] += number  # other weights, another digest
        layout.model(cell, "rft").mkdir(parents=True)
        policies.save(layout.model(cell, "rft"), model, processor)
        shutil.copytree(prompts, layout.prompts(cell))
        record_baseline(layout, params, cell)
        data_are_good(layout, cell)
    with tracking.open_store(layout) as client:
        client.search_experiments()
    return root


def data_are_good(layout: Layout, cell, broken: tuple = ()) -> None:
    """As the data suites leave it; they run in test_schedules."""
    folders = (layout.raw(cell), layout.few_shot(cell), layout.prompts(cell))
    inputs = {path.relative_to(layout.root).as_posix(): provenance.digest(path) for path in folders}
    io.write_json(nights.data_record(layout, cell), {"suites": 12, "broken": broken, "warnings": [], "inputs": inputs})


@pytest.fixture
def project(evaluated, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "project"
    shutil.copytree(evaluated, root)
    params = load_params(root / "params.yaml")
    recipe = params.recipes["mini"]
    limits = recipe.evaluation.model_copy(update={"max_new_tokens": small_recipe().evaluation.max_new_tokens})
    recipes = {**params.recipes, "mini": recipe.model_copy(update={"evaluation": limits})}
    monkeypatch.setattr(get_task("detection").checks, "LIMITS", {})  # invented answers keep to no limit
    return Layout(root), params.model_copy(update={"recipes": recipes}), params.cells()


def champion(layout: Layout):
    with tracking.open_store(layout) as client:
        return client.get_model_version_by_alias(MODEL, "champion")


def aliases(layout: Layout) -> dict[str, str]:
    with tracking.open_store(layout) as client:
        return {name: str(number) for name, number in client.get_registered_model(MODEL).aliases.items()}


@pytest.mark.slow
def test_a_good_model_becomes_champion_its_version_says_where_it_came_from_and_the_way_back_is_one_command(project):
    layout, params, (first, second, *_) = project
    good, lines = promote(layout, params, first)
    assert good, lines
    assert lines[-1] == f"{MODEL} version 1 ({first.key}) is the champion"
    version = champion(layout)
    assert version.tags["vrft.cell"] == first.key
    assert version.tags["dvc.md5"] == provenance.directory_digest(layout.model(first, "rft"))
    assert version.tags["curves"] == layout.training(first, "rft").relative_to(layout.root).as_posix()
    assert aliases(layout) == {"champion": "1"}
    assert "MLFLOW_TRACKING_URI" not in os.environ
    with tracking.open_store(layout) as client:
        traces = client.search_traces(locations=[client.get_run(version.run_id).info.experiment_id])
    assert len(traces) == 20
    inputs = traces[0].data.spans[0].inputs["messages"][0]["content"]
    assert "content_type=image%2Fpng" in inputs[1]["image_url"]["url"], "kept as an attachment, which the page shows"
    assert traces[0].info.tags["vrft.model"] == f"{MODEL}/1"

    assert promote(layout, params, first)[0] and aliases(layout) == {"champion": "1"}, "twice is once"

    good, lines = promote(layout, params, second)
    assert good and lines[-1] == f"{MODEL} version 2 ({second.key}) is the champion, after version 1"
    assert roll_back(layout, MODEL) == f"{MODEL}: version 1 is the champion again; version 2 is not"
    assert aliases(layout) == {"champion": "1"}
    with pytest.raises(InputError, match="version 1 is its first champion"):
        roll_back(layout, MODEL)

    data_are_good(layout, first, broken=("lvis-mini-1shot-s0 raw boxes: 3 rows",))
    rows = io.read_jsonl(layout.evaluation(second, "rft") / "predictions.jsonl")
    emptied = [row | {"boxes": [], "scores": [], "rankings": {"likelihood": [], "certainty": []}} for row in rows]
    io.write_jsonl(layout.evaluation(second, "rft") / "predictions.jsonl", emptied)
    good, lines = promote(layout, params, second)
    assert not good and aliases(layout)["champion"] == "1"
    assert [line.split(":")[0] for line in lines[:3]] == [
        "passed  data checks", "FAILED  regression", "passed  diagnostics",
    ]  # fmt: skip
    assert lines[-1].startswith(f"{MODEL} version 2 ({second.key}) is not promoted: regression did not pass")
    good, lines = promote(layout, params, first)
    assert not good and "FAILED  data checks: lvis-mini-1shot-s0 raw boxes: 3 rows" in lines


@pytest.mark.slow
def test_a_registered_model_predicts_where_this_project_is_not_importable(project, tmp_path):
    layout, params, (cell, *_) = project
    assert promote(layout, params, cell)[0]
    image = next((layout.raw(cell) / "images").glob("*.png"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = textwrap.dedent(f"""
        import json, sys
        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("vrft_core", "pipelines"):
                    raise ImportError(name + " is not for this test")
        sys.meta_path.insert(0, Blocked())
        import mlflow, pandas as pd
        mlflow.set_tracking_uri("sqlite:///{layout.root / "mlflow.db"}")
        model = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
        question = model.metadata.metadata["question"]
        asked = pd.DataFrame([{{"image": open({str(image)!r}, "rb").read(), "question": question}}])
        answers = model.predict(asked)
        print(json.dumps([question, str(model.metadata.signature), answers.to_dict("records")]))
    """)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=elsewhere, capture_output=True, text=True, timeout=500,
        env={"PATH": "/usr/bin:/bin", "HOME": str(elsewhere), "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    question, signature, [answer] = json.loads(done.stdout.splitlines()[-1])
    assert "Detect all objects" in question and "['image': binary" in signature.replace('"', "'")
    assert answer["text"] and isinstance(answer["boxes"], list) and isinstance(answer["label"], str)

    model, processor = policies.load(layout.model(cell, "rft"))
    mine = said_by(model, processor, image, question, params.recipe(cell).evaluation.max_new_tokens)
    assert answer["text"] == mine, "the words that the project's own code gets from these weights"
    kept = Path(champion(layout).source.removeprefix("file://"))
    files = [path.name for path in kept.rglob("*") if path.is_file()]
    assert "served_model.py" in files and any(name.endswith(".safetensors") for name in files)
    assert [name for name in files if name.endswith((".pkl", ".pickle", ".bin", ".pt"))] == [], "no pickled code"


def said_by(model, processor, image: Path, question: str, tokens: int) -> str:
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    batch = processor(text=[text], images=[[Image.open(image).convert("RGB")]], return_tensors="pt")
    written = model.generate(**batch, max_new_tokens=tokens, do_sample=False)
    return processor.tokenizer.decode(written[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.slow
def test_a_cell_that_was_not_trained_is_refused_in_one_line(project):
    layout, params, cells = project
    with pytest.raises(InputError, match="no trained model here; run `vrft run lvis-mini-1shot-s2` first"):
        promote(layout, params, cells[2])


@pytest.mark.slow
def test_a_model_that_does_not_exist_cannot_be_rolled_back(project):
    with pytest.raises(InputError, match="no such model, or it has no champion"):
        registry.roll_back(project[0], "no-such-model")


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("[{'Position': [100, 200, 300, 400], 'Confidence': 1.00}]", [[10.0, 40.0, 30.0, 80.0]]),
        ("(0, 0, 1000, 1000)", [[0.0, 0.0, 100.0, 200.0]]),
        ("[300, 200, 100, 400]", []),  # inverted
        ("[100, 200, 1300, 400]", []),  # outside
        ("[1e9, nan, inf, 400]", []),
        ("No Objects", []),
    ],
)
def test_boxes_of_an_answer_are_pixels_of_the_image(text, boxes):
    assert boxes_in(text, (1000, 1000), (100, 200)) == boxes


def test_a_hostile_answer_takes_linear_time_and_gives_a_bounded_number_of_boxes():
    assert len(boxes_in("[1,2,3,4]" * 100_000, (1000, 1000), (10, 10))) == 1000
    assert boxes_in("[" * 100_000 + "1," * 100_000, (1000, 1000), (10, 10)) == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [("<think>a cat</think><answer> cat </answer>", "cat"), ("<answer>cat", "cat"), ("cat", "cat"), ("", "")],
)
def test_the_answer_stands_between_its_tags(text, answer):
    assert answer_of(text) == answer


@pytest.mark.parametrize("size", [(300, 200), (112, 112), (57, 403)])
def test_pixels_of_the_image_as_seen_are_those_of_the_projects_own_frame(size):
    """Qwen2.5-VL counts in pixels of the resized image; the registered model knows only what its processor says."""
    from types import SimpleNamespace

    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    params = load_params(ROOT / "params.yaml")
    settings = params.recipes["qwen25-vl-3b"].policy
    bounds = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
    pixels = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=bounds)
    served = Answering()
    served.form, served.pixels = {"coordinates": "resized"}, SimpleNamespace(patch_size=pixels.patch_size)
    seen = pixels(images=[Image.new("RGB", size)], return_tensors="pt")
    assert served._limit(seen, size) == frame(settings, *size).limit
    served.form = {"coordinates": [1000.0, 1000.0]}
    assert served._limit(seen, size) == (1000.0, 1000.0)
    served.form = {"coordinates": "original"}
    assert served._limit(seen, size) == size
