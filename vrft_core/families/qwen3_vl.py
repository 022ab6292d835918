"""Qwen3-VL: thousandths of the image; a JSON list."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="qwen3-vl",
    model_types=("qwen3_vl",),
    model_class="Qwen3VLForConditionalGeneration",
    processor_class="Qwen3VLProcessor",
    frame="0-1000",
    order="xyxy",
    native="bbox_2d",
    source="its spatial-understanding examples; supervision reads it with 1000 x 1000",
    cell=32,
    trained=True,
)
