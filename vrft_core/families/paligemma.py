"""PaliGemma 1 and 2: four location tokens a box, y first, of 1024 places a side."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="paligemma",
    model_types=("paligemma",),
    model_class="PaliGemmaForConditionalGeneration",
    processor_class="PaliGemmaProcessor",
    frame="0-1023",
    order="yxyx",
    native="loc_4",
    source="transformers, processing_paligemma.EXTRA_TOKENS (1024 tokens); supervision, from_paligemma (y first)",
)
