"""How long prediction takes beside the published way: one question at a time, its image encoded again each time.

    python bench/predict.py                                   # a small Qwen2-VL with random weights, 640x480
    python bench/predict.py --policy models/mini/policy --annotations data/raw/lvis-embedded/annotations.json \
        --images data/raw/lvis-embedded/images                    # the policy of the recipe mini, its own questions

The random model has the proportions of a real one: vision tower 12.5 M, language model 22.9 M, 391 visual tokens and
about 160 of text. How much is won depends on the questions an image: the paper's own presence map asks 5.0 (2B) or
3.4 (7B) of an image of COCO, `self` asks all 80. The published way costs the same for every question, so that a few
are enough. Both ways are the library's forward, greedy, with its cache; equal answers are asserted. CPU seconds of one
process and thread (on a GPU wall seconds, the device waited for), best of the repeats, taken in turn.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gpu_kit.clock import now
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from vrft_core import policy
from vrft_core.annotations import Annotations
from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.policy.device import device
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import END_OF_TEXT, IMAGE, SPECIAL, TURN_END, VIDEO, VISION_END, VISION_START
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.detection.prompts import examples as examples_of
from vrft_core.tasks.detection.prompts.presence import oracle
from vrft_core.tasks.detection.prompts.questions import question
from vrft_core.tasks.task import Example

ENOUGH = 8  # questions asked the published way, random model
MOST = 12  # random images: enough for a full batch of 64 at 5 questions each, as in an evaluation

PARAMS = Path(__file__).parents[1] / "params.yaml"
CATEGORIES = ("person", "bicycle", "car", "traffic light", "dog", "umbrella", "wine glass", "potted plant")


def random_model(questions: int, images: int):
    """(model, processor, examples): a small Qwen2-VL, noise of 640x480, so many questions an image."""
    names = [CATEGORIES[i % len(CATEGORIES)] + " x" * (i // len(CATEGORIES)) for i in range(questions)]
    texts = [question(name, thinking=True, family="qwen2-vl") for name in names]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        [question(name, thinking=True, family="qwen2-vl") for name in CATEGORIES],
        trainers.BpeTrainer(vocab_size=1024, special_tokens=list(SPECIAL), initial_alphabet=alphabet),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=TURN_END, pad_token=END_OF_TEXT, padding_side="left",
        additional_special_tokens=list(SPECIAL),
    )  # fmt: skip
    tokens = {"image": IMAGE, "video": VIDEO, "vision_start": VISION_START, "vision_end": VISION_END}
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": 8192, "hidden_size": 448, "intermediate_size": 1792, "num_hidden_layers": 8,
            "num_attention_heads": 7, "num_key_value_heads": 1, "max_position_embeddings": 4096,
            "rope_parameters": rope,
        },
        vision_config={"depth": 8, "embed_dim": 320, "hidden_size": 448, "num_heads": 8, "patch_size": 14},
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    noise = np.random.default_rng(0).integers(0, 255, (images, 480, 640, 3), dtype=np.uint8)
    examples = [
        Example(
            f"{i}-{j}", i, 640, 480, Image.fromarray(noise[i]), names[j], text, "",
            json.dumps({"category_id": j, "boxes": []}),
        )
        for i in range(images)
        for j, text in enumerate(texts)
    ]  # fmt: skip
    return cast(Any, model).to(device()), build_processor(tokenizer, 14, 3136, 401_408), examples


def one_by_one(model, processor, examples: list[Example], max_new_tokens: int) -> list[str]:
    """The published way; completions."""
    completions = []
    for one in examples:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": one.question}]}
        text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        inputs = processor(images=[[one.picture()]], text=[text], return_tensors="pt").to(model.device)
        output = model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, temperature=None, top_k=None, top_p=None
        )
        new = output[0, inputs["input_ids"].shape[1] :]
        completions.append(processor.tokenizer.decode(new, skip_special_tokens=True))
    return completions


def seconds(runs: dict[str, Callable], repeats: int) -> tuple[dict[str, float], dict[str, list[str]]]:
    best, said = dict.fromkeys(runs, float("inf")), {}
    for _ in range(repeats):
        for name, run in runs.items():
            start = now()
            said[name] = run()
            best[name] = min(best[name], now() - start)
    return best, said


def compare(
    model,
    processor,
    examples: list[Example],
    batch_size: int,
    max_new_tokens: int,
    repeats: int,
    enough: int | None = None,
) -> dict:
    few = examples[:enough]
    task, form = get_task("detection"), Form.of(load_params(PARAMS).recipes["mini"])
    limits = {"batch_size": batch_size, "max_new_tokens": max_new_tokens}
    best, said = seconds(
        {
            "published": lambda: one_by_one(model, processor, few, max_new_tokens),
            "ours": lambda: [row["completion"] for row in predict(model, processor, examples, task, form, **limits)],
        },
        repeats,
    )
    if different := sum(a != b for a, b in zip(said["published"], said["ours"], strict=False)):
        raise SystemExit(f"{different} of {len(few)} answers differ: no comparison")
    each = {name: value / len(said[name]) for name, value in best.items()}
    row = {f"{name}_s_per_question": round(value, 4) for name, value in each.items()}
    return {"questions": len(examples), **row, "ratio": round(each["published"] / each["ours"], 2)}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--policy", type=Path, help="a saved policy of the recipe mini instead of random weights")
    options.add_argument("--annotations", type=Path, help="with --policy: annotations.json of its data")
    options.add_argument("--images", type=Path, help="with --policy: the folder of its images")
    options.add_argument("--per-image", type=int, nargs="+", default=[1, 5, 20], help="questions an image")
    options.add_argument(
        "--number", type=int, help="images (default: a batch of random ones, 12 at most, or 100 real ones)"
    )
    options.add_argument("--max-new-tokens", type=int, default=64)
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--repeats", type=int, default=2)
    args = options.parse_args()
    torch.set_num_threads(1)
    settings = {"batch_size": args.batch_size, "max_new_tokens": args.max_new_tokens, "repeats": args.repeats}
    if args.policy:
        recipe = load_params(PARAMS).recipes["mini"]
        truth = Annotations.load(args.annotations).split("eval")
        images = set(list(truth.images)[: args.number or 100])
        pairs = [pair for pair in oracle(truth, sorted(truth.categories)) if pair[0] in images]
        model, processor = policy.load(args.policy)
        form = Form.of(recipe, recipe.tasks["detection"])
        examples = list(examples_of(pairs, truth, args.images, form))
        table = [compare(model, processor, examples, **settings)]
    else:
        table = []
        for count in args.per_image:
            model, processor, examples = random_model(count, args.number or max(2, min(MOST, args.batch_size // count)))
            table.append({"per_image": count} | compare(model, processor, examples, enough=ENOUGH, **settings))
            print(json.dumps(table[-1]), file=sys.stderr)
    print(json.dumps(table, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
