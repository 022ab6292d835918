"""Generation that lets a pass of the model judge several guessed tokens at once; what is said does not depend on them.

`torch.multinomial(p, 1)` is the argmax of p / noise. With each row's noise fixed for each place in its answer, a token
follows from the tokens before it and its noise, whatever was guessed; a guess is kept as far as it says the same.
After speculative decoding (arXiv 2211.17192), with guesses from earlier answers (`drafts`) instead of a second model,
and one noise for both instead of a test of acceptance. Where keys and values of tokens can be dropped again:
`obstacle` says where they cannot.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria

from vrft_core.policy.states import StateLayer, make_room, new_cache, spread
from vrft_core.training import processors
from vrft_core.training.drafts import Drafts
from vrft_core.training.shared_prompt import LOOK

DEPTH = 8  # guesses a row and pass
LEAST = 0.02  # chance that a guess and those before it hold, as earlier answers have it, below which there is no more
NOISE_BYTES = 2**29  # of the noise that is kept: with a large vocabulary no row gets far ahead of the slowest


def obstacle(config: PreTrainedConfig) -> str | None:
    """Why what the layers of such a model keep of a wrong guess cannot be dropped again; None where it can."""
    for layer in new_cache(config).layers:
        if type(layer) is not DynamicLayer:
            kept = "recurrent states" if isinstance(layer, StateLayer) else "a window of the last tokens"
            return f"a guess cannot be taken back from {kept}, which a layer of {config.model_type} keeps"
    return None


@dataclass
class Drafting:
    """Earlier answers to guess from, and what they saved since the last look.

    passes: of the model, over tokens of answers. without: the same had nothing been guessed. guessed, held: tokens.
    in_vain: places in those passes that gave no token of an answer, those that fill up a pass included.
    """

    drafts: Drafts = field(default_factory=Drafts)
    passes: int = 0
    without: int = 0
    guessed: int = 0
    held: int = 0
    in_vain: int = 0

    def measured(self) -> dict[str, float]:
        """`drafting/passes`, `/fewer` (how many times fewer than without), `/held` (share of guesses); starts anew."""
        found = {"drafting/passes": float(self.passes)}
        if self.passes:
            found["drafting/fewer"] = self.without / self.passes
        if self.guessed:
            found["drafting/held"] = self.held / self.guessed
        self.passes = self.without = self.guessed = self.held = self.in_vain = 0
        return found


class Noise:
    """What a plain loop would draw for all rows at place after place: exponential, [rows, vocabulary] each.

    Drawn in that order from the device's own generator, when first looked at; `window` of them are kept.
    """

    def __init__(self, rows: int, vocabulary: int, most: int, seen: list[int], device: torch.device) -> None:
        self.window = max(2, min(most, NOISE_BYTES // (4 * rows * vocabulary)))
        self._kept = torch.empty(self.window, rows, vocabulary, device=device)
        self._seen = torch.tensor(seen, dtype=torch.long, device=device)
        self._of_seen: list[np.ndarray | None] = [None] * self.window
        self._generator = torch.default_generator
        if device.type != "cpu":
            self._generator = torch.get_device_module(device).default_generators[device.index or 0]
        self._states = [self._generator.get_state()]

    def _draw(self) -> None:
        place = (len(self._states) - 1) % self.window
        self._kept[place].exponential_(generator=self._generator)
        self._states.append(self._generator.get_state())
        self._of_seen[place] = None

    def of_seen(self, place: int) -> np.ndarray:
        """[rows, tokens seen in earlier answers], on the CPU."""
        while len(self._states) <= place + 1:
            self._draw()
        found = self._of_seen[place % self.window]
        if found is None:
            found = self._kept[place % self.window][:, self._seen].cpu().numpy()
            self._of_seen[place % self.window] = found
        return found

    def at(self, rows: Tensor, places: Tensor, last: int) -> Tensor:
        """[n, width, vocabulary] for rows [n] at places [n, width], none of them after `last`."""
        while len(self._states) <= last + 1:
            self._draw()
        return self._kept[places % self.window, rows[:, None]]

    def leave(self, count: int) -> None:
        """Leave the generator as `count` draws leave it."""
        while len(self._states) <= count:
            self._draw()
        self._generator.set_state(self._states[count])


def decode(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: Callable,
    stopping_criteria: Any,
    generation_config: GenerationConfig,
    drafting: Drafting,
    questions: Sequence[Hashable],
    **inputs: Any,
) -> Tensor:
    """`shared_prompt.decode` with guesses: the same tokens, and the same random state after it, but for rounding.

    questions: what each row answers. Samples, up to an end token or a length: raises ValueError where something else
    is asked for. input_ids [rows, P] → [rows, P + longest completion], padded on the right.
    """
    if not generation_config.do_sample or any(
        type(one) not in (EosTokenCriteria, MaxLengthCriteria) for one in stopping_criteria
    ):
        raise ValueError("drafting samples up to an end token or a length, nothing else")
    device, (rows, prompt), drafts = input_ids.device, input_ids.shape, drafting.drafts
    pad, most = generation_config.pad_token_id, (generation_config.max_length or 0) - prompt
    ends = {int(end) for one in stopping_criteria if type(one) is EosTokenCriteria for end in one.eos_token_id}
    cache, position, mask = inputs["past_key_values"], inputs["position_ids"][..., -1:], inputs.get("attention_mask")
    mask = (torch.ones_like(input_ids) if mask is None else mask)[:, :-1]  # of what the cache holds
    make_room(cache)
    vocabulary = cast(Any, model.get_output_embeddings()).out_features
    noise = Noise(rows, vocabulary, most, drafts.tokens, device)
    answers: list[list[int]] = [[] for _ in range(rows)]
    live, passes, last = list(range(rows)), 0, input_ids[:, -1].tolist()
    while live:
        done = min(len(answers[row]) for row in live)  # of the slowest
        guesses: list[list[int]] = [[] for _ in live]
        if drafts.tokens:
            for guess, row in zip(guesses, live, strict=True):
                depth = min(DEPTH, most - len(answers[row]) - 1, done + noise.window - 1 - len(answers[row]))
                _guess(drafts, questions[row], answers[row], noise, row, depth, guess)
        width = 1 + max(map(len, guesses))
        fed = torch.tensor(
            [
                [answers[row][-1] if answers[row] else last[row], *guess, *[pad] * (width - 1 - len(guess))]
                for row, guess in zip(live, guesses, strict=True)
            ],
            device=device,
        )
        which = torch.tensor(live, device=device)
        begun = torch.tensor([len(answers[row]) for row in live], device=device)
        places = begun[:, None] + torch.arange(width, device=device)
        mask = torch.cat([mask, mask.new_ones(len(live), width)], 1)
        logits = model(
            input_ids=fed,
            attention_mask=mask,
            position_ids=position + places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=width,
        ).logits.float()
        passes += 1
        scores = _processed(logits_processor, logits, input_ids, live, answers, guesses)
        furthest = max(len(answers[row]) + len(guess) for row, guess in zip(live, guesses, strict=True))
        # places behind a row's own guesses are looked at for nothing: any noise serves
        drawn = noise.at(which, places.clamp(max=furthest), furthest)
        said = (scores.softmax(-1) / drawn).argmax(-1).tolist()
        kept, going = [], []
        for number, (row, guess) in enumerate(zip(live, guesses, strict=True)):
            count = _take(answers[row], said[number], guess, ends, most)
            drafting.guessed += len(guess)
            drafting.held += count - 1
            kept.append(count)
            if answers[row][-1] not in ends and len(answers[row]) < most:
                going.append(number)
        drafting.in_vain += len(live) * width - sum(kept)
        longest = max(kept)
        mask = mask[:, : mask.shape[1] - width + longest]
        mask[:, -longest:] = (torch.arange(longest) < torch.tensor(kept)[:, None]).to(mask)
        cache.crop(longest - width)
        if len(going) < len(live):
            chosen = torch.tensor(going, dtype=torch.long, device=device)
            live, mask, position = [live[i] for i in going], mask[chosen], position.index_select(-2, chosen)
            if live:
                spread(cache, chosen)
    longest, every = max(map(len, answers)), LOOK.get(device.type, LOOK["cpu"])
    noise.leave(min(-(-longest // every) * every, most))
    drafting.passes, drafting.without = drafting.passes + passes, drafting.without + longest
    for question, answer in zip(questions, answers, strict=True):
        drafts.add(question, answer)
    padded = [answer + [pad] * (longest - len(answer)) for answer in answers]
    return torch.cat([input_ids, torch.tensor(padded, device=device)], 1)


def _guess(
    drafts: Drafts, question: Hashable, answer: list[int], noise: Noise, row: int, depth: int, guess: list[int]
) -> None:
    """Extend `guess`, what may follow `answer`, to at most `depth` tokens."""
    chance, tokens = 1.0, list(answer)
    while len(guess) < depth:
        found = drafts.guess(question, tokens, noise.of_seen(len(tokens))[row])
        if found is None or (chance := chance * found[1]) < LEAST:
            break
        guess.append(found[0])
        tokens.append(found[0])


def _take(answer: list[int], said: list[int], guess: list[int], ends: set[int], most: int) -> int:
    """Extend `answer` by what was said while the guesses before it hold; returns by how many tokens."""
    for count, token in enumerate(said[: len(guess) + 1], 1):
        answer.append(token)
        if token in ends or len(answer) >= most or count > len(guess) or guess[count - 1] != token:
            return count
    raise AssertionError("the token after the last guess always ends the loop")


def _processed(
    processor: Any,
    logits: Tensor,
    prompts: Tensor,
    live: list[int],
    answers: list[list[int]],
    guesses: list[list[int]],
) -> Tensor:
    """Scores [live, width, vocabulary]: each place as `processor` sees it with the tokens that stand before it.

    Places behind a row's guesses stay as they are. prompts, answers: of all rows; guesses: of those that `live`.
    """
    if processors.unseeing(processor):
        flat = logits.flatten(0, 1)
        return processor(flat.new_empty(len(flat), 0, dtype=torch.long), flat).view_as(logits)
    scores = logits.clone()
    for place in range(logits.shape[1]):
        for length in {len(answers[row]) for row in live}:
            same = [i for i, row in enumerate(live) if len(answers[row]) == length and len(guesses[i]) >= place]
            if same:
                rows = torch.tensor([live[i] for i in same], device=prompts.device)
                written = [answers[live[i]] + guesses[i][:place] for i in same]
                ids = torch.cat([prompts[rows], torch.tensor(written, dtype=torch.long).to(prompts.device)], 1)
                scores[same, place] = processors.scores(processor, ids, logits[same, place], rows, prompts)
    return scores
