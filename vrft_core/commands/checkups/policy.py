"""Is the policy able to: questions and answers that fit, names it can spell, first answers to learn from."""

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from vrft_core import policy
from vrft_core.commands.cell_examples import Subject, spread
from vrft_core.commands.checkups.finding import FAIL, OK, WARN, Finding, graded
from vrft_core.errors import InputError
from vrft_core.evaluation.decoding import complete
from vrft_core.families.family import SMALL_CELL
from vrft_core.policy import curriculum
from vrft_core.policy.processor import load_processor

PROMPTS, ANSWERS = 8, 8
MANY = 6  # tokens of a name: one that costs more is hard to spell for a model that has not seen it
ROUND = 40  # tokens of the chat template around a question, at most


def lengths(subject: Subject) -> Finding:
    """The longest training question and answer in tokens, against the limits of the recipe."""
    tokenizer, recipe = _tokenizer(subject), subject.recipe
    examples = subject.examples(subject.pairs)
    asked = max(len(_ids(tokenizer, one.question)) for one in examples) + ROUND
    answered = max(len(_ids(tokenizer, one.answer)) for one in examples)
    image = recipe.policy.max_pixels // (subject.token_side or SMALL_CELL) ** 2
    context = getattr(tokenizer, "model_max_length", None) or 0
    said = f"at most {image} image, {asked} question and {answered} answer tokens"
    for limit, where in (
        (recipe.rft.max_completion_length, "rft.max_completion_length"),
        (recipe.evaluation.max_new_tokens, "evaluation.max_new_tokens"),
    ):
        if answered > limit:
            return Finding(
                FAIL, f"{said}; {where} cuts answers at {limit}", f"raise recipes.{subject.cell.recipe}.{where}"
            )
    room = recipe.rft.max_completion_length
    if 0 < context < image + asked + room:
        return Finding(FAIL, f"{said}: more than the {context} that the model reads", "lower policy.max_pixels")
    if answered > 0.8 * room:
        return Finding(WARN, f"{said}, of {room} that an answer may have", "raise rft.max_completion_length")
    return Finding(OK, f"{said}; an answer may have {room}")


def names(subject: Subject) -> Finding:
    """Labels that the tokenizer does not know, or, where they are names, splits into many pieces."""
    tokenizer = _tokenizer(subject)
    pieces = {one.label: _ids(tokenizer, f" {one.label}") for one in subject.examples(spread(subject.pairs, 10**6))}
    unknown = sorted(name for name, ids in pieces.items() if tokenizer.unk_token_id in ids and ids)
    if unknown:
        said = f"{len(unknown)} of {len(pieces)} labels are not in the policy's vocabulary: {unknown[0]!r}"
        return Finding(FAIL, said, "take a recipe whose policy reads any text, such as qwen2-vl-2b")
    if subject.task.checks.LABELS == "expressions":
        return Finding(OK, f"every word of {len(pieces)} expressions is in the policy's vocabulary")
    longest = max(pieces, key=lambda name: (len(pieces[name]), name))
    many = [name for name, ids in pieces.items() if len(ids) > MANY]
    said = f"{len(many)} of {len(pieces)} labels take more than {MANY} tokens; {longest!r} takes {len(pieces[longest])}"
    remedy = (
        "the names may be as they are: this small policy spells whatever its drawn scenes do not show; "
        "a recipe with a real model, such as qwen2-vl-2b, knows more words"
        if subject.recipe.policy.pretraining
        else "give these categories common, short names, or take a policy that knows them"
    )
    return Finding(WARN if len(many) > 0.1 * len(pieces) else OK, said, remedy)


def first_answers(subject: Subject) -> Finding:
    """Eight answers of the untouched policy to each of eight questions: do they differ in reward, how good is the best?

    Groups whose answers all have equal rewards teach nothing; RFT cannot find what no answer ever finds. Silence about
    what is absent, and the form, are paid as well, so a policy that finds nothing earns something, too.
    """
    weights = subject.layout.policy(subject.cell)
    if not (Path(weights) / "config.json").is_file():
        raise InputError(weights, "no such file", f"make it: vrft stage policy --cell {subject.cell.recipe}")
    torch.set_num_threads(subject.recipe.threads)
    groups = answered(subject, *policy.load(weights))
    totals = [group.rewards for group in groups]
    about = [group.found for group in groups if group.found is not None]
    alike = fmean(max(group) - min(group) < 1e-9 for group in totals)
    best, mean = fmean(max(group) for group in totals), fmean(fmean(group) for group in totals)
    whole = sum(subject.settings.rewards.values())
    said = (
        f"{alike:.0%} of {len(totals)} groups of {ANSWERS} answers have equal rewards; mean reward {mean:.2f}, "
        f"best of a group {best:.2f} on average, at most {whole:g} is possible"
    )
    if best <= 0:
        return Finding(FAIL, f"{said}: no answer earns anything", "start from SFT, or from a stronger policy")
    if about and not any(about):
        return Finding(
            FAIL,
            f"{said}; this model finds nothing: no answer to {len(about)} questions about what is there is right",
            "take a larger recipe (docs/choose-a-model.md): RFT would only teach this one to say that nothing is there",
        )
    said += f"; something is found for {sum(about)} of {len(about)} questions about what is there" if about else ""
    remedy = "raise rft.num_generations or temperature, set rft.resample, or take harder or easier questions"
    return Finding(FAIL if alike == 1 else graded(alike, 0.5, 1), said, remedy)


class Group(NamedTuple):
    """The total reward of each answer to a question, and whether one finds what is there; None: nothing is."""

    rewards: list[float]
    found: bool | None


def answered(subject: Subject, model: Any, processor: Any) -> list[Group]:
    """By question; the answers are drawn at temperature 1, the same ones each time."""
    rewards, form = subject.task.rewards, subject.form
    groups = []
    for number, example in enumerate(subject.examples(spread(subject.pairs, PROMPTS))[:PROMPTS]):
        (answers,) = complete(
            model, processor, [example.picture()], [[example.question] * ANSWERS], batch_size=ANSWERS,
            max_new_tokens=subject.recipe.rft.max_completion_length,
            generator=torch.Generator(model.device).manual_seed(number),
        )  # fmt: skip
        limit, truth = form.frame(example.width, example.height).limit, rewards.truth(example.truth)
        texts = [processor.tokenizer.decode(tokens, skip_special_tokens=True) for tokens, *_ in answers]
        read = [rewards.read(text, limit=limit, thinking=form.thinking, native=form.native) for text in texts]
        for one in read:
            one.group = read
        weights = subject.settings.rewards
        totals = [sum((rewards.get(n)(one, truth) or 0) * w for n, w in weights.items()) for one in read]
        there = subject.task.checks.LABELS == "classes" or subject.task.commands.boxes(example, form)
        right = any((rewards.get(rewards.EARNED[0])(one, truth) or 0) > 0 for one in read)
        groups.append(Group(totals, right if there else None))
    return groups


def _tokenizer(subject: Subject) -> Any:
    """The policy's own; while a small one is not made yet, the one that it will have. Raises InputError without."""
    weights = subject.layout.policy(subject.cell)
    if (Path(weights) / "tokenizer_config.json").is_file():
        return load_processor(weights).tokenizer
    if taught := curriculum.subjects(subject.params, subject.recipe):
        return curriculum.tokenizer(taught, subject.recipe)
    raise InputError(weights, "no such file", f"make it: vrft stage policy --cell {subject.cell.recipe}")


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
