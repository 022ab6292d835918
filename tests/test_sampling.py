"""Few-shot samples: exactly K, nested, reproducible, and never an image that is held out."""

import copy
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrft_core import sampling
from vrft_core.annotations import Annotations, frequency
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.io import read_json, write_json
from vrft_core.params import FewShot
from vrft_core.stages.few_shot import few_shot
from vrft_core.tasks import load_params

REFUSE = FewShot(frequencies=["r", "c"], when_short="refuse")
ALL = FewShot(frequencies=["r", "c"], when_short="all")


def source(splits: list[str], shown: list[set[int]], not_exhaustive: list[set[int]] | None = None) -> Annotations:
    """Image i + 1 is in `splits[i]` and shows the categories `shown[i]`; letters follow the train split."""
    not_exhaustive = not_exhaustive or [set() for _ in splits]
    names = sorted(set().union(*shown))
    counts = {c: sum(split == "train" and c in s for split, s in zip(splits, shown, strict=True)) for c in names}
    return Annotations.from_dict(
        {
            "images": [
                {
                    "id": i,
                    "width": 64,
                    "height": 48,
                    "file_name": f"{split}/{i}.png",
                    "split": split,
                    "sha256": f"{i:064x}",
                    "neg_category_ids": [],
                    "not_exhaustive_category_ids": sorted(odd),
                }
                for i, (split, odd) in enumerate(zip(splits, not_exhaustive, strict=True), 1)
            ],
            "categories": [
                {"id": c, "name": f"thing {c}", "frequency": frequency(counts[c]), "image_count": counts[c]}
                for c in names
            ],
            "annotations": [
                {"id": 100 * i + c, "image_id": i, "category_id": c, "bbox": [1.0, 2.0, 3.0, 4.0]}
                for i, s in enumerate(shown, 1)
                for c in sorted(s)
            ],
        }
    )


@st.composite
def sources(draw) -> Annotations:
    """Up to 40 images over three splits and five categories; some pairs are not exhaustively annotated."""
    size = draw(st.integers(1, 40))
    categories = st.sets(st.integers(1, 5))
    return source(
        draw(st.lists(st.sampled_from(["train", "train", "val", "eval"]), min_size=size, max_size=size)),
        [s | {1} for s in draw(st.lists(categories, min_size=size, max_size=size))],
        draw(st.lists(categories, min_size=size, max_size=size)),
    )


def enough(annotations: Annotations, shots: int) -> list[dict]:
    usable = sampling.usable_images(annotations)
    return [c for c in annotations.categories.values() if len(usable[c["id"]]) >= shots]


def chosen(selection: dict) -> dict[int, list[int]]:
    return {c["id"]: [image["image_id"] for image in c["images"]] for c in selection["categories"]}


@settings(deadline=None)  # time is no property: the machine may be busy
@given(sources(), st.sampled_from([1, 2, 4, 8]), st.integers(0, 99))
def test_every_category_gets_exactly_k_distinct_training_images_that_show_it_and_are_exhaustive(
    annotations, shots, seed
):
    categories = enough(annotations, shots)

    selection = sampling.choose(annotations, categories, REFUSE, shots, seed)

    assert [c["id"] for c in selection["categories"]] == [c["id"] for c in categories]
    for category, images in chosen(selection).items():
        assert len(images) == len(set(images)) == shots
        for image in images:
            assert annotations.images[image]["split"] == "train"
            assert category in annotations.category_ids(image)
            assert category not in annotations.images[image]["not_exhaustive_category_ids"]


@settings(deadline=None)
@given(sources(), st.integers(0, 99))
def test_with_one_seed_the_images_for_fewer_shots_are_the_first_of_those_for_more(annotations, seed):
    ladder = [chosen(sampling.choose(annotations, enough(annotations, 1), ALL, k, seed)) for k in (1, 2, 4, 8, 16)]

    for fewer, more in itertools.pairwise(ladder):
        for category, images in fewer.items():
            assert more[category][: len(images)] == images


@pytest.mark.slow
@settings(deadline=None)
@given(sources(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(annotations, rng):
    shuffled = copy.deepcopy(annotations.to_dict())
    for rows in shuffled.values():
        rng.shuffle(rows)
    categories = enough(annotations, 2)

    one = sampling.choose(annotations, categories, REFUSE, 2, 0)
    other = sampling.choose(Annotations.from_dict(shuffled), categories, REFUSE, 2, 0)

    assert one == other
    assert sampling.subset(annotations, one) == sampling.subset(Annotations.from_dict(shuffled), other)


def test_different_seeds_choose_different_images_and_each_candidate_has_its_turn():
    annotations = source(["train"] * 20, [{1}] * 20)

    firsts = {
        chosen(sampling.choose(annotations, [annotations.categories[1]], REFUSE, 1, seed))[1][0] for seed in range(200)
    }

    assert firsts == set(range(1, 21))


def test_a_category_with_too_few_images_is_refused_with_what_it_has_what_is_wanted_and_what_to_do():
    annotations = source(["train"] * 3 + ["val"] * 9, [{7}] * 12)

    with pytest.raises(InputError) as refusal:
        sampling.choose(annotations, [annotations.categories[7]], REFUSE, 8, 0)

    assert str(refusal.value) == (
        "params.yaml: category 'thing 7' has 3 usable training images, 8 shots need 8; ask for fewer shots, "
        "leave the category out of `categories`, or set few_shot.when_short to `all`"
    )


def test_when_short_all_takes_all_there_are():
    annotations = source(["train"] * 3 + ["val"], [{7}] * 4)

    selection = sampling.choose(annotations, [annotations.categories[7]], ALL, 8, 0)

    assert sorted(chosen(selection)[7]) == [1, 2, 3]


def test_when_short_all_still_refuses_a_category_without_any_image():
    annotations = source(["train", "eval"], [{1}, {7}])

    with pytest.raises(InputError, match=r"'thing 7' has 0 usable training images"):
        sampling.choose(annotations, [annotations.categories[7]], ALL, 1, 0)


@pytest.mark.parametrize("split", ["val", "eval"])
def test_a_training_image_whose_bytes_are_also_held_out_is_refused_by_name(split):
    annotations = source(["train", split], [{1}, {1}])
    annotations.images[2]["sha256"] = annotations.images[1]["sha256"]

    with pytest.raises(InputError, match=rf"image 1 \(train/1.png\) for 'thing 1' is also the {split} image 2"):
        sampling.choose(annotations, [annotations.categories[1]], REFUSE, 1, 0)


def test_a_selection_that_holds_an_evaluation_image_by_id_is_refused_by_name():
    annotations = source(["train", "eval"], [{1}, {1}])
    selection = sampling.choose(annotations, [annotations.categories[1]], REFUSE, 1, 0)
    selection["categories"][0]["images"][0]["image_id"] = 2

    with pytest.raises(InputError, match="training image 2"):
        sampling.refuse_leaks(annotations, selection)


def test_copies_of_one_image_count_once():
    annotations = source(["train"] * 3, [{1}] * 3)
    annotations.images[3]["sha256"] = annotations.images[1]["sha256"]

    assert sampling.usable_images(annotations) == {1: [1, 2]}


def test_the_subset_holds_each_image_once_and_only_the_annotations_it_was_chosen_for():
    annotations = source(["train"] * 2, [{1, 2}, {1}])
    selection = sampling.choose(annotations, [annotations.categories[1]], REFUSE, 2, 0)

    subset = sampling.subset(annotations, selection)

    assert [image["id"] for image in subset["images"]] == [1, 2]
    assert [(row["image_id"], row["category_id"]) for row in subset["annotations"]] == [(1, 1), (2, 1)]


def test_categories_are_chosen_by_letter_or_by_name():
    annotations = source(["train"] * 111, [{1, 2, 3}] * 5 + [{1, 2}] * 50 + [{1}] * 56)

    assert [c["id"] for c in sampling.targets(annotations, ["r", "c"])] == [2, 3]
    assert [c["id"] for c in sampling.targets(annotations, ["r", "c"], ["thing 1"])] == [1]
    with pytest.raises(InputError, match="'thing 9'"):
        sampling.targets(annotations, ["r"], ["thing 1", "thing 9"])


def test_the_stage_writes_the_same_bytes_whatever_the_order_of_the_source(tmp_path):
    annotations = source(["train"] * 12 + ["eval"] * 2, [{1, 2}] * 14)
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    cell = Cell("mini", "lvis", 1, 0, data="embedded")
    written = []
    for number in range(2):
        layout, data = Layout(tmp_path / str(number)), annotations.to_dict()
        random.Random(number).shuffle(data["images"])
        write_json(layout.raw(cell) / "annotations.json", data)
        numbers = few_shot(layout, params, cell)
        written.append([(layout.few_shot(cell) / f"{name}.json").read_bytes() for name in ("selection", "annotations")])

    assert written[0] == written[1]
    assert numbers == {
        "images": numbers["images"], "pairs": 2, "negatives": 0, "categories": 2, "shots": 1, "seed": 0,
    }  # fmt: skip
    assert numbers["images"] in (1, 2)
    selection = read_json(layout.few_shot(cell) / "selection.json")
    assert (selection["seed"], selection["shots"]) == (0, 1)
