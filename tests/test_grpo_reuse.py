"""GRPO that computes once what a group shares gives TRL's own numbers, whatever the model and the settings."""

import copy
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny_families
import torch
from datasets import Dataset
from datasets import Image as ImageFeature
from datasets import List as ListFeature
from peft import LoraConfig
from PIL import Image
from small_policy import detection_tokenizer
from transformers import (
    AutoModelForImageTextToText,
    Gemma3Processor,
    LlavaNextProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    TrainerCallback,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict

from vrft_core.params import Reuse
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import END_OF_TEXT, IMAGE, VIDEO, VISION_END, VISION_START
from vrft_core.training import reuse, shared_prompt
from vrft_core.training.grpo import ReusingGRPOTrainer
from vrft_core.training.shared_prompt import read_prompt
from vrft_core.training.vision_cache import FeatureCache, Memory, PatchCache, tower

pytestmark = pytest.mark.usefixtures("one_thread")
NOTHING = Reuse(vision_features=False, image_preprocessing=False, shared_prompt=False)
ALONE = {name: NOTHING.model_copy(update={name: True}) for name in Reuse.model_fields}
STEPS, LEARNING_RATE = 5, 5e-3
LANGUAGE = r".*language_model.*\.(q_proj|v_proj|up_proj)"


@cache
def processor(family: str = "qwen"):
    made = build_processor(detection_tokenizer(["cat", "hog"]), 14, 784, 12544)
    if family == "gemma-3":
        tokenizer = copy.deepcopy(made.tokenizer)
        for name, token in (("boi_token", VISION_START), ("image_token", IMAGE), ("eoi_token", VISION_END)):
            setattr(tokenizer, name, token)
            setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        template = made.chat_template.replace(VISION_START + IMAGE + VISION_END, VISION_START)
        return Gemma3Processor(tiny_families.image_processor("gemma3"), tokenizer, template, image_seq_length=4)
    if family != "llava-next":
        return made
    return LlavaNextProcessor(
        tiny_families.image_processor("llava_next"), made.tokenizer, patch_size=14, image_token=IMAGE,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=made.chat_template,
    )  # fmt: skip


def small_model(family: str, attention: str = "sdpa"):
    """Random weights, two layers each side; Qwen3-VL with deepstack."""
    tokenizer = processor().tokenizer
    if family in ("llava-next", "gemma-3"):  # positions that no image changes, images without a grid
        image = tokenizer.convert_tokens_to_ids(IMAGE)
        options = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
        options |= {"sliding_window": 16} if family == "gemma-3" else {}  # forgets the beginning of a prompt
        model = tiny_families.model(family.replace("-3", "3").replace("-", "_"), image, **options)
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(300, 360)]
        return model
    ids = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image_token_id": IMAGE,
            "video_token_id": VIDEO,
            "vision_start_token_id": VISION_START,
            "vision_end_token_id": VISION_END,
        }.items()
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    vision = {"depth": 2, "num_heads": 2, "patch_size": 14}
    if family == "qwen2-vl":
        kind, config = Qwen2VLForConditionalGeneration, Qwen2VLConfig
        vision |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    elif family == "qwen2.5-vl":
        kind, config = Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig
        vision |= {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, "window_size": 56}
        vision |= {"fullatt_block_indexes": [1]}
    elif family == "qwen3.5":
        kind, config = Qwen3_5ForConditionalGeneration, Qwen3_5Config
        vision |= {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, "num_position_embeddings": 64}
        text |= {"head_dim": 8, "num_hidden_layers": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
        text |= {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
        rope |= {"mrope_interleaved": True, "partial_rotary_factor": 1.0}
    else:
        kind, config = Qwen3VLForConditionalGeneration, Qwen3VLConfig
        vision |= {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, "num_position_embeddings": 64}
        vision |= {"deepstack_visual_indexes": [0]}
        text["head_dim"] = 8
        rope["mrope_interleaved"] = True
    text["rope_parameters"] = rope
    settings = config(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    settings._attn_implementation = attention
    torch.manual_seed(0)
    model = kind(settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # larger than at first, so that images and questions matter
            if parameter.ndim > 1:
                parameter.mul_(8.0 if "embed_tokens" in name else 3.0)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(300, 360)]  # answers of different lengths
    return model


def drawn_image(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@cache
def examples() -> Dataset:
    """Three prompts of different lengths: two images of different sizes, and one prompt with both."""
    first, second = drawn_image(84, 56, 1), drawn_image(56, 112, 2)
    questions = ["cat", "where is the hog", "cat or hog"]
    rows = [
        {"prompt": [{"role": "user", "content": question}], "images": images, "name": question}
        for question, images in zip(questions, [[first], [second], [first, second]], strict=True)
    ]
    return Dataset.from_list(rows).cast_column("images", ListFeature(ImageFeature()))


@dataclass
class Run:
    """What a training did: a row a step, the weights after it, what was answered."""

    logs: list[dict] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    answers: list[list[int]] = field(default_factory=list)
    trainer: GRPOTrainer | None = None

    def numbers(self, name: str) -> list[float]:
        return [row[name] for row in self.logs if name in row]


class Remember(TrainerCallback):
    def __init__(self, run: Run) -> None:
        self.run = run

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.run.logs.append(dict(logs))


def train(
    path: Path,
    reuse: Reuse | None,
    family: str = "qwen3-vl",
    attention: str = "sdpa",
    adapter: bool = True,
    train_tower: bool = False,
    steps: int = STEPS,
    beta: float = 0.04,
    **options,
) -> Run:
    """`reuse` None: TRL's own trainer. Full weights come from a folder, so that TRL can load the reference again."""
    run = Run()
    model = small_model(family, attention)
    if not adapter and beta:
        model.save_pretrained(path / "model")
        model = AutoModelForImageTextToText.from_pretrained(path / "model", attn_implementation=attention)
    if not train_tower:
        for parameter in tower(model):
            parameter.requires_grad_(False)

    def reward(completion_ids, name, **_) -> list[float]:
        run.answers += completion_ids
        return [len(set(ids)) + sum(ids) % 7 + len(word) for ids, word in zip(completion_ids, name, strict=True)]

    arguments = {
        "output_dir": str(path),
        "max_steps": steps,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 12,
        "learning_rate": LEARNING_RATE,
        "beta": beta,
        "activation_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "seed": 3,
        "disable_tqdm": True,
        "log_level": "error",
        **options,
    }
    torch.manual_seed(1)
    kind = GRPOTrainer if reuse is None else ReusingGRPOTrainer
    run.trainer = kind(
        model=model,
        reward_funcs=reward,
        args=GRPOConfig(**arguments),
        train_dataset=examples(),
        eval_dataset=examples(),
        processing_class=processor(family),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=LANGUAGE) if adapter else None,
        callbacks=[Remember(run)],
        **({} if reuse is None else {"reuse": reuse}),
    )
    run.trainer.remove_callback(PrinterCallback)
    run.trainer.train()
    run.weights = {name: p.detach().clone() for name, p in run.trainer.model.named_parameters() if p.requires_grad}
    return run


def difference(run: Run, other: Run) -> dict[str, float]:
    names = [name for name in ("loss", "kl", "entropy", "grad_norm") if other.numbers(name)]
    found = {name: float(np.abs(np.subtract(run.numbers(name), other.numbers(name))).max()) for name in names}
    found["weights"] = max((run.weights[name] - value).abs().max().item() for name, value in other.weights.items())
    return found


SETTINGS = {
    "qwen3-vl, LoRA": {},
    "qwen2-vl, full weights, two updates, eager": {
        "family": "qwen2-vl",
        "adapter": False,
        "num_iterations": 2,
        "loss_type": "grpo",
        "attention": "eager",
    },
    "qwen2.5-vl, LoRA, no KL, two updates, evaluated": {
        "family": "qwen2.5-vl",
        "beta": 0.0,
        "num_iterations": 2,
        "loss_type": "dr_grpo",
        "eval_strategy": "steps",
        "eval_steps": 3,
        "per_device_eval_batch_size": 12,
    },
    "qwen3-vl, full weights with their tower, no KL, eager": {
        "adapter": False,
        "train_tower": True,
        "beta": 0.0,
        "attention": "eager",
        "learning_rate": 5e-4,  # at 5e-3 one weight of 71,472 is 4e-5 off: its gradient is rounding, Adam moves it
    },
    "qwen3-vl, full weights with their tower, KL, ordinary learning rate": {
        "adapter": False,
        "train_tower": True,
        "learning_rate": 1e-5,
    },
    "qwen3.5, LoRA": {"family": "qwen3.5"},
    "qwen3.5, full weights, no KL, two updates": {
        "family": "qwen3.5",
        "adapter": False,
        "beta": 0.0,
        "num_iterations": 2,
        "optim": "sgd",  # Adam divides the tiny gradients of A_log, dt_bias and in_proj_a by themselves: rounding grows
        "learning_rate": 1e-2,
    },
    "llava-next, LoRA": {"family": "llava-next"},
    "gemma-3, LoRA": {"family": "gemma-3"},
    "qwen2-vl, LoRA, checkpointed": {"family": "qwen2-vl", "activation_checkpointing": True},
}
CASES = [
    *[("qwen3-vl, LoRA", name) for name in ALONE],
    ("qwen2-vl, full weights, two updates, eager", "shared_prompt"),
    *[(setting, "everything") for setting in SETTINGS],
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """TRL's own run with some settings, made once."""
    return cache(lambda name: train(tmp_path_factory.mktemp("published"), None, **SETTINGS[name]))


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "switch"), CASES)
def test_loss_kl_entropy_gradients_weights_and_answers_are_those_of_trl(setting, switch, published, tmp_path):
    expected = published(setting)
    reuse = Reuse() if switch == "everything" else ALONE[switch]

    run = train(tmp_path, reuse, **SETTINGS[setting])

    assert run.answers == expected.answers
    assert len({len(answer) for answer in run.answers}) > 1, "completions of different lengths are compared"
    found = difference(run, expected)
    assert {name: value for name, value in found.items() if value > 1e-5} == {}
    assert found["weights"] < 0.02 * SETTINGS[setting].get("learning_rate", LEARNING_RATE), "however small a step is"
    for name in ("eval_loss", "eval_reward"):
        assert run.numbers(name) == pytest.approx(expected.numbers(name), abs=1e-5)


@pytest.mark.slow
def test_groups_stay_whole_when_a_generation_is_split_into_batches(tmp_path):
    options = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 1e-3}
    expected = train(tmp_path / "a", None, **options)

    run = train(tmp_path / "b", Reuse(), **options)

    batches = run.trainer._buffered_inputs
    assert [len({prompt.key for prompt in batch["prompts"]}) for batch in batches] == [1, 1]
    found = difference(run, expected)  # KL and entropy are logged as means of batches, which hold other rows here
    assert {name: found[name] for name in ("loss", "grad_norm", "weights") if found[name] > 1e-5} == {}


@pytest.mark.slow
@pytest.mark.parametrize("rows", [4, 2], ids=["a group each", "half a group each"])
def test_with_several_batches_a_generation_kl_and_entropy_are_those_of_trl_dealing_out_the_same_rows(
    rows, tmp_path, monkeypatch
):
    options = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows}
    with monkeypatch.context() as patched:
        patched.setattr("trl.trainer.grpo_trainer.shuffle_sequence_dict", shuffled_with_whole_groups)
        expected = train(tmp_path / "a", None, **options)

    run = train(tmp_path / "b", Reuse(), **options)

    assert {name: value for name, value in difference(run, expected).items() if value > 1e-5} == {}
    assert run.numbers("kl") == pytest.approx(expected.numbers("kl"), rel=1e-3, abs=1e-7), "small as it is"


def shuffled_with_whole_groups(batch: dict) -> dict:
    """TRL's own shuffling, then rows of a prompt next to each other."""
    batch = shuffle_sequence_dict(batch)
    prompts = batch["prompt_ids"].tolist()
    order = sorted(range(len(prompts)), key=lambda row: prompts.index(prompts[row]))

    def deal(values):
        if isinstance(values, list):
            return [values[row] for row in order]
        return values if values is None or values.ndim == 0 else values[order]

    return {name: deal(values) for name, values in batch.items()}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [True, False], ids=["LoRA on weights of 16 bits", "whole weights of 32"])
def test_in_mixed_precision_numbers_are_those_of_trl_within_the_rounding_of_16_bits(adapter, tmp_path, monkeypatch):
    small = small_model
    if adapter:
        monkeypatch.setitem(globals(), "small_model", lambda *names: small(*names).to(torch.bfloat16))
    for kind in (GRPOTrainer, ReusingGRPOTrainer):
        monkeypatch.setattr(kind, "_generate_single_turn", written_and_replaced(kind._generate_single_turn))
    expected, run = (
        train(tmp_path / str(reuse is None), reuse, adapter=adapter, bf16=True, steps=2) for reuse in (None, Reuse())
    )

    assert {weight.dtype for weight in run.weights.values()} == {torch.float32}
    assert run.answers == expected.answers
    assert run.numbers("kl")[-1] > 1e-5
    for name, close in {"loss": 1e-4, "kl": 1e-3, "entropy": 1e-2, "grad_norm": 1e-2}.items():
        assert run.numbers(name) == pytest.approx(expected.numbers(name), abs=close)


def written_and_replaced(write):
    """Completions are written and then others taken, since rounding to 16 bits tips a draw now and then."""

    def single_turn(self, prompt_ids, *args, **kwargs):
        written, log_probs = write(self, prompt_ids, *args, **kwargs)
        lot = np.random.default_rng(self.state.global_step)
        return [lot.integers(5, 290, lot.integers(2, 12)).tolist() for _ in written], log_probs

    return single_turn


def test_a_frozen_tower_sees_every_image_once_and_the_processor_too(tmp_path, monkeypatch):
    seen = {"tower": 0, "processor": 0}
    original = Qwen2VLImageProcessorPil.preprocess

    def counted(self, images, *args, **kwargs):
        seen["processor"] += len(images)
        return original(self, images, *args, **kwargs)

    def look(module, args, kwargs):
        seen["tower"] += len(kwargs["grid_thw"])

    def watched(family, attention):
        model = small(family, attention)
        model.model.visual.register_forward_pre_hook(look, with_kwargs=True)
        return model

    small = small_model
    monkeypatch.setattr(Qwen2VLImageProcessorPil, "preprocess", counted)
    monkeypatch.setitem(globals(), "small_model", watched)

    train(tmp_path, Reuse(), steps=3, num_iterations=2)

    assert seen == {"tower": 2, "processor": 2}


STARTS = {
    "one prompt": ({}, 2),  # for generation and the update; for the reference
    "two prompts": ({"per_device_train_batch_size": 8}, 3),
    "two updates from the same answers": ({"num_iterations": 2}, 4),  # and for the policy that wrote them
}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "runs"), STARTS.values(), ids=STARTS)
def test_an_update_starts_from_the_pass_over_the_prompt_that_generation_made(options, runs, tmp_path, monkeypatch):
    begun, prefill = [], shared_prompt.prefill

    def counted(*args):
        begun.append(torch.is_grad_enabled())
        return prefill(*args)

    monkeypatch.setattr(shared_prompt, "prefill", counted)
    options = {"per_device_train_batch_size": 4, **options}
    run = train(tmp_path / "run", Reuse(), steps=1, **options)

    assert (len(begun), begun.count(True)) == (runs, 1)
    assert run.trainer._kept is None, "its graph is gone"
    expected = train(tmp_path / "trl", None, steps=1, **options)
    assert difference(run, expected)["weights"] < 0.02 * LEARNING_RATE


def test_features_of_a_trained_tower_outlive_no_step(tmp_path, capsys):
    run = train(tmp_path, Reuse(), steps=1, adapter=False, train_tower=True, beta=0.0)
    assert len(run.trainer._features.memories) == 0
    assert "grpo: without vision_features, as TRL does it: the vision tower is trained" in capsys.readouterr().err


def test_a_model_it_does_not_know_is_trained_as_trl_does_it_and_a_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reuse, "TRIED", frozenset())
    run = train(tmp_path, Reuse(), steps=1)
    assert not any(run.trainer.reuse.model_dump().values())
    assert run.trainer._prompts is None
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("grpo:")]
    assert line.endswith("as TRL does it: qwen3_vl is not a model it knows")


def test_a_prompt_is_read_as_the_processor_reads_it():
    images = [drawn_image(84, 56, 1), drawn_image(56, 112, 2)]
    parts = [{"type": "image", "image": images[0]}, {"type": "text", "text": "cat or"}]
    parts += [{"type": "image", "image": images[1]}, {"type": "text", "text": "hog"}]
    messages = [{"role": "user", "content": parts}]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    expected = processor().apply_chat_template([messages], **options)

    prompt = read_prompt(processor(), messages, PatchCache(processor().image_processor).patches)

    assert prompt.input_ids.tolist() == expected["input_ids"][0].tolist()
    assert prompt.token_types.tolist() == expected["mm_token_type_ids"][0].tolist()
    assert torch.equal(torch.cat([patches.pixel_values for patches in prompt.images]), expected["pixel_values"])
    assert [patches.grid.tolist() for patches in prompt.images] == expected["image_grid_thw"].tolist()


def test_an_image_is_processed_again_when_its_pixels_or_the_settings_change():
    settings = json.loads(processor().image_processor.to_json_string())
    images = Qwen2VLImageProcessorPil.from_dict(settings)
    cache, first = PatchCache(images), drawn_image(84, 56, 1)
    other = first.copy()
    other.putpixel((0, 0), (1, 2, 3))

    patches = cache.patches(first)

    assert cache.patches(first.copy()) is patches
    assert cache.patches(other).key != patches.key
    images.image_mean = [0.0, 0.0, 0.0]
    assert not torch.equal(cache.patches(first).pixel_values, patches.pixel_values)


def test_a_tower_whose_weights_are_written_to_computes_its_features_again():
    model = small_model("qwen3-vl").requires_grad_(False)
    patches = PatchCache(processor().image_processor).patches(drawn_image(84, 56, 1))
    features = FeatureCache()
    before = features.features(model, [patches, patches])
    assert before.pooler_output[0] is before.pooler_output[1]
    assert features.features(model, [patches]).deepstack_features[0][0] is before.deepstack_features[0][0]

    model.model.visual.merger.linear_fc2.weight.mul_(2)

    assert not torch.equal(features.features(model, [patches]).pooler_output[0], before.pooler_output[0])


def test_memory_forgets_what_was_used_longest_ago():
    memory = Memory(limit=2 * 40, tensors=lambda value: [value])
    for key in "ab":
        memory.put(key, torch.zeros(10))
    memory.get("a")
    memory.put("c", torch.zeros(10))
    assert [memory.get(key) is not None for key in "abc"] == [True, False, True]
    assert memory.bytes == 80
