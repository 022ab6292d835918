"""InternVL2 to 3.5: thousandths of the image, in box tags behind the name of the object."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="internvl",
    model_types=("internvl",),
    model_class="InternVLForConditionalGeneration",
    processor_class="InternVLProcessor",
    frame="0-1000",
    order="xyxy",
    native="ref_box",
    source="OpenGVLab/InternVL, internvl_chat/eval/refcoco: what its evaluation reads",
    torchvision=True,
)
