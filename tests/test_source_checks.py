"""The data contracts of every source: what it writes from official files passes, and each way of breaking it is found.

Every contract is blocking: `pipelines.checks.contracts`; that it stops a run is shown in `test_checks`.
"""

from collections.abc import Callable
from pathlib import Path

import official_layouts as layouts
import pytest
from own_data import init, project
from served_sources import official_server, server_with_photos, server_with_tables  # noqa: F401 - fixtures

from pipelines.checks.contracts import _descriptions
from pipelines.checks.suites import suites
from pipelines.checks.validation import Verdict, validate
from vrft_core import data_frames, expectations, io, sources
from vrft_core.cli import main
from vrft_core.sources import (
    aircraft100,
    boxes,
    cars196,
    coco,
    flowers102,
    lvis,
    lvisovd,
    pets37,
    reasonseg,
    refcoco,
    rf20vl,
    virft,
)  # fmt: skip
from vrft_core.tasks import get_task

Write = Callable[[Path, pytest.FixtureRequest, pytest.MonkeyPatch], None]


def _coco(raw, request, monkeypatch):
    request.getfixturevalue("photos")
    coco.write(raw, coco.Settings(), raw.parent / "cache")


def _lvis(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("photos"), lvis, layouts.lvis())
    lvis.write(raw, lvis.Settings(), raw.parent / "cache")


def _lvisovd(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("photos"), lvis, layouts.lvis())
    lvisovd.write(raw, lvisovd.Settings(taught=["person"], categories=["die"]), raw.parent / "cache")


def _flowers(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("server"), flowers102, layouts.flowers())
    monkeypatch.setattr(flowers102, "CLASSES", flowers102.CLASSES[:3])
    flowers102.write(raw, flowers102.Settings(splits="coop"), raw.parent / "cache")


def _pets(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("server"), pets37, layouts.pets())
    pets37.write(raw, pets37.Settings(), raw.parent / "cache")


def _aircraft(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("server"), aircraft100, layouts.aircraft())
    aircraft100.write(raw, aircraft100.Settings(), raw.parent / "cache")


def _cars(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("server"), cars196, layouts.cars())
    cars196.write(raw, cars196.Settings(splits="coop"), raw.parent / "cache")


def _reasonseg(raw, request, monkeypatch):
    layouts.publish(monkeypatch, request.getfixturevalue("server"), reasonseg, layouts.reasonseg())
    monkeypatch.setattr(reasonseg, "IMAGES", {"train": 4, "val": 3, "test": 2})
    reasonseg.write(raw, reasonseg.Settings(box="first"), raw.parent / "cache")


def _refcoco(raw, request, monkeypatch):
    request.getfixturevalue("tables")
    refcoco.write(raw, refcoco.Settings(), raw.parent / "cache")


def _virft(raw, request, monkeypatch):
    running = request.getfixturevalue("photos")
    layouts.publish(monkeypatch, running, lvis, layouts.lvis())
    monkeypatch.setenv("HF_ENDPOINT", running.address)
    name = "/datasets/laolao77/ViRFT_LVIS_few_shot/resolve/main/data/train-00000-of-00001.parquet"
    running.files[name] = layouts.virft_lvis(5)
    chosen = boxes.Settings(categories=["horse_buggy", "die"], validation=0)
    monkeypatch.setitem(virft.SETS, "lvis-few-shot", virft.Set("ViRFT_LVIS_few_shot", 1, 5, lvis, chosen))
    virft.write(raw, virft.Settings(dataset="lvis-few-shot"), raw.parent / "cache")


def _rf20vl(raw, request, monkeypatch):
    running = request.getfixturevalue("server")
    monkeypatch.setenv("VRFT_MIRROR_RF20VL", f"{running.address}/rf20vl")
    running.files["/rf20vl/roboflow20vl-fsod-bees-v2.zip"] = layouts.roboflow()
    rf20vl.write(raw, rf20vl.Settings(project="bees", version=2), raw.parent / "cache")


def _own(raw, request, monkeypatch):
    root = project(raw.parent / "project")
    assert init(root) == 0
    assert main(["--root", str(root), "stage", "raw", "--cell", "my-data-own"]) == 0
    (root / "data/raw/my-data-own").rename(raw)


def drop_evaluation(data: dict) -> None:
    data["images"] = [row for row in data["images"] if row["split"] != "eval"]
    left = {row["id"] for row in data["images"]}
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] in left]


def more_than_official(data: dict) -> None:
    """More training images than LVIS counts of a category."""
    row = max(data["categories"], key=lambda one: one["image_count"])
    row.update(image_count=0, frequency="r")


# source → task, how it is written, and what is broken: the check that finds it, the change
SOURCES: dict[str, tuple[str, Write, str, Callable[[dict], object]]] = {
    "coco": ("detection", _coco, "boxes", lambda d: d["annotations"][0].update(category_id=90)),
    "lvis": ("detection", _lvis, "categories", lambda d: d["categories"][0].update(frequency="f")),
    "lvisovd": ("detection", _lvisovd, "sizes", drop_evaluation),
    "flowers102": ("classification", _flowers, "sizes", lambda d: d["categories"].pop()),
    "pets37": ("classification", _pets, "labels", lambda d: d["annotations"].append(dict(d["annotations"][0]))),
    "aircraft100": ("classification", _aircraft, "images", lambda d: d["images"][0].update(height=0)),
    "cars196": (
        "classification", _cars, "names", lambda d: d["categories"][0].update(synonyms=[d["categories"][1]["name"]])
    ),
    "reasonseg": ("grounding", _reasonseg, "expressions", lambda d: d["annotations"][0].update(expression=" ")),
    "refcoco": ("grounding", _refcoco, "expressions", lambda d: d["annotations"][0].update(bbox=[60, 5, 20, 10])),
    "virft": ("detection", _virft, "split_leaks", lambda d: d["images"][-1].update(sha256=d["images"][0]["sha256"])),
    "rf20vl": ("detection", _rf20vl, "boxes", lambda d: d["annotations"][0].update(bbox=[60, 5, 20, 10])),
    "own": ("detection", _own, "categories", lambda d: d["categories"][0].update(image_count=1)),
}  # fmt: skip


def verdicts(raw: Path, task: str, only: str | None = None, expect: dict | None = None) -> dict[str, Verdict]:
    """As the contract of the stage `raw` gives them."""
    frames = data_frames.raw(raw, expect) | get_task(task).frames.raw(raw)
    wanted = suites({**expectations.RAW, **get_task(task).checks.EXPECTATIONS["raw"]})
    if only:
        frames, wanted = {only: frames[only]}, {only: wanted[only]}
    return validate(frames, wanted)


def test_no_source_is_forgotten():
    assert set(SOURCES) == {*sources.OFFICIAL, "own"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SOURCES))
def test_what_a_source_writes_passes_and_what_breaks_it_is_found(name, tmp_path, request, monkeypatch):
    task, write, check, change = SOURCES[name]
    write(tmp_path / "raw", request, monkeypatch)

    found = verdicts(tmp_path / "raw", task)
    assert {n: one.broken for n, one in found.items() if one.critical} == {}
    assert set(found) == set(_descriptions(task, "raw"))

    path = tmp_path / "raw/annotations.json"
    data = io.read_json(path)
    size = len(data["categories"])
    change(data)
    io.write_json(path, data)
    assert verdicts(tmp_path / "raw", task, check, {"categories": size})[check].critical


def test_official_counts_may_exceed_what_is_there_and_never_fall_short(tmp_path, request, monkeypatch):
    _lvis(tmp_path / "raw", request, monkeypatch)
    path = tmp_path / "raw/annotations.json"
    data = io.read_json(path)
    frame = data_frames.raw(tmp_path / "raw")["categories"]
    assert (frame["images_found"] < frame["image_count"]).any(), "some were held out"
    assert (frame["images_expected"] == frame["image_count"]).all()

    more_than_official(data)
    io.write_json(path, data)
    frame = data_frames.raw(tmp_path / "raw")["categories"]
    assert (frame["images_expected"] != frame["image_count"]).any()


def test_the_sizes_of_a_protocol_are_compared(tmp_path, request, monkeypatch):
    _coco(tmp_path / "raw", request, monkeypatch)
    frame = data_frames.raw(tmp_path / "raw", {"eval": 5000, "categories": 3})["sizes"].set_index("of")
    assert list(frame.loc["eval"]) == [6, 5000, 1]
    assert list(frame.loc["categories"]) == [3, 3, 1]
    assert frame.loc["val", "least"] == 0
