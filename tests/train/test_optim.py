import itertools

import pytest
import torch
from torch import nn

from motionstream.models.dit import WanDiT
from motionstream.presets import tiny_debug
from motionstream.train.optim import adamw, lr_scale, muon_adamw


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def test_lr_scale_rises_stays_and_falls():
    curve = [lr_scale(step, 100, 10, 0.3) for step in range(100)]
    assert curve[0] == pytest.approx(0.1)
    assert curve[9] == 1.0
    assert curve[10:70] == [1.0] * 60
    assert all(a > b for a, b in itertools.pairwise(curve[70:]))
    assert curve[85] == pytest.approx(0.5)
    assert curve[-1] == pytest.approx(1 / 30)
    assert lr_scale(99, 100_000, 0, 0) == lr_scale(99_999, 100_000, 0, 0) == 1.0
    assert lr_scale(99_999, 100_000, 0, 1.0) == pytest.approx(0.02)
    assert lr_scale(150, 100, 10, 0.3) == pytest.approx(0.02), "past the end: the floor, never negative"


def test_step_scales_clips_and_clears():
    module = linear()
    optimizer = adamw(module, lr=0.1)
    module.weight.grad = torch.full((2, 3), 3.0)
    module.bias.grad = torch.full((2,), 4.0)
    before = module.weight.detach().clone()
    norm = optimizer.step(scale=0.5, clip=1.0)
    assert norm == pytest.approx((6 * 9 + 2 * 16) ** 0.5)
    assert module.weight.grad is None
    assert [group["lr"] for group in optimizer.groups()] == [0.05]
    torch.testing.assert_close(before - module.weight, torch.full((2, 3), 0.05), atol=1e-5, rtol=0)  # Adam's first step
    assert optimizer.step(scale=1.0, clip=1.0) == 0.0, "no gradients: nothing happens"


def test_frozen_weights_are_left_out():
    module = linear()
    module.bias.requires_grad_(False)
    assert [len(group["params"]) for group in adamw(module, 0.1).groups()] == [1]


@pytest.mark.parametrize("make", [adamw, muon_adamw])
def test_state_resumes_exactly(make):
    def run(module, optimizer, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in module.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step(scale=1 / (step + 1), clip=1.0)

    models = [WanDiT(tiny_debug().model) for _ in range(3)]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    straight, first, second = models
    run(straight, make(straight, 0.01), range(6))
    early = make(first, 0.01)
    run(first, early, range(3))
    second.load_state_dict(first.state_dict())
    late = make(second, 0.01)
    late.load_state_dict(early.state_dict())
    assert all(group["base_lr"] == 0.01 for group in late.groups())
    run(second, late, range(3, 6))
    for name, value in straight.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_muon_takes_block_matrices_and_adamw_the_rest():
    model = WanDiT(tiny_debug().model)
    model.head.head.weight.requires_grad_(False)
    muon, adam = muon_adamw(model, 0.01).optimizers
    names = {id(p): name for name, p in model.named_parameters()}
    taken = [{names[id(p)] for group in optimizer.param_groups for p in group["params"]} for optimizer in (muon, adam)]
    assert taken[0] == {n for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
    assert taken[1] == {n for n in names.values() if n != "head.head.weight"} - taken[0]


@pytest.mark.parametrize("make", [adamw, muon_adamw])
def test_the_rate_of_a_step_follows_from_its_own_scale(make):
    optimizer = make(WanDiT(tiny_debug().model), lr=0.1)
    for scale in (0.5, 1.0, 0.2):
        optimizer.step(scale, clip=1.0)
        assert [group["lr"] for group in optimizer.groups()] == pytest.approx([0.1 * scale] * len(optimizer.optimizers))


@pytest.mark.parametrize("make", [adamw, muon_adamw])
def test_a_run_goes_on_with_the_rate_that_is_given_then(make):
    early, late = (make(WanDiT(tiny_debug().model), lr=lr) for lr in (0.1, 0.03))
    late.load_state_dict(early.state_dict())
    late.step(0.5, clip=1.0)
    assert [group["lr"] for group in late.groups()] == pytest.approx([0.015] * len(late.optimizers))


def test_weight_decay_is_of_matrices_and_muon_steps_as_adamw_does():
    model = WanDiT(tiny_debug().model)
    muon, adam = (optimizer.param_groups[0] for optimizer in muon_adamw(model, 0.01, weight_decay=0.1).optimizers)
    assert (muon["weight_decay"], adam["weight_decay"]) == (0.1, 0.0)
    assert (muon["momentum"], muon["adjust_lr_fn"]) == (0.95, "match_rms_adamw")
    assert adam["betas"] == (0.9, 0.99)
    alone = adamw(model, 0.01, weight_decay=0.2, betas=(0.0, 0.9)).optimizers[0].param_groups[0]
    assert (alone["weight_decay"], alone["betas"]) == (0.2, (0.0, 0.9))
