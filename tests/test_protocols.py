"""The paper's protocols as benchmarks, recipes and cells: what they name is right, data of another size is refused."""

import json
import shutil
from pathlib import Path

import official_layouts as layouts
import pytest
from served_sources import official_server, server_with_photos, sizes  # noqa: F401 - fixtures
from small_policy import STEPS, small_recipe, taught_policy
from small_project import edit_params

from pipelines.checks.contracts import CONTRACTS
from pipelines.checks.validation import validate
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands import paper
from vrft_core.commands.add import add
from vrft_core.errors import InputError
from vrft_core.examples import write_examples
from vrft_core.report.paper import load as printed
from vrft_core.sources import boxes, coco, flowers102, lvis, lvisovd, virft
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.detection.prompts.presence import read_map
from vrft_core.training import sft
from vrft_core.training.loop import describe, train

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "params.yaml")
LVIS_CATEGORIES = ROOT / "../shared/data/lvis_v1_categories.json"
NOVEL = {
    "mouse", "fork", "hot dog", "cat", "airplane", "suitcase", "parking meter", "sandwich", "train", "hair drier",
    "toilet", "toaster", "snowboard", "frisbee", "bear",
}  # fmt: skip


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "project").mkdir()
    shutil.copy(ROOT / "params.yaml", tmp_path / "project")
    return tmp_path / "project"


def test_the_tables_have_the_cells_that_the_paper_prints():
    counts = {table: sum(len(shots) for _, _, shots in rows) for table, rows in paper.TABLES.items()}
    assert counts == {2: 20, 3: 6, 4: 2, 6: 4, 7: 2, 8: 2}
    for table in printed()["tables"]:
        if table["table"] in (2, 3, 4):
            rows = {(r["policy"], r["shots"]) for r in table["rows"] if r["method"] == "rft"}
            assert {(recipe, k) for _, recipe, shots in paper.TABLES[table["table"]] for k in shots} == rows


def test_all_of_them_fit_into_the_grid_and_none_is_in_it_as_shipped(root):
    assert {cell.recipe for cell in PARAMS.cells()} == {"mini"}
    add(root, "paper", seeds=[0])
    assert len(load_params(root / "params.yaml").cells()) == len(PARAMS.cells()) + 36


def test_base_and_novel_categories_are_cocos_80():
    base = PARAMS.benchmarks["coco-ovd"].taught
    assert len(base) == len(set(base)) == 65
    assert not set(base) & NOVEL
    assert PARAMS.benchmarks["lvis-ovd"].taught == base
    assert PARAMS.benchmarks["coco-ovd"].categories is None


@pytest.mark.skipif(not LVIS_CATEGORIES.is_file(), reason="needs ../shared/data/lvis_v1_categories.json")
@pytest.mark.parametrize(("name", "number"), [("lvis-rare", 6), ("lvis-ovd", 13), ("lvis-rare-published", 6)])
def test_the_rare_categories_are_categories_of_lvis_and_rare(name, number):
    rows = json.loads(LVIS_CATEGORIES.read_text(encoding="utf-8"))
    rows = rows["categories"] if isinstance(rows, dict) else rows
    rare = {row["name"] for row in rows if row["frequency"] == "r"}
    chosen = PARAMS.benchmarks[name].categories
    assert len(set(chosen)) == number
    assert set(chosen) <= rare


@pytest.mark.parametrize(
    ("name", "first"),
    [("flowers102", "a plant. Please identify the species of the plant"),
     ("pets37", "a pet. Please identify the species of the pet"),
     ("aircraft100", "an aircraft. Please identify the model of the aircraft"),
     ("cars196", "a car. Please identify the model of the car")],
)  # fmt: skip
def test_each_classification_set_has_its_own_question(name, first):
    from vrft_core.tasks.classification.prompts.questions import question

    assert question(PARAMS.benchmarks[name].subject, thinking=True).startswith(f"This is an image containing {first}")


@pytest.mark.parametrize(
    ("name", "images"),
    [("flowers102", 2463), ("pets37", 3669), ("aircraft100", 3333), ("cars196", 8041), ("coco", 5000),
     ("reasonseg-first", 779), ("reasonseg-first-val", 200)],
)  # fmt: skip
def test_the_sizes_of_the_evaluation_splits_are_stated(name, images):
    assert PARAMS.benchmarks[name].expect["eval"] == images
    if name + "-published" in PARAMS.benchmarks:
        assert PARAMS.benchmarks[name + "-published"].expect["eval"] == images


# --- through the stages ----------------------------------------------------------------------------------------------


def stage(root: Path, name: str, cell: str) -> int:
    return main(["--root", str(root), "stage", name, "--cell", cell])


@pytest.fixture
def flowers(server, monkeypatch):
    layouts.publish(monkeypatch, server, flowers102, layouts.flowers())
    monkeypatch.setattr(flowers102, "CLASSES", flowers102.CLASSES[:3])
    return server


def test_a_split_of_another_size_is_refused_in_one_line_and_leaves_nothing(root, flowers, capsys):
    add(root, "flowers102", "qwen2-vl-2b", [1], [0])

    assert stage(root, "raw", "flowers102-official") == 2

    error = capsys.readouterr().err.splitlines()[-1]
    assert "benchmarks.flowers102.expect.eval: found 6, the protocol has 2463; check `settings`" in error
    assert not (root / "data/raw/flowers102-official").exists()


def test_every_class_is_sampled_whatever_its_frequency(root, flowers):
    edit_params(root, lambda p: p["benchmarks"]["flowers102"].update(expect={"eval": 6}))
    edit_params(root, lambda p: p["recipes"]["qwen2-vl-2b"]["few_shot"].update(frequencies=["f"]))
    add(root, "flowers102", "qwen2-vl-2b", [1], [0])

    for name, cell in (("raw", "flowers102-official"), ("few_shot", "flowers102-qwen2-vl-2b-1shot-s0")):
        assert stage(root, name, cell) == 0

    selection = json.loads((root / "data/few_shot/flowers102-qwen2-vl-2b-1shot-s0/selection.json").read_text())
    assert [len(row["images"]) for row in selection["categories"]] == [1, 1, 1]


@pytest.mark.slow
def test_a_published_set_is_taken_whole_and_passes_the_checks(root, flowers, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", flowers.address)
    flowers.files["/datasets/laolao77/ViRFT_CLS_flower_4_shot/resolve/main/data/train-00000-of-00001.parquet"] = (
        layouts.virft_flowers(12)
    )
    few = virft.Set("ViRFT_CLS_flower_4_shot", 1, 12, flowers102, virft.COOP)
    monkeypatch.setitem(virft.SETS, "flowers-4-shot", few)
    edit_params(root, lambda p: p["benchmarks"]["flowers102-published"].update(expect={"eval": 6}))
    add(root, "flowers102-published", "qwen2-vl-2b-published", [2], [0])
    key = "flowers102-published-qwen2-vl-2b-published-2shot-s0"

    for name, cell in (("raw", "flowers102-published-official"), ("few_shot", key), ("prompts", key)):
        assert stage(root, name, cell) == 0

    params = load_params(root / "params.yaml")
    selection = json.loads((root / f"data/few_shot/{key}/selection.json").read_text())
    assert sum(len(row["images"]) for row in selection["categories"]) == 12, "though the cell says 2 shots"
    for name in ("raw", "few_shot", "prompts"):
        frames, suites = CONTRACTS[name](Layout(root), params, params.parse_cell(key))
        broken = {n: v.broken for n, v in validate(frames, suites, root / "docs").items() if v.broken and v.critical}
        assert broken == {}, name


def test_a_recipe_for_published_sets_refuses_others_and_names_those_there_are(root):
    with pytest.raises(InputError, match="coco has none; take coco-published, lvis-rare-published"):
        add(root, "coco", "qwen2-vl-2b-published", [4], [0])


def test_an_open_vocabulary_trains_on_cocos_categories_and_evaluates_lviss(photos, tmp_path, monkeypatch):
    layouts.publish(monkeypatch, photos, lvis, layouts.lvis())
    names = ["horse_buggy", "die"]
    settings = lvisovd.Settings(taught=["person", "cat"], categories=names, validation=0.25)

    lvisovd.write(tmp_path / "raw", settings, tmp_path / "cache")

    found = Annotations.load(tmp_path / "raw/annotations.json")
    official = Annotations.load(_written(lvis, boxes.Settings(categories=names), tmp_path / "lvis", tmp_path))
    taught = {i for i in found.split("train").images for i in found.category_ids(i)}
    scored = {i for i in found.split("eval").images for i in found.category_ids(i)}
    assert taught == {1, 17}
    assert scored
    assert min(scored) > lvisovd.APART
    assert sizes(found)["eval"] == sizes(official)["eval"]
    for image_id, image in official.split("eval").images.items():
        same = found.images[image_id]
        assert same["neg_category_ids"] == [i + lvisovd.APART for i in image["neg_category_ids"]]
        assert found.by_image[image_id]
        assert not {1, 17} & set(found.category_ids(image_id))


def _written(source, settings, directory: Path, tmp_path: Path) -> Path:
    source.write(directory, settings, tmp_path / "cache")
    return directory / "annotations.json"


def test_no_photo_of_lviss_evaluation_is_trained_on(photos, tmp_path, monkeypatch):
    """LVIS's val has photos of COCO's train2017."""
    layouts.publish(monkeypatch, photos, lvis, layouts.lvis())
    content = coco.content

    def shared(settings, cache):
        made, images = content(settings, cache)
        evaluated = lvis.content(boxes.Settings(categories=["horse_buggy", "die"]), cache)[0].images
        made.images[0]["id"] = next(row["id"] for row in evaluated if row["split"] == "eval")
        return made, images

    monkeypatch.setattr(coco, "content", shared)
    settings = lvisovd.Settings(taught=["person"], categories=["horse_buggy", "die"], validation=0)
    made, _ = lvisovd.content(settings, tmp_path / "cache")

    ids = [row["id"] for row in made.images]
    assert len(ids) == len(set(ids))
    assert sum(row["split"] == "train" for row in made.images) == sizes_of(content, tmp_path) - 1


def sizes_of(content, tmp_path: Path) -> int:
    made, _ = content(boxes.Settings(categories=["person"], validation=0), tmp_path / "cache")
    return sum(row["split"] == "train" for row in made.images)


# --- presence maps, and trainings without validation images ----------------------------------------------------------


def test_the_authors_maps_name_categories_that_a_benchmark_leaves_out(tmp_path):
    truth = Annotations.from_dict(
        {"images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": [{"id": 6, "name": "bus"}]}
    )
    path = tmp_path / "exist_map_coco_Qwen2_vl_2B_baseline.json"
    path.write_text(json.dumps({"1": ["person", "bus"], "2": ["person"], "3": []}))

    assert read_map(path, truth, others=True) == {1: [6], 2: []}
    with pytest.raises(InputError, match="no category is called 'person'"):
        read_map(path, truth)
    path.write_text(json.dumps({"1": ["horse_buggy"], "2": []}))
    with pytest.raises(InputError, match="names none of the categories"):
        read_map(path, truth, others=True)


@pytest.mark.slow
def test_without_validation_images_the_last_checkpoint_is_kept_and_choosing_is_refused(tmp_path):
    task = get_task("detection")
    taught_policy(tmp_path / "policy", tmp_path / "prompts")
    shutil.rmtree(tmp_path / "prompts/val")
    write_examples(tmp_path / "prompts/val", [])

    def trained(checkpoint: str):
        recipe = small_recipe()
        recipe = recipe.model_copy(update={"sft": recipe.sft.model_copy(update={"checkpoint": checkpoint})})
        run = tmp_path / "run" / checkpoint
        maker = sft.make_trainer(recipe, task, run, 7)
        places = {"policy": tmp_path / "policy", "prompts": tmp_path / "prompts", "run": run}
        return recipe, train(maker, recipe.sft, recipe, task, **places, seed=7, what="sft", log=lambda *_: None)

    recipe, record = trained("last")
    assert {row["score"] for row in record.validation} == {None}
    assert describe(record, recipe.sft, STEPS)["steps"] == STEPS
    with pytest.raises(InputError, match="no rows"):
        trained("validation")
