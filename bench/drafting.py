"""What guesses from earlier answers save a generation: passes of the model, and CPU seconds.

    python bench/drafting.py

The model of `grpo_step.py` with its adapter. Random weights say nothing that could be guessed, so what it says is
imposed on it after each pass: a detection answer spelled as Qwen's tokenizers do, words as they come and numbers digit
by digit, in which a question's first digits are as good as sure, the second ones vary by one or two, the third are
anyone's. Passes are the model's own and cost what they cost. Plain and drafted generations take turns, from the same
random state; they must say the same.
"""

import argparse
import time
from functools import partial
from typing import Any

import torch
from grpo_step import noise, small_model, small_processor
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from vrft_core.training import drafting, shared_prompt
from vrft_core.training.drafting import Drafting
from vrft_core.training.shared_prompt import image_grid, prefill, read_prompt, text_inputs
from vrft_core.training.vision_cache import FeatureCache, PatchCache

DIGITS = 1000  # the first of ten tokens
HEAD, BETWEEN, CONFIDENCE, TAIL = range(2000, 2014), (2020, 2021), range(2030, 2037), range(2040, 2044)


def answer(truth: list[str], end: int, vocabulary: int) -> Tensor:
    """[tokens, vocabulary]: probabilities at each place of an answer about a box `truth`, three digits a number."""
    rows: list[dict[int, float]] = [{token: 1.0} for token in HEAD]
    for number in truth:
        for place, digit in enumerate(map(int, number)):
            near = ({0: 0.94, 1: 0.03, -1: 0.03}, {0: 0.4, 1: 0.25, -1: 0.25, 2: 0.05, -2: 0.05}, {})[place]
            rows.append({DIGITS + (digit + by) % 10: share for by, share in near.items()})
        rows += [{token: 1.0} for token in BETWEEN]
    rows += [{token: 1.0} for token in CONFIDENCE]
    rows += [{DIGITS + 9: 0.6, DIGITS + 8: 0.3, DIGITS + 7: 0.1}, {DIGITS + i: 0.1 for i in range(10)}]
    rows += [{token: 1.0} for token in (*TAIL, end)]
    table = torch.zeros(len(rows), vocabulary)
    for line, row in zip(table, rows, strict=True):
        for token, share in (row or {DIGITS + i: 0.1 for i in range(10)}).items():
            line[token] = share
    return table


class Said(LogitsProcessor):
    """Puts a row of `answer` in place of what the model says after so many tokens."""

    def __init__(self, table: Tensor, prompt: int) -> None:
        self.logits, self.prompt = table.log(), prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return self.logits[input_ids.shape[1] - self.prompt].expand_as(scores)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--group", type=int, default=8, help="answers to one question")
    parser.add_argument("--earlier", type=int, default=4, help="groups answered before")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    processor, question = small_processor()
    model = small_model(processor.tokenizer, "qwen2-vl")
    names = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    adapted: Any = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=names))
    bare = adapted.get_base_model().eval()
    parts = [{"type": "image", "image": noise(1, 640, 480)[0]}, {"type": "text", "text": question}]
    prompt = read_prompt(processor, [{"role": "user", "content": parts}], PatchCache(processor.image_processor).patches)
    prompts, pad, end = [prompt] * options.group, processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id
    features = FeatureCache()

    def vision(model, prompts) -> dict:
        images = [patches for one in prompts for patches in one.images]
        grid = image_grid(prompts, model.device)
        return {"image_grid_thw": grid, "mm_encoder_outputs": {"image": features.features(model, images)}}

    table = answer(["412", "087", "655", "930"], end, 8192)
    known = Drafting()
    for _ in range(options.earlier * options.group):
        known.drafts.add(prompt.key, torch.multinomial(table, 1)[:, 0].tolist())
    ids, mask, _ = text_inputs(prompts, pad, bare.device)
    settings = GenerationConfig(
        max_new_tokens=len(table), do_sample=True, pad_token_id=pad, eos_token_id=end, top_k=0, disable_compile=True
    )
    seconds, said = {"plain": 0.0, "drafted": 0.0}, {}
    for repeat in range(options.repeats):
        for name in seconds:
            way = partial(drafting.decode, drafting=known, questions=[one.key for one in prompts])
            start = prefill(bare, bare, prompts, vision, pad).over(prompts)
            torch.manual_seed(repeat)
            began = time.process_time()
            said[name] = bare.generate(
                input_ids=ids,
                attention_mask=mask,
                position_ids=start.positions,
                past_key_values=start.cache,
                custom_generate=shared_prompt.decode if name == "plain" else way,
                logits_processor=LogitsProcessorList([Said(table, ids.shape[1])]),
                generation_config=settings,
            )
            seconds[name] += (time.process_time() - began) / options.repeats
        assert torch.equal(said["plain"], said["drafted"]), "guesses decide nothing"
    found = known.measured()
    print(
        f"{options.group} answers of {len(table)} tokens, {options.earlier} groups before: passes"
        f" {len(table)} → {found['drafting/passes'] / options.repeats:.1f} ({found['drafting/fewer']:.2f}× fewer),"
        f" {found['drafting/held']:.0%} of guesses held; CPU s of decoding {seconds['plain']:.2f} →"
        f" {seconds['drafted']:.2f} ({seconds['plain'] / seconds['drafted']:.2f}×)"
    )


if __name__ == "__main__":
    main()
