"""Where a policy runs and in which numbers: what can be known of it without a GPU."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_policy import BOXES, example, small_recipe, taught_policy
from test_grpo_reuse import difference, train
from transformers import AutoImageProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vrft_core.errors import InputError
from vrft_core.evaluation import decoding
from vrft_core.evaluation.predict import ahead, predict
from vrft_core.families.form import Form
from vrft_core.params import Reuse
from vrft_core.policy import device, load, recording
from vrft_core.policy.processor import load_processor
from vrft_core.policy.recording import Recorded
from vrft_core.tasks import get_task, load_params
from vrft_core.training import shared_prompt
from vrft_core.training.callbacks import Guard

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    taught_policy(folder / "policy", folder / "prompts")
    return folder / "policy"


def on_pretend_device(part: str, folder: Path) -> dict:
    """A process of its own: PyTorch learns of a device once and for good."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/on_pretend_device.py"), part, str(folder)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_prediction_puts_its_tensors_where_the_model_is(tmp_path):
    found = on_pretend_device("prediction", tmp_path)
    assert found["pretend holds"] == ["pretend"]
    assert found["pretend"] == found["cpu"]


@pytest.mark.slow
def test_pretraining_puts_its_tensors_where_the_model_is_and_begins_with_the_same_weights_there(tmp_path):
    found = on_pretend_device("pretraining", tmp_path)
    assert found["pretend"] == pytest.approx(found["cpu"], abs=1e-7)


@pytest.mark.slow
def test_a_loaded_policy_is_moved_to_the_gpu(taught, monkeypatch):
    monkeypatch.setattr("vrft_core.policy.loading.device", lambda: torch.device("meta"))  # in place of one
    model, _ = load(taught)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("precision", "gpu", "bf16"),
    [
        ("auto", None, False),
        ("auto", "old", False),
        ("auto", "new", True),
        ("fp32", "new", False),
        ("bf16", None, True),
    ],
)
def test_passes_compute_in_16_bits_where_the_recipe_says_so_or_the_gpu_can(precision, gpu, bf16, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu == "new")
    recipe = load_params(ROOT / "params.yaml").recipes["qwen2-vl-2b-lora"].model_copy(update={"precision": precision})
    full = recipe.model_copy(update={"adapter": None})
    assert device.in_16_bits(recipe) == bf16
    assert device.loaded_dtype(recipe, trained=True) == (None if bf16 else torch.float32)
    assert device.loaded_dtype(full, trained=True) == torch.float32, "an update of 1e-6 is lost in 16 bits"
    assert device.loaded_dtype(full) == (None if bf16 else torch.float32)


def test_autocast_is_entered_by_every_pass_of_a_prediction(taught):
    recipe = small_recipe()
    halved = recipe.model_copy(update={"precision": "bf16"})
    model, processor = load(taught)
    kinds = set()
    model.model.language_model.layers[0].mlp.down_proj.register_forward_hook(lambda *args: kinds.add(args[2].dtype))
    asked = [example(recipe, name, number) for number, name in enumerate(BOXES, 1)]
    limits = {"batch_size": 4, "max_new_tokens": 4}
    for one in (halved, recipe):
        with device.autocast(one):
            predict(model, processor, asked, get_task("detection"), Form.of(one), **limits)
        assert kinds == {torch.bfloat16 if one is halved else torch.float32}
        kinds.clear()


def test_images_go_through_pillow_even_where_the_library_would_take_torchvision(taught, monkeypatch):
    other = type("OfTorchvision", (Qwen2VLImageProcessorPil,), {})
    monkeypatch.setattr(AutoImageProcessor, "from_pretrained", lambda *args, **kwargs: other())
    images = load_processor(taught, 3136, 12544).image_processor
    assert type(images) is Qwen2VLImageProcessorPil
    assert (images.patch_size, images.size["shortest_edge"]) == (14, 3136)


@pytest.mark.parametrize("version", ["5.22.1", "4.57.0"])
def test_a_transformers_without_image_features_is_refused_in_one_line(version):
    with pytest.raises(InputError, match=rf"transformers: is {version}; .* need 5.23 or newer; pip install"):
        device.check_transformers(lambda name: version)
    device.check_transformers(lambda name: "5.23.0")


@pytest.mark.parametrize("version", ["5.24.0", "6.0.0.dev0"])
def test_a_transformers_that_renames_what_generation_needs_is_refused_in_one_line(version):
    with pytest.raises(InputError, match=rf"transformers: is {version}; 5.24 renames .*; pip install '.*<5.24'"):
        device.check_transformers(lambda name: version)


@pytest.mark.slow
def test_the_line_comes_before_anything_is_imported_that_an_older_one_lacks():
    code = (
        "import sys; from importlib import metadata; known = metadata.version;"
        "metadata.version = lambda name: '5.22.0' if name == 'transformers' else known(name);"
        f"from vrft_core import cli; sys.exit(cli.main(['--root', {str(ROOT)!r}, 'plan', 'mini']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("vrft: transformers: is 5.22.0; image features")


@pytest.mark.slow
def test_looking_less_often_changes_no_token_of_a_training(tmp_path, monkeypatch):
    often = train(tmp_path / "often", Reuse(), steps=2)
    monkeypatch.setattr(shared_prompt, "LOOK", {"cpu": 8})
    seldom = train(tmp_path / "seldom", Reuse(), steps=2)
    assert seldom.answers == often.answers
    assert max(difference(seldom, often).values()) == 0


def predicted(policy: Path) -> Callable[[], list]:
    """What answers the same questions with this policy, each time it is called."""
    recipe = small_recipe()
    model, processor = load(policy)
    asked = [example(recipe, name, number) for number, name in enumerate(BOXES, 1)]
    limits = {"batch_size": 4, "max_new_tokens": 27}
    return lambda: predict(model, processor, asked, get_task("detection"), Form.of(recipe), **limits)


def test_looking_less_often_at_which_answers_have_ended_changes_no_row(taught, monkeypatch):
    rows = predicted(taught)
    often = rows()
    monkeypatch.setattr(decoding, "LOOK", {"cpu": 8})
    assert rows() == often


@pytest.fixture
def recording_on_a_cpu(monkeypatch):
    """As on a GPU, but that each pass is run where a GPU plays it back."""
    monkeypatch.setattr(recording, "DEVICES", ("cpu",))
    monkeypatch.setattr(recording, "LEAST", 1)
    made = []
    monkeypatch.setattr(recording, "Recorded", lambda *given: made.append(Recorded(*given)) or made[-1])
    yield made
    assert made


@pytest.mark.slow
def test_passes_as_they_are_recorded_change_no_token_of_a_training(tmp_path, monkeypatch, request):
    plain = train(tmp_path / "plain", Reuse(), steps=2)
    request.getfixturevalue("recording_on_a_cpu")
    as_recorded = train(tmp_path / "recorded", Reuse(), steps=2)
    assert as_recorded.answers == plain.answers
    assert max(difference(as_recorded, plain).values()) < 1e-6


def test_passes_as_they_are_recorded_change_no_row_of_a_prediction(taught, request):
    rows = predicted(taught)
    plain = rows()
    request.getfixturevalue("recording_on_a_cpu")
    assert [row["completion"] for row in rows()] == [row["completion"] for row in plain]


def test_what_is_made_ahead_comes_in_order_and_its_trouble_is_raised():
    assert list(ahead([], str)) == []
    assert list(ahead([1, 2, 3], str)) == ["1", "2", "3"]
    with pytest.raises(ZeroDivisionError):
        list(ahead([1, 0], lambda number: 1 / number))


def test_the_guard_finds_one_non_finite_number_in_any_gradient():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    for layer in list(model)[1:]:
        layer.weight.grad = torch.ones(2, 2)
    guard = Guard(lambda: ["7-1"])
    state = type("State", (), {"global_step": 4})()
    guard.on_pre_optimizer_step(None, state, None, model=model)
    model[2].weight.grad[1, 0] = torch.inf
    with pytest.raises(InputError, match="step 5: the gradient is nan for example 7-1"):
        guard.on_pre_optimizer_step(None, state, None, model=model)
