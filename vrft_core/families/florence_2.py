"""Florence-2: four location tokens a box behind its name, of 1000 places a side; a place is read at its middle."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="florence-2",
    model_types=("florence2",),
    model_class="Florence2ForConditionalGeneration",
    processor_class="Florence2Processor",
    frame="0-999",
    order="xyxy",
    native="loc_n",
    source="transformers, processing_florence2.Florence2PostProcessor (quantize, dequantize)",
)
