"""Model families: every frame and every form of boxes comes back as it was written, whatever the image's shape."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_project import ROOT

from vrft_core.errors import InputError
from vrft_core.families import registry
from vrft_core.families.family import UNITS
from vrft_core.families.form import Form
from vrft_core.families.formats import FORMS, Native
from vrft_core.families.frames import named
from vrft_core.params import Hub, Policy
from vrft_core.params.recipes import Convention
from vrft_core.tasks import get_task, load_params, settings_models
from vrft_core.tasks.detection.prompts.questions import answered, asked
from vrft_core.tasks.task import Example, Written

MINI = load_params(ROOT / "params.yaml").recipes["mini"]
HUB = Hub(repo="owner/model", revision="0" * 40)
DETECTION, GROUNDING = get_task("detection"), get_task("grounding")
NATIVES = [Native(name, order) for name in FORMS for order in ("xyxy", "yxyx")]
SIDES = st.integers(30, 3000)
SHARES = st.lists(st.floats(0, 1), min_size=4, max_size=4)
NAMES = st.sampled_from(["cat", "stop sign", "octopus_(animal)", "Katze", "9"])
PIECES = ("{", "}", "[", "]", "(", ")", "<loc0012>", "<loc_7>", "<loc", '"bbox_2d":', '"box_2d": [', "<box>", "</ref>",
          '"label": "', "1", "-3", "999999", "1e999", "nan", "inf", ",", " ", "\\", "<think>", "</think>", "<answer>",
          "No Objects", "[]", "```json", "cat", "<|box_start|>", ";")  # fmt: skip


def corners(shares, width, height):
    (x1, x2), (y1, y2) = sorted(shares[:2]), sorted(shares[2:])
    return [x1 * width, y1 * height, x2 * width, y2 * height]


def native_form(thinking: bool = False, policy: Policy = MINI.policy) -> Form:
    prompts = MINI.prompts.model_copy(update={"thinking": thinking, "format": "native"})
    return Form.of(MINI.model_copy(update={"prompts": prompts, "policy": policy}))


def test_every_family_is_found_by_its_name_and_by_its_models():
    assert {"qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3.5", "paligemma", "florence-2", "glm-4v", "internvl"} <= set(
        registry.names()
    )
    for family in registry.everyone():
        assert registry.get(family.name) is family
        assert all(registry.of_model(kind) is family for kind in family.model_types)
    assert registry.of_model("no_such_model") is None


def test_an_unknown_family_is_refused_with_the_names_that_exist():
    with pytest.raises(InputError, match=r"no family 'qwen9'; known: .*qwen2\.5-vl"):
        registry.get("qwen9")


def test_every_family_names_classes_of_the_library():
    found = find_spec("transformers")
    assert found and found.origin
    models = Path(found.origin).parent / "models"
    processing = "".join(path.read_text(encoding="utf-8") for path in models.glob("*/processing_*.py"))
    for family in registry.everyone():
        for kind in family.model_types:
            assert (models / kind / f"modeling_{kind}.py").is_file()
        first = family.model_types[0]
        modeling = (models / first / f"modeling_{first}.py").read_text(encoding="utf-8")
        assert f"class {family.model_class}(" in modeling
        assert f"class {family.processor_class}(" in processing


@pytest.mark.parametrize("name", list(UNITS))
@given(width=SIDES, height=SIDES, shares=SHARES)
def test_a_box_comes_back_from_every_frame_within_two_of_its_steps(name, width, height, shares):
    frame = named(name, width, height, bounds=(3136, 401_408))
    box = corners(shares, width, height)
    exact = frame.to_pixels(frame.scale(box))
    assert exact == pytest.approx(box, abs=1e-6)
    said = frame.to_answer(box)
    assert 0 <= said[0] < said[2] <= frame.limit[0] and 0 <= said[1] < said[3] <= frame.limit[1]
    back = frame.to_pixels(said)
    assert 0 <= back[0] < back[2] <= width + 1e-6 and 0 <= back[1] < back[3] <= height + 1e-6
    step = width / frame.size[0] * frame.step, height / frame.size[1] * frame.step
    assert all(abs(new - old) <= 2.01 * step[i % 2] + 1e-6 for i, (new, old) in enumerate(zip(back, box, strict=True)))


def test_location_tokens_count_as_the_library_has_them():
    """Florence-2's post-processor reads a place at its middle; PaliGemma has 1024 places."""
    import torch
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor
    from transformers.models.paligemma.processing_paligemma import EXTRA_TOKENS

    processor = Florence2PostProcessor.__new__(Florence2PostProcessor)
    processor.quantize_bins = (1000, 1000)
    places = [12, 340, 567, 999]
    theirs = processor.dequantize(torch.tensor([places]), (640, 480))[0].tolist()
    assert [int(value) for value in named("0-999", 640, 480).to_pixels(places)] == theirs
    assert named("0-1023", 640, 480).limit[0] == sum(token.startswith("<loc") for token in EXTRA_TOKENS) - 1


@pytest.mark.parametrize("native", NATIVES, ids=lambda one: f"{one.name}-{one.order}")
@given(boxes=st.lists(st.lists(st.integers(0, 999), min_size=4, max_size=4), max_size=5), name=NAMES)
def test_what_a_form_writes_it_reads_without_complaint(native, boxes, name):
    said = native.read(native.write(boxes, name))
    assert said.reasons == () and said.says_none == (not boxes)
    assert [list(item.numbers) for item in said.items] == boxes
    assert all(item.label == name for item in said.items)


@pytest.mark.parametrize("native", NATIVES, ids=lambda one: f"{one.name}-{one.order}")
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
@settings(max_examples=60)
def test_no_text_breaks_a_reader_and_no_bad_box_comes_out(native, text):
    for task in (DETECTION, GROUNDING):
        read = task.answers.parse(text, (1000, 800), native)
        for detection in read.detections:
            x1, y1, x2, y2 = detection.box
            assert 0 <= x1 < x2 <= 1000 and 0 <= y1 < y2 <= 800 and not detection.stated
        assert read.detections or read.says_none or read.reasons


@pytest.mark.parametrize("native", NATIVES[::2], ids=lambda one: one.name)
@pytest.mark.parametrize(
    "piece", ["{", "[", "(", "(1,", "[[1,", "<loc0001>", "<loc_1", '"label": "\\\\', "a", "[1,2,3,4],", "<think>", " "]
)
def test_a_long_text_of_one_kind_is_read_at_once(native, piece):
    """Anything worse than linear time would not end."""
    DETECTION.answers.parse(piece * (100_000 // len(piece)), (1000, 1000), native)


def test_tokens_that_decoding_leaves_out_are_not_missed():
    assert Native("box_tags", "xyxy").read("cat(1,2),(30,40)").items[0].numbers == (1, 2, 30, 40)
    assert Native("ref_box", "xyxy").read("cat[[1, 2, 30, 40], [5, 6, 7, 8]]").items[1].label == "cat"
    said = Native("bbox_2d", "xyxy").read('```json\n[\n\t{"bbox_2d": [1, 2, 30, 40], "label": "cat"}\n]\n```')
    assert said.reasons == () and said.items[0].numbers == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ('[{"bbox_2d": [1, 2, 30, 40], "label": "cat"}, {"bbox_2d": [1, 2', ("truncated",)),
        ('Here: [{"bbox_2d": [1, 2, 30, 40], "label": "cat"}]', ("text_around",)),
        ("[{'Position': [1, 2, 30, 40], 'Confidence': 1.00}]", ("unparsable",)),
        ('[{"box_2d": [1, 2, 30, 40], "label": "cat"}]', ("unparsable",)),
        ("", ("empty_answer",)),
        ('[{"bbox_2d": [30, 2, 1, 40], "label": "cat"}]', ("box_inverted",)),
        ('[{"bbox_2d": [1, 2, 30, 4000], "label": "cat"}]', ("box_out_of_range",)),
        ('[{"bbox_2d": [1, 2, 30, 40], "label": "a"}, {"bbox_2d": [1, 2], "label": "b"}]', ("box_malformed",)),
        ('<answer>[{"bbox_2d": [1, 2, 30, 40], "label": "cat"}]</answer>', ("answer_tag",)),
        ('<think>one [{"bbox_2d": [1, 2, 30, 40], "label": "cat"}]', ("thought_not_closed", "empty_answer")),
    ],
)
def test_what_is_wrong_with_an_answer_is_named(text, reasons):
    assert DETECTION.answers.parse(text, (1000, 1000), Native("bbox_2d", "xyxy")).reasons == reasons


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("boxes", [[], [[20, 40, 600, 980], [0, 0, 1000, 1000]]])
def test_a_target_in_the_native_form_earns_everything(thinking, boxes):
    form = native_form(thinking)
    target = answered(boxes, [1.0] * len(boxes), "cat", form)
    completion = DETECTION.rewards.read(target, (1000, 1000), thinking, form.native)
    assert DETECTION.rewards.get("format")(completion, boxes) == 1.0
    assert DETECTION.rewards.get("iou")(completion, boxes) == 1.0


def test_a_thought_stands_before_the_answer_exactly_where_one_is_asked_for():
    body = '[{"bbox_2d": [1, 2, 30, 40], "label": "cat"}]'
    pays = DETECTION.rewards.get("format")
    native = Native("bbox_2d", "xyxy")
    for text, thinking, value in (
        (body, False, 1.0),
        (body, True, 0.0),
        (f"<think>1 cat</think>\n{body}", True, 1.0),
        (f"<think>1 cat</think>{body}", False, 0.0),
        (f"<think></think><think></think>{body}", True, 0.0),
    ):
        assert pays(DETECTION.rewards.read(text, (1000, 1000), thinking, native), []) == value


def test_a_question_in_the_native_form_shows_the_form_and_no_confidence():
    text = asked("cat", native_form())
    assert '[{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}]' in text and "return '[]'" in text
    assert "onfidence" not in text and "think" not in text
    assert "<think>" in asked("cat", native_form(thinking=True))


def test_a_prediction_in_the_native_form_is_ranked_by_the_tokens_that_spell_its_box():
    text = '[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]'
    places = [(i, i + 1) for i in range(len(text))]
    written = Written(text, places, [-0.1] * len(places), [0.2] * len(places), [0.0] * len(places))
    example = Example("1-1", 1, 200, 100, ROOT, "cat", "", "", '{"category_id": 1, "boxes": []}')
    row = DETECTION.answers.row(example, native_form(), written)
    assert row["boxes"] == [[20, 20, 60, 40]] and row["reasons"] == []
    assert 0 < row["rankings"]["certainty"][0] < 1


def test_pre_training_in_the_native_form_needs_only_its_own_words():
    from vrft_core.policy.tokenizer import build_tokenizer
    from vrft_core.tasks.detection.supervision import pieces

    form = native_form(thinking=True)
    tokenizer = build_tokenizer(["cat"], pieces(form), 20)
    target = answered([[20, 40, 600, 980]], [], "cat", form)
    assert tokenizer.decode(tokenizer(target)["input_ids"]) == target
    assert len(tokenizer(target)["input_ids"]) <= 12 and len(tokenizer(asked("cat", form))["input_ids"]) <= 8


def refusal(**changes) -> str:
    recipe = MINI.model_dump()
    for key, value in changes.items():
        recipe[key] = recipe[key] | value
    with pytest.raises(ValidationError) as caught:
        type(MINI).model_validate(recipe, context={"tasks": settings_models()})
    return caught.value.errors()[0]["msg"]


def test_what_the_native_form_cannot_give_is_refused_in_one_line():
    assert "needs the paper's answers" in refusal(prompts={"format": "native"})


def test_a_family_that_is_not_trained_here_is_refused():
    assert "not trained here yet" in refusal(policy={"family": "gemma-4"})


def test_a_convention_that_was_found_out_replaces_the_familys():
    policy = Policy(
        family="qwen3-vl", coordinate_step=1, min_pixels=3136, max_pixels=401_408, hub=HUB,
        convention=Convention(frame="original", order="yxyx", native="box_2d"),
    )  # fmt: skip
    form = native_form(policy=policy)
    assert form.units == "in pixels of the image, integer"
    assert form.frame(200, 100).limit == (200, 100)
    assert form.native and form.native.write([[1, 2, 3, 4]], "cat") == '[{"box_2d": [2, 1, 4, 3], "label": "cat"}]'


def test_the_documentation_lists_every_family_as_it_is():
    text = (ROOT / "docs/families.md").read_text(encoding="utf-8")
    rows = {row[1]: row for row in (line.split("|") for line in text.splitlines()) if len(row) == 8}
    for family in registry.everyone():
        _, _, _, order, native, trained, *_ = (cell.strip(" `") for cell in rows[f" {family.name} "])
        assert (native or None) == family.native and trained == ("yes" if family.trained else "no")
        assert order == (family.order if family.native else "")
