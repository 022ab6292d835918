"""What a group or an image costs once is computed once in every family of the library that allows it: same numbers."""

import inspect
from typing import Any

import pytest
import tiny_families
import torch
from tiny_families import FAMILIES, IMAGE
from torch import Tensor
from transformers import DeepseekVLHybridConfig, DeepseekVLHybridForConditionalGeneration
from trl.trainer.utils import add_fused_lm_head

from vrft_core.errors import InputError
from vrft_core.families.registry import everyone
from vrft_core.training import shared_prompt
from vrft_core.training.model_inputs import TRIED, WHOLE_PROMPTS, obstacle, positions, token_types
from vrft_core.training.shared_prompt import Prompt, image_grid, text_inputs
from vrft_core.training.vision_cache import FeatureCache, PatchCache, Patches, encode, tower

pytestmark = pytest.mark.usefixtures("one_thread")
PICTURES = [tiny_families.picture(84, 56, 1), tiny_families.picture(56, 112, 2)]
IN_ONE_LIST = ("idefics3", "smolvlm", "minicpmv4_6")  # image processors that want a row's images in a list
ROUNDED = ("mistral3", "minicpmv4_6")  # families whose towers compute several images as one: no bit for bit
GROUP, LENGTH = 3, 9


def size(features: Any) -> int:
    """Image tokens that features stand for."""
    return sum(one.shape[:-1].numel() for one in features.pooler_output)


def read(name: str) -> list[Patches]:
    patches = PatchCache(tiny_families.image_processor(name))
    return [patches.patches(picture) for picture in PICTURES]


def test_the_families_that_are_allowed_are_those_that_are_tried_here():
    assert set(FAMILIES) == TRIED
    assert {kind for family in everyone() if family.trained for kind in family.model_types} <= TRIED


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_features_kept_of_single_images_give_the_logits_of_their_pixels(name):
    model, kept, images = tiny_families.model(name), FeatureCache(), read(name)
    one, other = (size(kept.features(model, [image])) for image in images)
    ids = torch.tensor([[5, 102, *[IMAGE] * one, 103, 7, 102, *[IMAGE] * other, 103, 20, 21, 22]])
    types = token_types(model, (ids == IMAGE).long())
    pixels = tiny_families.image_processor(name)(
        images=[PICTURES] if name in IN_ONE_LIST else PICTURES, return_tensors="pt"
    )
    pixels = {key: value for key, value in pixels.items() if key in inspect.signature(model.forward).parameters}
    grid = {key: value for key, value in pixels.items() if key == "image_grid_thw"}
    with torch.no_grad():
        expected = model(ids, **types, **pixels).logits
    model.model.get_image_features = None  # from here on the tower is not asked again

    @torch.no_grad()
    def logits(features: Any) -> Tensor:
        return model(ids, **types, **grid, mm_encoder_outputs={"image": features}).logits

    blind = kept.features(model, images)
    zeros = [torch.zeros_like(value) for value in blind.pooler_output]
    blind.pooler_output = torch.stack(zeros) if isinstance(blind.pooler_output, Tensor) else zeros

    assert (logits(kept.features(model, images)) - expected).abs().max() <= (1e-6 if name in ROUNDED else 0)
    assert (logits(blind) - expected).abs().max() > 1e-3, "images matter"


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_tower_that_is_frozen_is_all_that_features_are_made_by(name):
    model = tiny_families.model(name)

    features = encode(model, read(name)[0])
    sum(value.pow(2).sum() for value in features.pooler_output).backward()

    outside = {id(parameter) for parameter in tower(model)}
    reached = [key for key, parameter in model.named_parameters() if parameter.grad is not None]
    assert reached
    assert [key for key, parameter in model.named_parameters() if key in reached and id(parameter) not in outside] == []


def prompts(name: str, model: Any) -> list[Prompt]:
    """Two prompts of different lengths with an image each."""
    found = []
    for i, (image, words) in enumerate(zip(read(name), (range(20, 45), range(20, 28)), strict=True)):
        ids = torch.tensor([5, *[6] * i, 102, *[IMAGE] * size(encode(model, image)), 103, *words])
        found.append(Prompt((str(i),), ids, (ids == IMAGE).long(), (image,)))
    return found


class Group:
    """A model, two prompts, completions of different lengths, and the log-probabilities of both ways."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.model = tiny_families.model(name, **settings).train()
        add_fused_lm_head(self.model, temperature=1.0)
        self.features = FeatureCache()
        self.prompts = [prompt for prompt in prompts(name, self.model) for _ in range(GROUP)]
        draw = torch.Generator().manual_seed(1)
        self.ids = torch.randint(20, 99, (len(self.prompts), LENGTH), generator=draw)
        self.mask = torch.ones_like(self.ids)
        self.mask[1, 6:] = self.mask[4, 4:] = 0
        self.weights = torch.randn(self.ids.shape, generator=draw) * self.mask

    def vision(self, model: Any, prompts: list[Prompt]) -> dict:
        images = [patches for prompt in prompts for patches in prompt.images]
        grid = {"image_grid_thw": image_grid(prompts, model.device)} if "image_grid_thw" in images[0].inputs else {}
        return {**grid, "mm_encoder_outputs": {"image": self.features.features(model, images)}}

    def whole(self) -> Tensor:
        """Every row from its first token."""
        ids, mask, types = text_inputs(self.prompts, 0, self.model.device)
        ids, mask = torch.cat([ids, self.ids], 1), torch.cat([mask, self.mask], 1)
        types = torch.nn.functional.pad(types, (0, LENGTH))
        vision = self.vision(self.model, self.prompts)
        places = positions(self.model, ids, mask, types, vision.get("image_grid_thw"))
        output = self.model(
            ids, attention_mask=mask, position_ids=places, **token_types(self.model, types), **vision, use_cache=False
        )
        return output.logits[:, -LENGTH - 1 : -1].log_softmax(-1).gather(-1, self.ids[..., None])[..., 0] * self.mask

    def shared(self) -> Tensor:
        start = shared_prompt.prefill(self.model, self.model, self.prompts, self.vision, pad_token_id=0)
        found, _ = shared_prompt.log_probs(self.model, start.over(self.prompts), self.ids, self.mask)
        return found

    def learned(self, log_probs: Tensor) -> dict[str, Tensor]:
        self.model.zero_grad(set_to_none=True)
        (log_probs * self.weights).sum().backward()
        return {name: value.grad for name, value in self.model.named_parameters() if value.grad is not None}


WINDOWS = [("gemma3", 8), ("gemma4", 8), ("mistral3", 8)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "window"), [*((name, None) for name in FAMILIES if name not in WHOLE_PROMPTS), *WINDOWS]
)
def test_a_prompt_run_once_gives_the_log_probabilities_and_the_gradient_of_whole_rows(name, window):
    group = Group(name, **({"sliding_window": window} if window else {}))
    assert obstacle(group.model) is None
    assert window is None or len(group.prompts[0].input_ids) > 2 * window

    whole = group.whole()
    expected = group.learned(whole)
    shared = group.shared()
    found = group.learned(shared)

    assert (shared - whole).abs().max() < 1e-5
    assert found.keys() == expected.keys()
    far = sum(((found[key] - value) ** 2).sum() for key, value in expected.items())
    assert (far / sum((value**2).sum() for value in expected.values())).sqrt() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE_PROMPTS)
def test_prompts_that_read_ahead_are_refused_and_would_give_other_numbers(name):
    group = Group(name)

    assert obstacle(group.model) == f"{name}: a prompt's tokens attend to those behind them"
    assert (group.shared() - group.whole()).abs().max() > 1e-3


def test_a_decoder_that_attends_to_what_comes_after_is_refused():
    model = tiny_families.model("gemma3", use_bidirectional_attention=True)
    assert obstacle(model) == "gemma3: its tokens attend to those behind them"


def test_a_family_that_nobody_tried_is_refused():
    model = tiny_families.model("qwen2_vl")
    model.config.model_type = "qwen9_vl"
    assert obstacle(model) == "qwen9_vl was not tried"


def test_dropout_in_the_decoder_is_refused():
    model = tiny_families.model("qwen2_vl", attention_dropout=0.1)
    assert obstacle(model) == "completions of a group would share dropout"


def test_a_tower_that_gives_more_than_features_is_refused_by_the_fields_name():
    text = tiny_families.text("llama", num_hidden_layers=1)
    vision = tiny_families.tower("siglip_vision_model", vision_use_head=False)
    second = tiny_families.tower("sam_vision_model", patch_size=8, image_size=64, output_channels=16, mlp_dim=32,
                                 global_attn_indexes=[1], window_size=2)  # fmt: skip
    config = DeepseekVLHybridConfig(text_config=text, vision_config=vision, high_res_vision_config=second)
    pixels = {"pixel_values": torch.zeros(1, 3, 56, 56), "high_res_pixel_values": torch.zeros(1, 3, 64, 64)}

    with pytest.raises(InputError, match="deepseek_vl_hybrid: high_res_vision_hidden_states, high_res_vision_last"):
        encode(DeepseekVLHybridForConditionalGeneration(config), Patches("x", pixels))
