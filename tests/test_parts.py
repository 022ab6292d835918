"""The vision tower trained in parts: its features and its gradients are those of the whole batch, bit for bit."""

import numpy as np
import pytest
import torch
from test_pretraining import PROCESSOR, small_model

from vrft_core.policy.cores import workers
from vrft_core.policy.parts import Tower
from vrft_core.policy.vision import Features, encode

IMAGES = np.random.default_rng(1).integers(0, 255, (33, 112, 112, 3), dtype=np.uint8)
PROCESS = PROCESSOR.image_processor


@pytest.fixture
def visual():
    """Norms start as ones and biases as zeros, which would hide one that is left out."""
    visual = small_model().model.visual
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in visual.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return visual


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_any_number_of_parts_gives_what_backpropagation_through_the_whole_batch_gives(visual, parts):
    with workers(2) as executor:
        expected, _ = encode(visual, IMAGES, PROCESS)
        toward = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3))
        (expected * toward).sum().backward()
        whole = {name: p.grad for name, p in visual.named_parameters() if p.grad is not None}
        visual.zero_grad()

        tower = Tower(visual, PROCESS, executor, parts)
        features = tower.forward(IMAGES)
        tower.backward(toward)

    assert torch.equal(features, expected)
    found = {name: p.grad for name, p in visual.named_parameters() if p.grad is not None}
    assert found.keys() == whole.keys() and len(found) > 20
    assert all(torch.equal(found[name], value) for name, value in whole.items())


def test_an_image_by_itself_goes_through_in_one_part(visual):
    with workers(2) as executor:
        tower = Tower(visual, PROCESS, executor, parts=2)
        features = tower.forward(IMAGES[:1])
        tower.backward(torch.ones_like(features))
    assert torch.equal(features, encode(visual, IMAGES[:1], PROCESS)[0])


def test_features_of_a_set_are_those_of_its_batches_whoever_computes_them(visual):
    with workers(2) as executor, torch.no_grad():
        kept = Features(visual, IMAGES, PROCESS, executor, batch_size=10)
        for begin in range(0, len(IMAGES), 10):
            merged, deepstack = encode(visual, IMAGES[begin : begin + 10], PROCESS)
            rows = list(range(begin, begin + len(merged)))
            assert torch.equal(kept.rows(rows)[0], merged)
            assert all(torch.equal(a, b) for a, b in zip(kept.rows(rows)[1], deepstack, strict=True))
