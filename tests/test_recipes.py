"""The recipes for real models: complete, usable by DVC, launchable; what cannot run without a GPU is constructed."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from small_project import ROOT, edit_params, run, small_project
from trl import GRPOConfig

from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.tasks import load_params, settings_models
from vrft_core.training.loop import batches, lora, trl_arguments
from vrft_core.training.rft import generation

PARAMS = load_params(ROOT / "params.yaml")
PAPER = [name for name in PARAMS.recipes if name.startswith("qwen")]


def test_the_papers_settings_are_stated_one_by_one():
    rft = PARAMS.recipes["qwen2-vl-2b"].rft
    assert (rft.learning_rate, rft.steps, rft.batch_size, rft.num_generations) == (1e-6, 200, 128, 8)
    assert (rft.temperature, rft.top_k, rft.top_p, rft.beta, rft.max_completion_length) == (1.0, 50, 1.0, 0.04, 256)
    assert PARAMS.recipes["qwen2-vl-2b"].policy.max_pixels == 401_408
    assert PARAMS.recipes["qwen2-vl-7b"].rft.num_generations == 4
    for name in PAPER:
        assert PARAMS.recipes[name].rft.guards["identical"].above < 1, "near-greedy sampling is noticed"


def test_a_recipe_without_a_revision_is_refused():
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    del content["recipes"]["qwen2-vl-2b"]["policy"]["hub"]["revision"]
    with pytest.raises(InputError, match=r"recipes\.qwen2-vl-2b\.policy\.hub\.revision: Field required"):
        Params.parse(yaml.safe_dump(content), Path("params.yaml"), settings_models())


def test_a_dot_in_a_recipes_name_is_refused_because_dvc_could_not_read_its_parameters():
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["recipes"]["qwen2.5"] = content["recipes"]["mini"]
    with pytest.raises(InputError, match=r"'qwen2\.5' must be lowercase letters, digits and single hyphens"):
        Params.parse(yaml.safe_dump(content), Path("params.yaml"), settings_models())


def test_a_recipe_that_wants_data_of_a_kind_that_its_benchmark_has_not_is_refused():
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["recipes"]["mini"]["data"] = "official"
    with pytest.raises(
        InputError, match=r"grid\.cells\.icons-mini-1shot-s0: recipe mini needs official data, and icons"
    ):
        Params.parse(yaml.safe_dump(content), Path("params.yaml"), settings_models())


@pytest.mark.slow
def test_dvc_finds_every_parameter_of_every_recipe(tmp_path):
    """`params.yaml` as written, anchors and merges included; data are missing, parameters must not be."""
    root = small_project(tmp_path / "project")

    def all_of_them(params: dict) -> None:
        for name in PAPER:
            use(params, name)

    edit_params(root, all_of_them)
    said = run("dvc", "status", cwd=root)
    for name in PAPER:
        assert f"rft@lvis-{name}-1shot-s0" in said


def use(params: dict, recipe: str) -> None:
    grid = params["grid"]
    where = {"benchmark": "lvis", "recipe": recipe, "task": "detection", "data": "official"}
    params["benchmarks"]["lvis"].setdefault("official", "lvis")
    grid["recipes"].append(recipe)
    grid["data"]["lvis-official"] = {"benchmark": "lvis", "data": "official"}
    grid["setups"][f"lvis-{recipe}"] = where
    grid["cells"][f"lvis-{recipe}-1shot-s0"] = {**where, "shots": 1, "seed": 0}
    grid["studies"][f"lvis-{recipe}-1shot"] = {**where, "shots": 1, "seeds": [0]}


@pytest.mark.parametrize(
    ("name", "kind", "sharded"),
    [
        ("ddp", DistributedType.MULTI_GPU, {}),
        ("zero3", DistributedType.DEEPSPEED, {"zero_stage": 3, "zero3_save_16bit_model": True}),
        ("fsdp", DistributedType.FSDP, {"fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT"}),
    ],
)
def test_accelerate_reads_the_shipped_configurations(name, kind, sharded):
    config = load_config_from_file(str(ROOT / f"deploy/accelerate/{name}.yaml"))
    assert config.distributed_type == kind and config.mixed_precision == "bf16" and config.num_processes == 8
    assert sharded.items() <= {**config.deepspeed_config, **config.fsdp_config}.items()


@pytest.mark.parametrize("where", ["transformers", "vllm_colocate", "vllm_server"])
@pytest.mark.parametrize("name", ["qwen2-vl-2b", "qwen2-vl-7b-lora"])
def test_trl_accepts_the_recipes_settings_with_every_kind_of_rollout(name, where, tmp_path, monkeypatch):
    monkeypatch.setenv("VRFT_VLLM_URL", "http://127.0.0.1:8000")
    recipe = PARAMS.recipes[name]
    settings = recipe.rft.model_copy(update={"generation": where})
    config = GRPOConfig(
        **trl_arguments(settings, recipe, tmp_path, 0),
        **generation(settings),
        **batches(settings, 10_000, settings.num_generations),
        num_generations=settings.num_generations,
        loss_type=settings.loss_type,
    )
    assert config.use_vllm == (where != "transformers")
    assert config.vllm_mode == ("server" if where == "vllm_server" else "colocate")
    assert config.vllm_server_base_url == ("http://127.0.0.1:8000" if where == "vllm_server" else None)
    assert config.activation_checkpointing == settings.gradient_checkpointing
    assert config.generation_batch_size == settings.batch_size
    assert (lora(recipe.adapter) is None) == (recipe.adapter is None)


def test_a_vllm_server_that_nobody_named_is_asked_for(monkeypatch):
    monkeypatch.delenv("VRFT_VLLM_URL", raising=False)
    settings = PARAMS.recipes["mini"].rft.model_copy(update={"generation": "vllm_server"})
    with pytest.raises(InputError, match="VRFT_VLLM_URL: not set"):
        generation(settings)
