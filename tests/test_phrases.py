"""The embedded data source of grounding: expressions, each with one target box or none."""

import functools
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_length
from pydantic import ValidationError

from vrft_core import annotations
from vrft_core.errors import InputError
from vrft_core.params import PhraseScenes
from vrft_core.sources.scenes import backgrounds, grouping, phrases
from vrft_core.sources.scenes.glyphs import vocabulary
from vrft_core.sources.scenes.grouping import Placed, expressions

ROOT = Path(__file__).parents[1]
NAMES = ["cat", "dog", "bear", "cow", "bird", "fish", "horse", "tiger", "wolf"]
SETTINGS = PhraseScenes(
    image_size=112, images={"train": 120, "val": 20, "eval": 60}, categories=NAMES, expressions=4, absent=0.125, seed=3
)
SPLITS = ("train", "val", "eval")
GROUPED = {"left", "right", "top", "bottom", "larger", "smaller", "colour", "relation"}


@functools.cache
def drawn_of(split: str) -> list[phrases.PhraseScene]:
    return [phrases.scene(SETTINGS, split, i) for i in range(60)]


@functools.cache
def everything_said() -> list[tuple[phrases.PhraseScene, grouping.Expression]]:
    return [(d, said) for split in ("eval", "pretraining") for d in drawn_of(split) for said in d.expressions]


def with_(**changes) -> PhraseScenes:
    return PhraseScenes.model_validate(SETTINGS.model_dump() | changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("phrases") / "raw"
    phrases.write(directory, SETTINGS)
    return directory


@pytest.fixture(scope="module")
def data(written) -> dict:
    return json.loads((written / "annotations.json").read_text())


def digest(directory: Path) -> str:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f.relative_to(directory)).encode() + f.read_bytes() for f in files)).hexdigest()


def middle(thing) -> tuple[float, float]:
    x1, y1, x2, y2 = thing.box
    return (x1 + x2) / 2, (y1 + y2) / 2


# What is said of a scene


def test_an_expression_has_one_target_among_its_candidates_or_none_at_all():
    for drawn, said in everything_said():
        if said.kind == "none":
            assert said.target is None
            assert said.chance == 0
        else:
            category = drawn.objects[said.target].category
            same = tuple(i for i, thing in enumerate(drawn.objects) if thing.category == category)
            assert said.candidates == same
            assert said.target in same
            assert said.chance == 1 / len(same)


def test_what_speaks_of_place_size_colour_or_relation_has_distractors_of_its_category():
    counts = Counter(len(said.candidates) for _, said in everything_said() if said.kind in GROUPED)
    assert set(counts) == {2, 3}
    assert counts[3] > 0.2 * counts.total()
    assert {len(said.candidates) for _, said in everything_said() if said.kind in ("only", "definition")} == {1}
    assert all(len(drawn.objects) > len(said.candidates) for drawn, said in everything_said())


def test_the_only_object_is_named_or_defined():
    for drawn, said in everything_said():
        if said.kind in ("only", "definition"):
            name = drawn.objects[said.target].category
            assert said.text == (f"the {name}" if said.kind == "only" else grouping.definitions()[name])
            assert [thing.category for thing in drawn.objects].count(name) == 1


@pytest.mark.parametrize(("kind", "axis", "sign"), [("left", 0, 1), ("right", 0, -1), ("top", 1, 1), ("bottom", 1, -1)])
def test_a_place_is_clearly_the_targets(kind, axis, sign):
    asked = [(drawn, said) for drawn, said in everything_said() if said.kind == kind]
    for drawn, said in asked:
        target = drawn.objects[said.target]
        assert said.text == f"the {kind} {target.category}"
        others = [sign * middle(drawn.objects[i])[axis] for i in said.candidates if i != said.target]
        assert min(others) - sign * middle(target)[axis] >= 0.12 * 112
    assert asked


@pytest.mark.parametrize("kind", ["larger", "smaller"])
def test_a_size_is_clearly_the_targets(kind):
    asked = [(drawn, said) for drawn, said in everything_said() if said.kind == kind]
    for drawn, said in asked:
        area = int(drawn.objects[said.target].mask.sum())
        others = [int(drawn.objects[i].mask.sum()) for i in said.candidates if i != said.target]
        assert (area >= 1.6 * max(others)) if kind == "larger" else (1.6 * area <= min(others))
        word = kind if len(others) == 1 else {"larger": "largest", "smaller": "smallest"}[kind]
        assert said.text == f"the {word} {drawn.objects[said.target].category}"
    assert {len(said.candidates) for _, said in asked} == {2, 3}


def test_a_relation_holds_for_the_target_and_clearly_not_for_the_others():
    sides = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}
    heard = Counter()
    for drawn, said in everything_said():
        if said.kind == "relation":
            words = said.text.split(" the ")
            side = words[0].split(" ", 2)[2]
            heard[side] += 1
            axis, sign = sides[side]
            [other] = [thing for thing in drawn.objects if thing.category == words[1]]
            distance = {i: sign * (middle(other)[axis] - middle(drawn.objects[i])[axis]) for i in said.candidates}
            assert distance.pop(said.target) >= 0.12 * 112
            assert max(distance.values()) <= -0.12 * 112
            assert words[0].split(" ")[1] == drawn.objects[said.target].category
    assert set(heard) == set(sides)


def test_a_colour_is_the_targets_own():
    asked = [(drawn, said) for drawn, said in everything_said() if said.kind == "colour"]
    for drawn, said in asked:
        colour = np.array(grouping.COLOURS[said.text.split(" ")[1]], float)
        seen = {i: np.percentile(drawn.image[drawn.objects[i].mask], 75, axis=0) for i in said.candidates}
        alike = {i: pixel @ colour / np.linalg.norm(pixel) / np.linalg.norm(colour) for i, pixel in seen.items()}
        assert max(alike, key=alike.get) == said.target
    assert {said.text.split(" ")[1] for _, said in asked} == set(grouping.COLOURS)


def test_what_is_absent_is_not_there():
    heard = Counter()
    for drawn, said in everything_said():
        if said.kind == "none":
            present = {thing.category for thing in drawn.objects}
            named = [word for word in said.text.split(" ") if word in NAMES]
            defined = [name for name, text in grouping.definitions().items() if text == said.text]
            if any(word in grouping.COLOURS for word in said.text.split(" ")):
                heard["colour"] += 1
                colours = {e.text.split(" ")[1] for e in drawn.expressions if e.kind == "colour"}
                assert named[0] in present
                assert said.text.split(" ")[1] not in colours
                assert {drawn.objects[i].category for i in said.candidates} == {named[0]}
            else:
                heard["defined" if defined else "named"] += 1
                assert (named + defined)[0] not in present
                assert said.candidates == ()
    assert set(heard) == {"colour", "defined", "named"}


def test_no_expression_where_the_difference_is_small():
    def two(dx=0.0, dy=0.0, area=100, colour=None):
        cats = [Placed("cat", (50.0, 50.0), 100, "red"), Placed("cat", (50.0 + dx, 50.0 + dy), area, colour)]
        return [*cats, Placed("dog", (50.0 + dx / 2, 50.0), 100, None)]

    assert [e.text for e in expressions("left", two(dx=13.5), 112)] == ["the left cat"]
    assert expressions("left", two(dx=13), 112) == expressions("right", two(dx=-13), 112) == []
    assert expressions("top", two(dy=13), 112) == expressions("bottom", two(dy=-13), 112) == []
    assert [e.target for e in expressions("larger", two(area=160), 112)] == [1]
    assert expressions("larger", two(area=159), 112) == expressions("smaller", two(area=159), 112) == []
    assert expressions("colour", two(colour="red"), 112) == expressions("colour", two(colour=None), 112) == []
    assert [e.text for e in expressions("colour", two(colour="blue"), 112)] == ["the red cat", "the blue cat"]
    assert expressions("relation", two(dx=26), 112) == []
    assert [e.text for e in expressions("relation", two(dx=27), 112)] == [
        "the cat left of the dog",
        "the cat right of the dog",
    ]


# Scenes


def test_masks_are_modal_and_boxes_their_extent():
    for drawn in [*drawn_of("eval"), *drawn_of("pretraining")]:
        assert np.sum([thing.mask for thing in drawn.objects], axis=0).max() == 1
        for thing in drawn.objects:
            rows, columns = np.nonzero(thing.mask)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_kinds_are_spread_evenly_and_no_scene_is_asked_one_twice():
    assert all(
        len({said.kind for said in drawn.expressions}) == 4 for drawn in [*drawn_of("eval"), *drawn_of("pretraining")]
    )
    counts = Counter(said.kind for drawn in drawn_of("eval") for said in drawn.expressions)
    assert counts.pop("none") == 30
    assert set(counts) == set(phrases.PRESENT)
    assert max(counts.values()) - min(counts.values()) <= 6


def test_all_or_none_of_the_expressions_may_lack_a_target():
    assert all(
        e.kind == "none" for i in range(5) for e in phrases.scene(with_(expressions=1, absent=1), "eval", i).expressions
    )
    assert all(e.kind != "none" for i in range(5) for e in phrases.scene(with_(absent=0), "eval", i).expressions)


def test_every_kind_can_be_asked_of_one_scene():
    drawn = phrases.scene(with_(expressions=10, absent=0), "eval", 0)
    assert {said.kind for said in drawn.expressions} == set(phrases.PRESENT)


def test_the_mirror_swaps_left_and_right_and_nothing_else():
    for drawn in [*drawn_of("eval"), *drawn_of("pretraining")]:
        seen = phrases.mirrored(drawn)
        assert (seen.image == drawn.image[:, ::-1]).all()
        for thing in seen.objects:
            rows, columns = np.nonzero(thing.mask)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        for said, before in zip(seen.expressions, drawn.expressions, strict=True):
            assert said.target == before.target
            if said.kind in ("left", "right"):
                middles = {i: middle(seen.objects[i])[0] for i in said.candidates}
                first = min if said.kind == "left" else max
                assert said.target == first(middles, key=middles.get)
                assert said.text == f"the {said.kind} {seen.objects[said.target].category}"
        again = phrases.mirrored(seen)
        assert again.expressions == drawn.expressions


def test_splits_share_no_image_and_no_photograph(monkeypatch):
    used, original = defaultdict(set), backgrounds._photograph
    images = Counter()
    for split in (*SPLITS, "pretraining"):
        monkeypatch.setattr(
            backgrounds, "_photograph", lambda name, split=split: used[split].add(name) or original(name)
        )
        images.update(phrases.scene(SETTINGS, split, i).image.tobytes() for i in range(20))
    assert set(images.values()) == {1}
    assert used["pretraining"] <= set(backgrounds.PHOTOGRAPHS["train"])
    assert all(used[split] for split in SPLITS)
    assert not (used["train"] & used["val"] or used["train"] & used["eval"] or used["val"] & used["eval"])


def test_a_split_ends_and_pretraining_does_not():
    with pytest.raises(IndexError):
        phrases.scene(SETTINGS, "eval", 60)
    assert phrases.scene(SETTINGS, "pretraining", 123_456).expressions


# A written data set


@pytest.mark.slow
def test_the_same_settings_write_the_same_bytes_in_another_process(written, tmp_path):
    code = (
        "import sys, pathlib; from vrft_core.params import PhraseScenes; from vrft_core.sources.scenes import phrases;"
        "phrases.write(pathlib.Path(sys.argv[1]), PhraseScenes.model_validate_json(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again"), SETTINGS.model_dump_json()],
        check=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    assert digest(tmp_path / "again") == digest(written)


def test_another_seed_draws_other_scenes():
    assert (phrases.scene(SETTINGS, "val", 0).image != phrases.scene(with_(seed=4), "val", 0).image).any()


def test_an_annotation_is_an_expression_of_its_image(written, data):
    names = {row["id"]: row["name"] for row in data["categories"]}
    index = annotations.Annotations.from_dict(data)
    for split in SPLITS:
        for number, image in enumerate([image for image in data["images"] if image["split"] == split][:20]):
            drawn = phrases.scene(SETTINGS, split, number)
            with Image.open(written / "images" / image["file_name"]) as file:
                assert (np.asarray(file) == drawn.image).all()
            rows = index.by_image[image["id"]]
            assert len({row["category_id"] for row in rows}) == len(rows) == 4
            for row, said in zip(rows, drawn.expressions, strict=True):
                assert (names[row["category_id"]], row["expression"]) == (said.kind, said.text)
                assert row["chance"] == said.chance
                assert row["objects"] == len(drawn.objects)
                boxes = [list(drawn.objects[i].box) for i in said.candidates]
                assert list(map(annotations.xyxy, row["candidates"])) == boxes
                mask = run_length.decode(row["segmentation"])
                assert mask.shape == (112, 112)
                assert row["area"] == mask.sum()
                assert row["iscrowd"] == 0
                assert row["absent"] == (said.kind == "none")
                if row["absent"]:
                    assert (row["bbox"], row["area"]) == ([0, 0, 0, 0], 0)
                else:
                    assert annotations.xyxy(row["bbox"]) == list(drawn.objects[said.target].box)
                    assert (mask == drawn.objects[said.target].mask).all()


def test_the_kinds_are_the_categories_counted_in_train(data):
    train = {image["id"] for image in data["images"] if image["split"] == "train"}
    counts = Counter(row["category_id"] for row in data["annotations"] if row["image_id"] in train)
    assert [row["name"] for row in data["categories"]] == list(phrases.KINDS)
    for row in data["categories"]:
        assert row["image_count"] == row["instance_count"] == counts[row["id"]]
        assert row["frequency"] == annotations.frequency(counts[row["id"]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [*NAMES, "unicorn"]}, "'unicorn' has no glyph or no definition"),
        ({"categories": [*NAMES, "cat"]}, "'cat' is named twice"),
        ({"categories": [*NAMES, "owl"]}, "'the bird' also fits 'owl'"),
        ({"categories": NAMES[:4]}, "4 are too few"),
    ],
)
def test_impossible_settings_are_refused_by_name_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        phrases.write(tmp_path / "raw", with_(**changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expressions": 11, "absent": 0}, "less than or equal to 10"),
        ({"expressions": 4, "absent": 0.3}, "expressions × absent: at most 1"),
    ],
)
def test_more_questions_than_an_image_can_have_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        with_(**changes)


# The table


def test_every_definition_is_of_a_category_with_a_glyph_and_names_none():
    table = grouping.definitions()
    assert set(table) <= set(vocabulary())
    assert len(set(table.values())) == len(table)
    names = {word for name in table for word in grouping.spoken(name).split(" ")}
    assert not names & {word for text in table.values() for word in text.split(" ")}


def test_no_word_ends_one_definition_and_goes_on_in_another():
    # A tokenizer would take the space after it for its own.
    texts = [text.split(" ") for text in grouping.definitions().values()]
    assert not {text[-1] for text in texts} & {word for text in texts for word in text[:-1]}


def test_a_name_is_said_without_underscores_and_remarks():
    assert grouping.spoken("octopus_(animal)") == "octopus"
    assert grouping.spoken("giant_panda") == "giant panda"


@pytest.mark.slow
def test_a_scene_takes_less_than_ten_milliseconds():
    phrases.scene(SETTINGS, "eval", 0)

    def seconds() -> float:
        start = time.process_time()
        for index in range(60):
            phrases.scene(SETTINGS, "eval", index)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) / 60 < 0.01
