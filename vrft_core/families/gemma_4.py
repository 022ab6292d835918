"""Gemma 4: no source that could be read says how it writes boxes; `vrft probe` must find out."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="gemma-4",
    model_types=("gemma4",),
    model_class="Gemma4ForConditionalGeneration",
    processor_class="Gemma4Processor",
    frame=None,
    order="yxyx",
    native=None,
    source="none; Gemini, its relative, writes box_2d, y first, 0 to 1000",
    torchvision=True,
)
