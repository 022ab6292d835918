"""Qwen2.5-VL: pixels of the image as its processor resized it; a JSON list."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="qwen2.5-vl",
    model_types=("qwen2_5_vl",),
    model_class="Qwen2_5_VLForConditionalGeneration",
    processor_class="Qwen2_5_VLProcessor",
    frame="resized",
    order="xyxy",
    native="bbox_2d",
    source="arXiv 2502.13923, section 2.2; ms-swift asks it without normalising",
    cell=28,
    trained=True,
)
