"""What boxes can be ranked by, on answers small enough to count by hand."""

import math

import pytest
from small_policy import detection_tokenizer

from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.evaluation.predict import _places as places
from vrft_core.tasks.detection.answers import agree, token_scores
from vrft_core.tasks.detection.metrics.combined import fit
from vrft_core.tasks.detection.metrics.ranking import by_truth, ranked
from vrft_core.tasks.detection.prompts.questions import answer
from vrft_core.tasks.task import Written

TOKENIZER = detection_tokenizer(["cat"])
FIRST, SECOND = (0, 20, 100, 40), (60, 80, 100, 120)


def scores(text: str, boxes, logprobs=None, entropies=None, nothing=None) -> dict:
    """`nothing`: of each token, the probability of the one that would say there is nothing."""
    tokens = TOKENIZER(text)["input_ids"]
    spelled = places(TOKENIZER, tokens, text)
    seen = (logprobs or [-0.5] * len(tokens), entropies or [0.25] * len(tokens), nothing or [0.0] * len(tokens))
    written = Written(text, spelled, *seen)
    return token_scores(written, boxes)


def token_of(text: str, piece: str) -> int:
    pieces = [TOKENIZER.decode([token]) for token in TOKENIZER(text)["input_ids"]]
    return pieces.index(piece)


def test_likelihood_is_the_geometric_mean_of_the_coordinates_probabilities():
    text = answer([FIRST, SECOND], [1.0, 0.5], "2 cat")
    probability = [0.9] * len(TOKENIZER(text)["input_ids"])
    for piece, value in (("60, ", 0.5), ("80, ", 0.8), ("100, ", 0.9), ("120", 0.2)):
        places_of = [i for i, t in enumerate(TOKENIZER(text)["input_ids"]) if TOKENIZER.decode([t]) == piece]
        probability[places_of[-1]] = value
    found = scores(text, [FIRST, SECOND], [math.log(p) for p in probability])
    assert found["likelihood"] == pytest.approx([0.9, (0.5 * 0.8 * 0.9 * 0.2) ** 0.25], abs=1e-6)


def test_what_is_not_a_coordinate_of_the_box_does_not_count():
    text = answer([FIRST, SECOND], [1.0, 0.5], "2 cat")
    surprising = [-0.1] * len(TOKENIZER(text)["input_ids"])
    for piece in ("2 ", "1.00", "60, ", "120", "0.50", "}]</answer>"):
        surprising[token_of(text, piece)] = -9.0
    assert scores(text, [FIRST], surprising)["likelihood"] == pytest.approx([math.exp(-0.1)], abs=1e-6)


def test_certainty_falls_with_the_entropy_of_the_coordinates():
    found = scores(answer([FIRST], [1.0], "1 cat"), [FIRST])
    assert found["certainty"] == pytest.approx([math.exp(-0.25)], abs=1e-6)


def test_certainty_falls_with_the_chance_that_the_thought_had_begun_with_nothing_there():
    text = answer([FIRST], [1.0], "1 cat")
    nothing = [0.0] * len(TOKENIZER(text)["input_ids"])
    nothing[token_of(text, "1 ")] = 0.2
    nothing[token_of(text, "cat")] = 0.9  # decided by then
    found = scores(text, [FIRST], nothing=nothing)
    assert found["certainty"] == pytest.approx([0.8 * math.exp(-0.25)], abs=1e-6)
    assert found["likelihood"] == scores(text, [FIRST])["likelihood"]


def test_a_number_spelled_in_several_tokens_counts_as_one_coordinate():
    text = "[{'Position': [1, 21, 1234, 41], 'Confidence': 0.5}]"  # numbers off the grid are spelled in digits
    start = text.index("1, 21")
    tokens = TOKENIZER(text)["input_ids"]
    inside = [i for i, (a, b) in enumerate(places(TOKENIZER, tokens, text)) if start <= a and b <= start + 15]
    logprobs = [-1.0 if i in inside else 0.0 for i in range(len(tokens))]
    assert len(inside) > 4
    assert scores(text, [(1, 21, 1234, 41)], logprobs)["likelihood"] == [round(math.exp(-len(inside) / 4), 6)]


def test_of_a_box_named_twice_the_first_counts_and_a_box_not_written_out_ranks_last():
    text = answer([FIRST, FIRST], [0.5, 1.0], None)
    logprobs = [-0.1] * len(TOKENIZER(text)["input_ids"])
    logprobs[-3] = -9.0
    assert scores(text, [FIRST, SECOND], logprobs)["likelihood"] == [round(math.exp(-0.1), 6), 0.0]


@pytest.mark.parametrize("text", ["", "Käse 猫 [1, 2", "<think>é</think><answer>[{'Position': [0, 20, 100, 40]}]"])
def test_every_token_has_a_place_and_the_places_cover_the_text(text):
    tokens = TOKENIZER(text)["input_ids"]
    spelled = places(TOKENIZER, tokens, text)
    assert len(spelled) == len(tokens)
    assert [start for start, _ in spelled[1:]] == [end for _, end in spelled[:-1]]
    assert not tokens or (spelled[0][0], spelled[-1][1]) == (0, len(text))


def test_consistency_is_the_mean_overlap_with_sampled_answers():
    own, half, away = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]
    assert consistency([own, away], [[own], [half, away], []]) == pytest.approx([(1 + 0.5) / 3, 1 / 3], abs=1e-6)
    assert consistency([], [[own]]) == []


def consistency(boxes: list, drawn: list[list]) -> list[float]:
    """The ranking that sampled answers with the boxes `drawn` give to an answer with `boxes`."""
    row = {"boxes": boxes, "rankings": {}}
    agree(row, [{"boxes": sampled} for sampled in drawn])
    return row["rankings"]["consistency"]


def test_ranked_rows_carry_the_chosen_scores_and_keep_all_else():
    row = {"boxes": [[0, 0, 1, 1]], "scores": [1.0], "rankings": {"likelihood": [0.25]}}
    assert ranked([row], "likelihood") == [row | {"scores": [0.25]}]
    assert ranked([row], "stated") == [row]
    with pytest.raises(InputError, match="no scores called 'certainty'"):
        ranked([row], "certainty")


def row(image_id: int, box: list[float], stated: float, certainty: float) -> dict:
    rankings = {"likelihood": [0.5], "certainty": [certainty]}
    return {"image_id": image_id, "category_id": 1, "boxes": [box], "scores": [stated], "rankings": rankings}


def test_combined_learns_on_training_images_what_foretells_a_good_box():
    images = range(1, 9)
    objects = [{"image_id": i, "category_id": 1, "bbox": [0, 0, 10, 10]} for i in images]
    truth = Annotations.from_dict(
        {"images": [{"id": i} for i in images], "categories": [{"id": 1}], "annotations": objects}
    )
    rows = [row(i, [0, 0, 10, 10], 0.5, 0.9) if i % 2 else row(i, [8, 0, 18, 10], 0.9, 0.2) for i in images]
    combined = fit(rows, truth)
    (sure,), (unsure,) = combined(row(1, [0, 0, 10, 10], 0.5, 0.9)), combined(row(1, [0, 0, 10, 10], 0.9, 0.2))
    assert 0 <= unsure < 0.5 < sure <= 1
    assert combined({"boxes": [], "scores": [], "rankings": {"likelihood": [], "certainty": []}}) == []


def test_combined_ranks_nothing_where_the_training_images_showed_it_no_box():
    truth = Annotations.from_dict({"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": []})
    assert fit([], truth)(row(1, [0, 0, 10, 10], 1.0, 0.9)) == [0.0]


def test_the_oracle_ranks_by_the_best_overlap_with_an_object_of_the_category():
    truth = Annotations.from_dict(
        {
            "images": [{"id": 1}],
            "categories": [{"id": 1}, {"id": 2}],
            "annotations": [
                {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]},
                {"image_id": 1, "category_id": 2, "bbox": [50, 50, 10, 10]},
            ],
        }
    )
    row = {"image_id": 1, "category_id": 1, "boxes": [[50, 50, 60, 60], [0, 0, 10, 5]], "scores": [1.0, 0.5]}
    assert by_truth([row], truth)[0]["scores"] == [0.0, 0.5]
