"""The data contracts: what the real stages make passes; each way of breaking it is found, and stops the run."""

import hashlib
import shutil
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from PIL import Image

from pipelines.checks import contracts
from pipelines.checks.validation import Verdict, validate
from vrft_core import data_frames, expectations, io
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.stages import run_stage
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]
CELL = Cell("mini", "lvis", shots=1, seed=0, data="embedded")
CAT, DOG = 1, 2
SPLITS = ["train"] * 14 + ["val", "eval"]


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def layout(clean, tmp_path) -> Layout:
    """A copy of the clean data that a test may break."""
    shutil.copytree(clean.root / "data", tmp_path / "data")
    return Layout(tmp_path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory, params) -> Layout:
    """Sixteen small images: a cat in every one, a dog in three; sampled and asked about by the real stages."""
    layout = Layout(tmp_path_factory.mktemp("clean"))
    directory = layout.raw(CELL)
    (directory / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, split in enumerate(SPLITS, 1):
        path = directory / "images" / f"{number}.png"
        Image.new("RGB", (112, 112), (number, 0, 0)).save(path)
        images.append(
            {"id": number, "file_name": path.name, "width": 112, "height": 112, "split": split,
             "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
             "neg_category_ids": [], "not_exhaustive_category_ids": []}
        )  # fmt: skip
        for category in (CAT, DOG) if number in (1, 2, 3) else (CAT,):
            box = [10.0 * category, 20.0, 30.0, 40.0]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category, "bbox": box,
                 "area": 1000.0, "segmentation": [[10, 20, 40, 20, 40, 60]], "iscrowd": 0}
            )  # fmt: skip
    categories = [
        {"id": id_, "name": name, "synset": f"{name}.n.01", "synonyms": [name], "def": "", "frequency": letter,
         "image_count": count, "instance_count": count}
        for id_, name, letter, count in ((CAT, "cat", "c", 14), (DOG, "dog", "r", 3))
    ]  # fmt: skip
    io.write_json(
        directory / "annotations.json",
        {"images": images, "annotations": annotations, "categories": categories, "info": {}, "licenses": []},
    )
    run_stage("few_shot", layout, params, CELL)
    run_stage("prompts", layout, params, CELL)
    return layout


def verdicts(stage: str, layout: Layout, params: Params) -> dict[str, Verdict]:
    return validate(*contracts.CONTRACTS[stage](layout, params, CELL))


def verdict(stage: str, check: str, layout: Layout, params: Params) -> Verdict:
    frames, suites = contracts.CONTRACTS[stage](layout, params, CELL)
    return validate({check: frames[check]}, {check: suites[check]})[check]


def critical(stage: str, layout: Layout, params: Params) -> set[str]:
    return {name for name, verdict in verdicts(stage, layout, params).items() if verdict.critical}


def edit(path: Path, change) -> None:
    data = io.read_json(path)
    change(data)
    io.write_json(path, data)


@pytest.mark.parametrize("stage", ["raw", "few_shot", "prompts"])
def test_what_the_stages_make_passes(stage, layout, params):
    results = verdicts(stage, layout, params)
    assert set(results) == set(contracts._descriptions("detection", stage))
    assert not [verdict for verdict in results.values() if not verdict.passed]
    assert all(verdict.rows for name, verdict in results.items() if name not in ("split_leaks", "leaks", "strays"))


def leak_by_content(data: dict) -> None:
    data["images"][15]["sha256"] = data["images"][0]["sha256"]


RAW_MUTATIONS = {
    "a duplicate image id": ("images", lambda d: d["images"][1].update(id=1)),
    "a field that is not there": ("images", lambda d: d["images"][1].pop("neg_category_ids")),
    "a file that is not there": ("images", lambda d: d["images"][1].update(file_name="nowhere.png")),
    "an unknown split": ("images", lambda d: d["images"][1].update(split="test")),
    "a hash that is none": ("images", lambda d: d["images"][1].update(sha256="abc")),
    "a box past the right edge": ("boxes", lambda d: d["annotations"][0].update(bbox=[90, 20, 30, 40])),
    "a box above the image": ("boxes", lambda d: d["annotations"][0].update(bbox=[10, -1, 30, 40])),
    "a box of zero width": ("boxes", lambda d: d["annotations"][0].update(bbox=[10, 20, 0, 40])),
    "an object without area": ("boxes", lambda d: d["annotations"][0].update(area=0)),
    "a duplicate annotation id": ("boxes", lambda d: d["annotations"][1].update(id=1)),
    "a box of an unknown image": ("boxes", lambda d: d["annotations"][0].update(image_id=99)),
    "a box of an unknown category": ("boxes", lambda d: d["annotations"][0].update(category_id=99)),
    "a wrong frequency letter": ("categories", lambda d: d["categories"][0].update(frequency="r")),
    "a wrong image count": ("categories", lambda d: d["categories"][0].update(image_count=13)),
    "two categories of one name": ("categories", lambda d: d["categories"][0].update(name="dog")),
    "a training image in eval by content": ("split_leaks", leak_by_content),
    "a training image in eval by id": ("split_leaks", lambda d: d["images"][15].update(id=1)),
}


@pytest.mark.parametrize("mutation", RAW_MUTATIONS)
def test_raw_data_may_not_have(mutation, layout, params):
    check, change = RAW_MUTATIONS[mutation]
    edit(layout.raw(CELL) / "annotations.json", change)
    assert verdict("raw", check, layout, params).critical


def test_small_objects_are_a_warning_that_stops_nothing(layout, params):
    edit(layout.raw(CELL) / "annotations.json", lambda d: [a.update(bbox=[10, 20, 2, 2]) for a in d["annotations"][:9]])
    boxes = verdict("raw", "boxes", layout, params)
    assert not boxes.passed and not boxes.critical


def chosen(layout: Layout, image_id: int) -> dict:
    (image,) = (i for i in io.read_json(layout.raw(CELL) / "annotations.json")["images"] if i["id"] == image_id)
    return {"image_id": image_id, "sha256": image["sha256"]}


def choose(layout: Layout, *image_ids: int) -> None:
    """Have the sample teach cats with just these images."""
    images = [chosen(layout, image_id) for image_id in image_ids]
    edit(layout.few_shot(CELL) / "selection.json", lambda d: d["categories"][0].update(images=images))


def test_one_shot_too_many_is_found(layout, params):
    choose(layout, 4, 5)
    assert critical("few_shot", layout, params) == {"counts"}


def test_one_shot_too_few_is_found(layout, params):
    choose(layout)
    assert critical("few_shot", layout, params) == {"counts"}


def test_a_category_that_nobody_asked_for_is_found(layout, params):
    stranger = {"id": 99, "name": "stranger", "frequency": "r", "images": [chosen(layout, 4)]}
    edit(layout.few_shot(CELL) / "selection.json", lambda d: d["categories"].append(stranger))
    assert "counts" in critical("few_shot", layout, params)


def test_an_evaluation_image_in_the_sample_is_found_by_its_id(layout, params):
    choose(layout, 16)
    assert critical("few_shot", layout, params) == {"leaks"}


def test_an_evaluation_image_in_the_sample_is_found_by_its_content_alone(layout, params):
    """The same image lies in both splits under two ids and two names."""
    images = layout.raw(CELL) / "images"
    (images / "5.png").write_bytes((images / "16.png").read_bytes())
    content = io.sha256(images / "5.png")
    edit(layout.raw(CELL) / "annotations.json", lambda d: d["images"][4].update(sha256=content))
    choose(layout, 5)
    assert critical("few_shot", layout, params) == {"leaks"}


def test_an_image_changed_after_sampling_is_found(layout, params):
    choose(layout, 5)
    Image.new("RGB", (112, 112), (0, 99, 0)).save(layout.raw(CELL) / "images" / "5.png")
    assert critical("few_shot", layout, params) == {"choices"}


def test_an_image_without_the_category_it_should_teach_is_found(layout, params):
    edit(
        layout.few_shot(CELL) / "selection.json",
        lambda d: d["categories"][1].update(images=[chosen(layout, 9)]),  # shows no dog
    )
    assert critical("few_shot", layout, params) == {"choices"}


def test_fewer_than_k_pass_only_where_the_recipe_takes_all_there_are(layout, params):
    from pipelines.checks.suites import suites

    def counts(shots: int, all_there_are: bool) -> Verdict:
        arguments = layout.few_shot(CELL), layout.raw(CELL), [DOG], shots, all_there_are
        frames = data_frames.few_shot(*arguments)
        return validate({"counts": frames["counts"]}, {"counts": suites(expectations.FEW_SHOT)["counts"]})["counts"]

    dogs = [chosen(layout, number) for number in (1, 2, 3)]
    edit(
        layout.few_shot(CELL) / "selection.json", lambda d: d.update(categories=[d["categories"][1] | {"images": dogs}])
    )
    assert counts(shots=10, all_there_are=True).passed
    assert not counts(shots=10, all_there_are=False).passed
    assert not counts(shots=2, all_there_are=True).passed, "all there are, yet never more than K"


def rewrite(layout: Layout, split: str, **columns) -> None:
    """Change the first example of a split."""
    (path,) = (layout.prompts(CELL) / split).glob("*.parquet")
    examples = pd.read_parquet(path)
    for name, value in columns.items():
        examples.loc[0, name] = value
    examples.to_parquet(path)


PROMPT_MUTATIONS = {
    "a box outside the frame": ("boxes", "train", {"truth": '{"boxes": [[100.0, 200.0, 1001.0, 300.0]]}'}),
    "an inverted box": ("boxes", "train", {"truth": '{"boxes": [[500.0, 200.0, 100.0, 300.0]]}'}),
    "a box too many": ("examples", "train", {"truth": '{"boxes": [[1.0, 2.0, 30.0, 40.0], [50.0, 60.0, 70.0, 80.0]]}'}),
    "an answer that says other boxes": ("examples", "train", {"answer": "<answer>No Objects</answer>"}),
    "an answer that cannot be read": ("examples", "train", {"answer": "[{'Position': [1, 2"}),
    "an image of the evaluation split": ("strays", "val", {"image_id": 16}),
    "a training pair that was never chosen": ("strays", "train", {"id": "9-1"}),
}


@pytest.mark.parametrize("mutation", PROMPT_MUTATIONS)
def test_prompts_may_not_have(mutation, layout, params):
    check, split, columns = PROMPT_MUTATIONS[mutation]
    rewrite(layout, split, **columns)
    assert verdict("prompts", check, layout, params).critical


def test_the_verdict_names_rule_column_and_values(layout, params):
    edit(layout.raw(CELL) / "annotations.json", lambda d: d["annotations"][0].update(bbox=[90, 20, 30, 40]))
    (line,) = verdict("raw", "boxes", layout, params).broken
    assert "image_width x2" in line and "120" in line


def test_data_docs_are_written(layout, params, tmp_path):
    validate(*contracts.CONTRACTS["raw"](layout, params, CELL), pages=tmp_path / "docs")
    assert "expect_column_values_to_be_unique" not in (tmp_path / "docs/index.html").read_text()
    pages = list((tmp_path / "docs/validations").rglob("*.html"))
    assert {page.relative_to(tmp_path / "docs/validations").parts[0] for page in pages} == set(
        contracts._descriptions("detection", "raw")
    )


@pytest.mark.slow
def test_a_broken_contract_stops_everything_downstream_in_dagster(tmp_path):
    """A leaked image, planted after sampling: the contract fails and no prompt is ever written."""
    from small_project import small_project

    from pipelines.definitions import build_definitions

    root = small_project(tmp_path / "project")
    definitions = build_definitions(root)
    job = definitions.resolve_job_def("lvis")
    with dg.instance_for_test() as instance:
        select = [dg.AssetKey(f"lvis_{name}") for name in ("raw", "few_shot")]
        first = job.execute_in_process(instance=instance, partition_key="mini-1shot-s0", asset_selection=select)
        assert first.success

        def leak(data: dict) -> None:
            source = io.read_json(root / "data/raw/lvis-embedded/annotations.json")
            held_out = next(image for image in source["images"] if image["split"] == "eval")
            data["categories"][0]["images"] = [{"image_id": held_out["id"], "sha256": held_out["sha256"]}]

        edit(root / "data/few_shot/lvis-mini-1shot-s0/selection.json", leak)
        from pipelines.dvc_project import DvcProject

        DvcProject(root=str(root)).commit("few_shot@lvis-mini-1shot-s0")  # someone who vouches for it
        second = job.execute_in_process(
            instance=instance,
            partition_key="mini-1shot-s0",
            asset_selection=[*select, dg.AssetKey("lvis_prompts")],
            raise_on_error=False,
        )
    assert not second.success
    failed = {e.check_name for e in second.get_asset_check_evaluations() if not e.passed}
    assert failed == {"choices", "leaks"}
    made = {e.asset_key.path[-1] for e in second.get_asset_materialization_events()}
    assert made == {"lvis_raw", "lvis_few_shot"}
    assert not (root / "data/prompts").exists()
