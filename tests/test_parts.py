"""Pre-training divided among threads: features and gradients are those of a plain backpropagation, bit for bit."""

import numpy as np
import pytest
import torch
from test_pretraining import BATCH, PROCESSOR, small_model

from vrft_core.policy import language
from vrft_core.policy.cores import workers
from vrft_core.policy.language import AnswerLoss
from vrft_core.policy.muon import orthogonal
from vrft_core.policy.parts import Tower
from vrft_core.policy.vision import Features, encode, plain

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


def test_what_the_layers_matrices_learn_is_what_backpropagation_through_the_library_s_layers_gives(monkeypatch):
    model = small_model(layers=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4))
    features = Features(model.model.visual, IMAGES, PROCESS)
    batch = BATCH * 5
    with workers(2) as executor:
        loss = AnswerLoss(model, PROCESSOR, features, executor)
        rows = loss.rows(batch)
        loss.backward(rows)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    monkeypatch.setattr(language, "_through", lambda layer, x, cos, sin, call: layer(x, position_embeddings=(cos, sin)))
    labels = torch.tensor([token for *_, reply in rows for token in reply])
    counts = torch.tensor([len(labels), loss.is_coordinate[labels].sum()])
    size = -(-len(rows) // language.LENGTH_GROUPS)
    for begin in range(0, len(rows), size):  # PyTorch adds each group's gradients to those before
        (loss._sums(rows[begin : begin + size], plain) / counts).sum().backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    assert found.keys() == expected.keys() and len(found) > 25
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


@pytest.mark.parametrize("shape", [(128, 128), (384, 128), (96, 288)])
def test_a_matrix_is_updated_alike_whichever_others_are_in_its_stack(shape):
    stack = torch.randn(7, *shape, generator=torch.Generator().manual_seed(5))
    whole = orthogonal(stack)
    assert torch.equal(torch.cat([orthogonal(part) for part in stack.split(3)]), whole)
