"""Qwen2-VL: thousandths of the image; its own boxes stand in special tokens."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="qwen2-vl",
    model_types=("qwen2_vl",),
    model_class="Qwen2VLForConditionalGeneration",
    processor_class="Qwen2VLProcessor",
    frame="0-1000",
    order="xyxy",
    native="box_tags",
    source="arXiv 2409.12191, section 2.2; tokens as in its tokenizer",
    cell=28,
    trained=True,
)
