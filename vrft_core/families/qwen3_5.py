"""Qwen3.5 and its successors of the same architecture: as Qwen3-VL, with a chat template that can open a thought.

Most of its layers keep a recurrent state, not keys and values.
"""

from vrft_core.families.family import Family

FAMILY = Family(
    name="qwen3.5",
    model_types=("qwen3_5",),
    model_class="Qwen3_5ForConditionalGeneration",
    processor_class="Qwen3VLProcessor",
    frame="0-1000",
    order="xyxy",
    native="bbox_2d",
    source="ms-swift, best practices of Qwen3.8; the template in TRL 1.16",
    cell=32,
    template_switch="enable_thinking",
    trained=True,
)
