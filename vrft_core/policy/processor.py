"""Text and images → tensors, for every Qwen-VL policy, without torchvision.

The library's own processors want a video processor, which needs torchvision, and its `AutoProcessor` silently gives
a bare tokenizer where that is missing. So the class is always named. Loading weights belongs to `loading`.
"""

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, Qwen2VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from vrft_core.families.registry import everyone
from vrft_core.policy.tokenizer import IMAGE, VIDEO

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ImageProcessor(Qwen2VLProcessor):
    """Qwen-VL processor for still images; the signature is what `ProcessorMixin` derives its parts from."""

    def __init__(self, image_processor=None, tokenizer: Any = None, chat_template=None, **kwargs):
        self.image_token, self.video_token = IMAGE, VIDEO
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def apply_chat_template(self, conversation: Any, chat_template: str | None = None, **kwargs: Any) -> Any:
        """As the library's, but a template's own switch for thinking is off: the question asks for the thought."""
        template = chat_template or self.chat_template or ""
        off = {family.template_switch: False for family in everyone() if family.template_switch}
        used: dict[str, Any] = {switch: value for switch, value in off.items() if switch in template}
        return super().apply_chat_template(conversation, chat_template, **(used | kwargs))


def build_processor(
    tokenizer: PreTrainedTokenizerBase, patch_size: int, min_pixels: int, max_pixels: int
) -> ImageProcessor:
    """Images are resized to multiples of two patches, between `min_pixels` and `max_pixels` in area."""
    images = Qwen2VLImageProcessorPil(
        patch_size=patch_size, merge_size=2, size={"shortest_edge": min_pixels, "longest_edge": max_pixels}
    )
    return ImageProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE)


def load_processor(directory: Path, min_pixels: int | None = None, max_pixels: int | None = None) -> ImageProcessor:
    """A saved processor, small or from the hub; pixel bounds override the saved ones.

    Images go through Pillow on every machine: where torchvision is installed, the library would take that, whose pixels
    differ.
    """
    processor = ImageProcessor.from_pretrained(directory)
    processor.image_processor = Qwen2VLImageProcessorPil.from_pretrained(directory)
    if min_pixels and max_pixels:
        processor.image_processor.size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
    processor.tokenizer.padding_side = "left"
    return processor
