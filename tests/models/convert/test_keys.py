"""Every key map there and back, against names that diffusers itself has."""

import pytest

from motionstream.models.convert.fit import expected_shapes
from motionstream.models.convert.keys import from_diffusers, from_wan, to_diffusers, unwrapped


@pytest.mark.parametrize("form", ["t2v", "i2v", "ti2v"])
@pytest.mark.parametrize("tracks", [0, 3])
def test_there_and_back_is_the_identity(make_preset, form, tracks):
    ours = list(expected_shapes(make_preset(form, tracks=tracks)))
    theirs = [to_diffusers(name) for name in ours]
    assert None not in theirs
    assert len(set(theirs)) == len(ours)
    assert [from_diffusers(name) for name in theirs] == ours
    assert [from_wan(name) for name in ours] == ours
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) == len(ours) - 2 - bool(tracks)  # not the patch embedding


@pytest.mark.parametrize("form", ["t2v", "i2v", "ti2v"])
def test_names_and_shapes_are_those_of_diffusers(make_preset, make_reference, form):
    preset = make_preset(form)
    theirs = {name: tuple(value.shape) for name, value in make_reference(preset).state_dict().items()}
    assert {to_diffusers(name): shape for name, shape in expected_shapes(preset).items()} == theirs


def test_the_two_norms_swap():
    assert to_diffusers("blocks.7.norm3.weight") == "blocks.7.norm2.weight"
    assert from_diffusers("blocks.7.norm2.bias") == "blocks.7.norm3.bias"
    assert to_diffusers("blocks.7.norm2.weight") is None, "not affine, so it has no weight"
    assert from_diffusers("blocks.7.norm3.weight") is None


@pytest.mark.parametrize(
    "name", ["blocks.0.self_attn.q.lora", "blocks.x.norm3.weight", "foo.weight", "head", "img_emb.emb_pos"]
)
def test_names_that_wan_does_not_have(name):
    assert to_diffusers(name) is None
    assert from_wan(name) is None
    assert from_diffusers(name) is None


def test_wrappers_leave_nothing_in_names():
    wrapped = "model._fsdp_wrapped_module.blocks.1._checkpoint_wrapped_module._orig_mod.ffn.0.weight"
    assert unwrapped(wrapped) == "model.blocks.1.ffn.0.weight"
