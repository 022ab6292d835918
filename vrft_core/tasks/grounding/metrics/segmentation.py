"""Masks from boxes with SAM (arXiv 2304.02643) through transformers, from a local folder of weights.

Which boxes, and what the masks are scored by, is for `command` and `grounding`. Not yet run with real SAM weights.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import SamModel, SamProcessor
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.images import open_rgb

Box = Sequence[float]


class Sam(NamedTuple):
    """A SAM model and what prepares images and boxes for it."""

    model: SamModel
    processor: Any  # SamProcessor, whose annotations lack what it passes on


def load(folder: Path) -> Sam:
    """SAM from a folder with config.json, preprocessor_config.json and safetensors, on the GPU where there is one.

    Raises InputError where the folder holds something else, or weights that leave a part of the model untrained.
    """
    remedy = "give a folder as of facebook/sam-vit-huge, with its safetensors"
    if not (folder / "config.json").is_file():
        raise InputError(folder, "no config.json", remedy)
    if (kind := io.read_json(folder / "config.json").get("model_type")) != "sam":
        raise InputError(folder / "config.json", f"model_type is {kind!r}, not 'sam'", remedy)
    try:
        loading: Any = SamModel.from_pretrained(  # with what it loaded, which its annotation leaves out
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        model, loaded = loading
        processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder, local_files_only=True))
    except OSError as error:
        raise InputError(folder, f"cannot be read: {error}", remedy) from None
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(folder, f"weights lack {missing[0]}", remedy)
    return Sam(model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), processor)


def box_masks(sam: Sam, image: Image.Image, boxes: Sequence[Box]) -> np.ndarray:
    """One mask for each xyxy box in pixels of the image, bool [n, height, width]; the image is encoded once for all."""
    inputs = sam.processor(images=image, input_boxes=[[list(map(float, box)) for box in boxes]], return_tensors="pt")
    with torch.inference_mode():
        said = sam.model(
            pixel_values=inputs["pixel_values"].to(sam.model.device, sam.model.dtype),
            input_boxes=inputs["input_boxes"].to(sam.model.device, sam.model.dtype),
            multimask_output=False,
        )
        masks = sam.processor.image_processor.post_process_masks(
            said.pred_masks.float().cpu(), inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )
    return masks[0][:, 0].numpy()


def row_masks(
    sam: Sam, images: Sequence[Path], boxes: Sequence[Sequence[Box | None]]
) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """The number of each row and the masks of its boxes, which are shares of the image's width and height.

    Rows of one image come together, wherever they stood: it is opened and encoded once. A missing box has no mask.
    Raises InputError at an image that cannot be read.
    """
    rows_of: dict[Path, list[int]] = {}
    for number, path in enumerate(images):
        rows_of.setdefault(path, []).append(number)
    for path, numbers in rows_of.items():
        image = open_rgb(path)
        width, height = image.size
        there = [box for number in numbers for box in boxes[number] if box is not None]
        pixels = [(x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in there]
        masks = iter(box_masks(sam, image, pixels) if pixels else ())
        for number in numbers:
            yield number, [None if box is None else next(masks) for box in boxes[number]]
