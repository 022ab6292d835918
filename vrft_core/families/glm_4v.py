"""GLM-4.1V, 4.5V, 4.6V: thousandths of the image; a JSON list, often between box tokens."""

from vrft_core.families.family import Family

FAMILY = Family(
    name="glm-4v",
    model_types=("glm4v", "glm4v_moe", "glm46v"),
    model_class="Glm4vForConditionalGeneration",
    processor_class="Glm4vProcessor",
    frame="0-1000",
    order="xyxy",
    native="bbox_2d",
    source="the makers' page on boxes (zai-org/glm-skills)",
    cell=28,
    template_switch="enable_thinking",
    torchvision=True,
)
