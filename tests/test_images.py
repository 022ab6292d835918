"""Image files as users have them: any depth, transparency and way up become the RGB image that a person sees."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from small_policy import small_recipe

from vrft_core import images, io
from vrft_core.annotations import Annotations
from vrft_core.cli import main
from vrft_core.commands.predict import Request, files_request
from vrft_core.errors import InputError
from vrft_core.examples import load_examples, write_examples
from vrft_core.families.form import Form
from vrft_core.families.frames import frame
from vrft_core.images import SizeMismatch, open_rgb, size
from vrft_core.params import Recipe
from vrft_core.report import drawing
from vrft_core.tasks import get_task
from vrft_core.tasks.detection.prompts import examples

ROOT = Path(__file__).parents[1]


def ramp(kind: type) -> np.ndarray:
    """16 x 24 values from 0 to the largest of their kind."""
    return np.linspace(0, np.iinfo(kind).max, 16 * 24).reshape(16, 24).astype(kind)


def grey(path: Path) -> np.ndarray:
    return np.asarray(open_rgb(path))[..., 0].astype(int)


@pytest.fixture
def photo(tmp_path):
    """Write an image with a red upper left corner, tagged with an EXIF orientation; → its path."""

    def write(name: str, orientation: int | None, shape: tuple[int, int] = (40, 24)) -> Path:
        picture = Image.new("RGB", shape, "blue")
        picture.paste("red", (0, 0, 8, 8))
        exif = Image.Exif()
        if orientation:
            exif[274] = orientation
        picture.save(tmp_path / name, exif=exif, **({"quality": 95} if name.endswith("jpg") else {}))
        return tmp_path / name

    return write


def red_corner(image: Image.Image) -> str:
    """Where the red corner is: 'top left', … ."""
    values = np.asarray(image).astype(int)
    y, x = np.argwhere(values[..., 0] > values[..., 2]).mean(axis=0)
    return f"{'top' if y < image.height / 2 else 'bottom'} {'left' if x < image.width / 2 else 'right'}"


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_to_8(tmp_path, name):
    Image.fromarray(ramp(np.uint16)).save(tmp_path / name)
    assert np.abs(grey(tmp_path / name) - ramp(np.uint8)).max() <= 1


def test_16_bits_in_the_other_byte_order_are_scaled_too(tmp_path):
    Image.frombytes("I;16B", (24, 16), ramp(np.uint16).astype(">u2").tobytes()).save(tmp_path / "a.tif")
    assert np.abs(grey(tmp_path / "a.tif") - ramp(np.uint8)).max() <= 1


@pytest.mark.parametrize(("kind", "what"), [(np.float32, "floating-point numbers"), (np.int32, "32-bit integers")])
def test_numbers_without_a_range_are_refused_by_name(tmp_path, kind, what):
    Image.fromarray(ramp(np.uint8).astype(kind)).save(tmp_path / "a.tif")
    for read in (open_rgb, size):
        with pytest.raises(InputError, match=rf"a\.tif: holds {what}, .*; save it as 8-bit RGB"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_lie_on_white_and_show_no_hidden_colour(tmp_path, name, mode):
    picture = Image.new("RGBA", (24, 16), (10, 20, 30, 0))
    picture.paste((10, 20, 30, 255), (0, 0, 12, 16))
    picture.convert(mode).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    values = np.asarray(open_rgb(tmp_path / name))
    assert (values[:, 12:] == 255).all() and (values[:, :12] < 40).all()


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "I;16"])
def test_a_colour_that_a_png_calls_transparent_is_white(tmp_path, mode):
    values = np.zeros((16, 24), np.uint16 if mode == "I;16" else np.uint8)
    values[:, 12:] = 7
    picture = Image.fromarray(values) if mode in ("L", "I;16") else Image.fromarray(values).convert(mode)
    picture.save(tmp_path / "a.png", transparency={"P": 7, "L": 7, "I;16": 7, "RGB": (7, 7, 7)}[mode])
    values = np.asarray(open_rgb(tmp_path / "a.png"))
    assert (values[:, 12:] == 255).all() and (values[:, :12] == 0).all()


def test_a_whole_opaque_image_keeps_its_values(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).convert("RGBA").save(tmp_path / "b.png")
    assert (np.asarray(open_rgb(tmp_path / "a.png")) == values).all()
    assert (np.asarray(open_rgb(tmp_path / "b.png")) == values).all()


# --- files that are none ---------------------------------------------------------------------------------------------


def broken_files(folder: Path) -> dict[str, str]:
    """Write them; → name: what is said of it."""
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:-900])
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.new("1", (10_000, 10_000)).save(folder / "large.png")
    return {
        "cut.jpg": "does not decode as an image: image file is truncated",
        "text.jpg": "has no known format",
        "empty.png": "has no known format",
        "bomb.png": "has more than 89,478,485 pixels",
        "large.png": "has more than 89,478,485 pixels",
        "none.png": "no such file",
    }


def request(recipe: Recipe, folder: Path, annotations: Path | None = None) -> Request:
    """Cats in the images of a folder, or what is annotated there."""
    names = None if annotations else ["cat"]
    return files_request(get_task("detection"), recipe, folder, None, folder, annotations, names)


def test_a_file_that_is_no_image_is_named_in_one_line(tmp_path, recwarn):
    for name, said in broken_files(tmp_path).items():
        with pytest.raises(InputError, match=name) as caught:
            open_rgb(tmp_path / name)
        assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not recwarn.list


def test_predict_and_the_report_name_a_broken_image(tmp_path):
    names = broken_files(tmp_path)
    recipe = small_recipe()
    for name in ("cut.jpg", "bomb.png"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (tmp_path / name).rename(folder / name)
        with pytest.raises(InputError, match=names[name]):
            for one in request(recipe, folder).examples(None):
                one.picture()
        with pytest.raises(InputError, match=names[name]):
            drawing.picture(0, folder / name, (64, 64))


# --- which way up ----------------------------------------------------------------------------------------------------

UPRIGHT = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left", 5: "top left", 6: "top right",
           7: "bottom right", 8: "bottom left"}  # fmt: skip


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", [None, *UPRIGHT])
def test_a_photo_is_seen_upright_where_nothing_says_otherwise(photo, name, orientation):
    path = photo(name, orientation)
    picture = open_rgb(path)
    assert picture.size == size(path) == ((24, 40) if (orientation or 1) > 4 else (40, 24))
    assert red_corner(picture) == UPRIGHT[orientation or 1]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_the_stored_size_have_their_boxes_in_the_stored_frame(photo, name, orientation):
    path = photo(name, orientation)
    picture = open_rgb(path, (40, 24))
    assert picture.size == size(path, (40, 24)) == (40, 24)
    assert red_corner(picture) == "top left"
    assert open_rgb(path, (24, 40)).size == size(path, (24, 40)) == (24, 40)


def test_a_size_that_neither_way_up_has_is_named(photo):
    with pytest.raises(SizeMismatch, match=r"a\.jpg: is 24x40 upright and 40x24 as stored, but 41x24 in the annot"):
        size(photo("a.jpg", 6), (41, 24))
    with pytest.raises(SizeMismatch, match=r"b\.jpg: is 40x24, but 24x40 in the annotations"):
        open_rgb(photo("b.jpg", None), (24, 40))


def test_a_broken_exif_block_spoils_no_image(tmp_path):
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n 3\nzz")
    Image.new("RGB", (40, 24)).save(tmp_path / "b.png", pnginfo=info)
    for name in ("a.jpg", "b.png"):
        assert open_rgb(tmp_path / name).size == (40, 24)


def annotated(folder: Path, name: str, width: int, height: int) -> Path:
    """A COCO file of one image, beside it."""
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 8], "area": 64, "iscrowd": 0}
    rows = {"images": [{"id": 1, "file_name": name, "width": width, "height": height}], "annotations": [box],
            "categories": [{"id": 1, "name": "cat"}]}  # fmt: skip
    io.write_json(folder / "annotations.json", rows)
    return folder / "annotations.json"


def test_predict_shows_the_model_the_frame_of_the_boxes(photo):
    path = photo("a.jpg", 6)
    recipe, folder = small_recipe(), path.parent
    [one] = request(recipe, folder).examples(None)
    assert (one.width, one.height) == one.picture().size == (24, 40)
    for width, height in ((24, 40), (40, 24)):
        [one] = request(recipe, folder, annotated(folder, "a.jpg", width, height)).examples(None)
        assert (one.width, one.height) == one.picture().size == (width, height)
    with pytest.raises(InputError, match="but 50x50 in the annotations"):
        request(recipe, folder, annotated(folder, "a.jpg", 50, 50)).examples(None)


def test_training_sees_what_evaluation_sees(photo, tmp_path):
    """Examples embed the file's bytes, unless a plain reader would see something else in them."""
    files = {"a.jpg": (photo("a.jpg", None), (40, 24)), "b.jpg": (photo("b.jpg", 6), (40, 24)),
             "c.jpg": (photo("c.jpg", 6), (24, 40)), "d.tif": (photo("d.tif", 6), (40, 24))}  # fmt: skip
    Image.fromarray(ramp(np.uint16)).save(tmp_path / "e.png")
    Image.new("RGBA", (24, 16), (10, 20, 30, 0)).save(tmp_path / "f.png")
    files |= {name: (tmp_path / name, (24, 16)) for name in ("e.png", "f.png")}
    rows = [
        {"id": number, "file_name": name, "width": listed[0], "height": listed[1]}
        for number, (name, (_, listed)) in enumerate(files.items(), 1)
    ]
    truth = Annotations.from_dict({"images": rows, "annotations": [], "categories": [{"id": 1, "name": "cat"}]})
    recipe, pairs = small_recipe(), [(row["id"], 1) for row in rows]
    asked = examples(pairs, truth, tmp_path, Form.of(recipe, recipe.tasks["detection"]))
    write_examples(tmp_path / "train", asked)
    for example, (path, listed) in zip(load_examples(tmp_path / "train"), files.values(), strict=True):
        assert (np.asarray(example["image"]) == np.asarray(open_rgb(path, listed))).all(), path.name
    assert images.embeddable(*files["a.jpg"]) == files["a.jpg"][0].read_bytes()


# --- shapes that no processor takes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
def test_an_image_of_an_extreme_shape_is_named_before_a_model_is_loaded(tmp_path, family):
    recipe = small_recipe()
    recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update={"family": family})})
    Image.new("RGB", (2010, 10)).save(tmp_path / "strip.png")
    with pytest.raises(InputError, match=r"strip\.png: is 2010x10: one side is more than 200 times the other"):
        request(recipe, tmp_path).examples(None)
    assert frame(recipe.policy, 2000, 10).width == 2000


# --- init ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height", "status"), [(24, 40, 0), (40, 24, 0), (30, 30, 2)])
def test_init_takes_a_phones_photo_in_either_frame_and_names_any_other_size(
    photo, tmp_path, capsys, width, height, status
):
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    box = {"category_id": 1, "bbox": [0, 0, 8, 8], "area": 64, "iscrowd": 0}
    for split, numbers in (("train", (1, 2, 3)), ("eval", (4,))):
        rows = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        for number in numbers:
            path = photo(f"{number}.jpg", 6)
            with Image.open(path) as picture:
                picture.paste((0, 40 * number, 0), (20, 10, 40, 24))
                picture.save(path, exif=picture.getexif())
            rows["images"].append({"id": number, "file_name": path.name, "width": width, "height": height})
            rows["annotations"].append({"id": number, "image_id": number, **box})
        io.write_json(root / f"{split}.json", rows)
    files = ["--coco", str(root / "train.json"), "--images", str(tmp_path)]
    files += ["--eval-coco", str(root / "eval.json"), "--eval-images", str(tmp_path)]
    assert main(["--root", str(root), "init", "my-photos", *files]) == status
    err = capsys.readouterr().err
    if status:
        assert "1.jpg, which is 24x40 upright and 40x24 as stored, but 30x30 in the annotations" in err
        assert "(and 3 more)" in err and err.count("\n") == 1
