"""Are the data able to: enough evaluation images, boxes that can be seen, no copies, no contradictions."""

import math

from vrft_core import near_duplicates as looks
from vrft_core.annotations import SPLITS
from vrft_core.commands.cell_examples import Subject
from vrft_core.commands.checkups.enough import HOPED, half, images_for, seen_once
from vrft_core.commands.checkups.finding import FAIL, OK, WARN, Finding, graded
from vrft_core.commands.init_categories import some
from vrft_core.families.frames import named

MANY = 100_000  # answers: four times what the recipe `mini` takes for its own detection data


def evaluation_images(subject: Subject) -> Finding:
    """Half the paired 95 % interval that so many images will give (`enough`), against the difference hoped for."""
    images = len(subject.annotations.split("eval").images)
    known = half(images)
    level = graded(known, HOPED / 2, HOPED)
    return Finding(
        level,
        f"{images} evaluation images: differences are known to about ± {known:.1f} points",
        f"to see differences of {HOPED:.0f} points evaluate on {images_for(HOPED)} images or more, "
        f"of {HOPED / 2:.0f} points on {images_for(HOPED / 2)} or more",
    )


def categories(subject: Subject) -> Finding:
    """Categories whose numbers rest on a single evaluation image, or on none."""
    truth = subject.annotations
    chosen = truth.chosen(subject.benchmark.categories)
    few = seen_once(truth, chosen)
    if not few:
        return Finding(OK, f"each of {len(chosen)} categories is in at least two evaluation images")
    said = f"{len(few)} of {len(chosen)} categories are in one evaluation image at most: {some(few)}"
    return Finding(WARN, said, "evaluate on more images of them: with one image a number is chance")


def questions(subject: Subject) -> Finding:
    """How often models are asked in all: the time that a cell takes besides its training steps.

    Three models answer the evaluation questions. Both trainings answer the validation questions before the first step
    and at each checkpoint.
    """
    settings, recipe, truth = subject.settings, subject.recipe, subject.annotations
    categories, prompts = truth.chosen(subject.benchmark.categories), subject.task.prompts
    evaluated = len(prompts.questions(truth.split("eval"), categories, settings, subject.layout.root))
    images = truth.split("val").first(recipe.evaluation.validation_images)
    validated = len(prompts.validation(images, categories, settings))
    times = sum(1 + math.ceil(one.steps / one.save_steps) for one in (recipe.sft, recipe.rft))
    answers = 3 * evaluated * (1 + settings.samples) + times * validated * (1 + settings.validation_samples)
    said = (
        f"{answers:,} answers: three models to {evaluated:,} evaluation questions, and {validated:,} validation "
        f"questions {times} times"
    )
    remedy = "name fewer categories, lower evaluation.validation_images, or raise save_steps: each answer takes time"
    return Finding(WARN if answers > MANY else OK, said, remedy)


def box_sizes(subject: Subject) -> Finding:
    """Training boxes whose shorter side is less than one visual patch once the processor has resized the image.

    A token is made of two patches each way.
    """
    if (side := subject.token_side) is None:
        return Finding(OK, "not measured: this family shows its model every image in one size")
    sides, patch = [], side // 2
    policy = subject.recipe.policy
    for example in subject.examples(subject.pairs):
        bounds = policy.min_pixels, policy.max_pixels
        wide, high = named("resized", example.width, example.height, 1, side, bounds).limit
        x, y = wide / example.width, high / example.height
        boxes = subject.task.commands.boxes(example, subject.form)
        sides += [min((x2 - x1) * x, (y2 - y1) * y) for x1, y1, x2, y2 in boxes]
    if not sides:
        return Finding(OK, "the answers name no boxes")
    small = sum(one < patch for one in sides)
    said = f"{small} of {len(sides)} training boxes are narrower than a visual patch ({patch} px after resizing)"
    remedy = "raise policy.max_pixels, cut the images into tiles, or leave these boxes out"
    return Finding(graded(small / len(sides), 0.05, 0.5), f"{said}; the smallest is {min(sides):.0f} px", remedy)


def near_duplicates(subject: Subject) -> Finding:
    """Images that are trained on and look like one that is evaluated; equal pixels were left out before."""
    truth = subject.annotations
    chosen = dict.fromkeys(image for image, _ in subject.pairs)
    ours, theirs = (
        {truth.images[i]["file_name"]: looks.fingerprint(subject.images / truth.images[i]["file_name"]) for i in ids}
        for ids in (chosen, truth.split("eval").images)
    )
    found = looks.alike(ours, theirs)
    if not found:
        return Finding(OK, f"none of {len(ours)} training images looks like one of {len(theirs)} evaluation images")
    first, second, _ = found[0]
    said = f"{len({mine for mine, *_ in found})} of {len(ours)} training images look like an evaluation image"
    return Finding(WARN, f"{said}: {first} and {second}", "look at them; leave one of each pair out")


def contradictions(subject: Subject) -> Finding:
    """Labels that cannot all be right: in the few-shot images they teach nonsense, elsewhere they cost points."""
    chosen = {image for image, _ in subject.pairs}
    found = subject.task.commands.contradictions(subject.annotations)
    if not found:
        return Finding(OK, f"none in the labels of {len(subject.annotations.images)} images ({', '.join(SPLITS)})")
    taught = [one for one in found if one[0] & chosen]
    said = f"{len(found)} in the labels, {len(taught)} of them in few-shot images: {(taught or found)[0][1]}"
    return Finding(FAIL if taught else WARN, said, "correct the annotations")
