"""Muon in float32 does what torch's does in bfloat16."""

import torch

from vrft_core.policy.muon import Muon, orthogonal


def test_singular_values_are_pushed_towards_one():
    matrices = torch.randn(2, 12, 30, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.4 and values.max() < 1.3
    assert torch.allclose(orthogonal(matrices.mT), orthogonal(matrices).mT, atol=1e-5)


def test_steps_agree_with_torch_up_to_bfloat16():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(16, 24, generator=generator), torch.randn(24, 16, generator=generator)]
    gradients = [[torch.randn(p.shape, generator=generator) for p in start] for _ in range(3)]
    results = []
    for make in (
        lambda p: Muon(p, lr=0.01, momentum=0.95, weight_decay=0.05),
        lambda p: torch.optim.Muon(
            p, lr=0.01, momentum=0.95, weight_decay=0.05, adjust_lr_fn="match_rms_adamw", ns_steps=4
        ),
    ):
        parameters = [torch.nn.Parameter(p.clone()) for p in start]
        optimizer = make(parameters)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
        results.append(torch.cat([p.detach().flatten() for p in parameters]))
    moved = (results[0] - torch.cat([p.flatten() for p in start])).norm()
    assert (results[0] - results[1]).norm() < 0.02 * moved
