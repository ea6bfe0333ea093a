"""What a checkpoint is, by its keys and shapes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from motionstream.models.convert.fit import expected_shapes
from motionstream.models.convert.keys import to_diffusers
from motionstream.models.convert.probe import matching_preset, probe, sizes_of
from motionstream.models.convert.source import Checkpoint, Entry
from motionstream.presets import PRESETS, preset


def checkpoint_of(shapes: dict[str, tuple[int, ...]], stored_as: str = "BF16") -> Checkpoint:
    """A checkpoint of shapes alone: recognising one reads no value."""

    def read(name: str) -> Tensor:
        raise AssertionError(f"{name} was read")

    dtype = {"BF16": torch.bfloat16}.get(stored_as)
    return Checkpoint(Path("x.safetensors"), "", {n: Entry(s, dtype, stored_as) for n, s in shapes.items()}, read)


RENAMES: dict[str, tuple[str, str, Callable[[str], str | None]]] = {
    "original": ("wan", "", lambda name: name),
    "diffusers": ("diffusers", "", to_diffusers),
    "comfy": ("wan", "model.diffusion_model.", lambda name: f"model.diffusion_model.{name}"),
    "comfy, bare": ("wan", "diffusion_model.", lambda name: f"diffusion_model.{name}"),
    "self-forcing": ("wan", "model.", lambda name: f"model.{name}"),
    "a whole dictionary": ("wan", "generator.model.", lambda name: f"generator.model.{name}"),
    "fsdp": (
        "wan",
        "model.",
        lambda name: f"model._fsdp_wrapped_module.{name.replace('blocks.0.', 'blocks.0._fsdp_wrapped_module.')}",
    ),
    "checkpointed": (
        "wan",
        "model.",
        lambda name: f"model.{name.replace('blocks.1.', 'blocks.1._checkpoint_wrapped_module.')}",
    ),
    "compiled": ("wan", "", lambda name: f"_orig_mod.{name}"),
}


@pytest.mark.parametrize("kind", RENAMES)
@pytest.mark.parametrize("form", ["t2v", "i2v", "ti2v"])
def test_every_style_is_found_by_its_keys(make_preset, form, kind):
    made = make_preset(form, tracks=3)
    shapes = expected_shapes(made)
    style, prefix, rename = RENAMES[kind]
    found = probe(checkpoint_of({rename(name): shape for name, shape in shapes.items()}))
    assert (found.style, found.prefix) == (style, prefix)
    assert found.names == {name: rename(name) for name in shapes}
    assert found.foreign == []
    assert found.sizes == sizes_of(made.model)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_known_by_its_sizes(name):
    checkpoint = checkpoint_of(expected_shapes(preset(name)))
    assert matching_preset(checkpoint, probe(checkpoint)) == preset(name)


def test_names_of_nobody_are_kept_apart(make_preset):
    shapes = expected_shapes(make_preset()) | {"ref_conv.weight": (1,), "vae.decoder.conv1.weight": (2,)}
    assert probe(checkpoint_of(shapes)).foreign == ["ref_conv.weight", "vae.decoder.conv1.weight"]
    checkpoint = checkpoint_of(shapes)
    checkpoint.entries["text.position_ids"] = Entry((77,), None, "I64")
    assert "text.position_ids" in probe(checkpoint).foreign, "not weights of ours, so its type does not matter"


OTHERS = [
    ({"decoder.conv1.weight": (1,), "encoder.conv1.weight": (1,), "conv1.weight": (1,)}, "autoencoder"),
    ({"decoder.conv_in.weight": (1,)}, "autoencoder"),
    ({"token_embedding.weight": (1,), "blocks.0.attn.q.weight": (1,)}, "text encoder"),
    ({"shared.weight": (1,), "encoder.block.0.layer.0.SelfAttention.q.weight": (1,)}, "text encoder"),
    ({"visual.conv1.weight": (1,)}, "CLIP image encoder"),
    ({"double_blocks.0.img_attn.qkv.weight": (1,)}, "FLUX or Hunyuan"),
    ({"model.diffusion_model.input_blocks.0.0.weight": (1,)}, "Stable Diffusion"),
    ({"transformer_blocks.0.attn1.to_q.weight": (1,)}, "another family"),
    ({"model.layers.0.self_attn.q_proj.weight": (1,)}, "language model"),
    ({"base_model.model.blocks.0.self_attn.q.lora_A.weight": (1,)}, "a LoRA: give its base"),
    ({"anything": (1,)}, "its tensors: anything"),
    ({}, "it is empty"),
]


@pytest.mark.parametrize(("shapes", "words"), OTHERS)
def test_other_families_are_named(shapes, words):
    with pytest.raises(ValueError, match=f"is not a Wan transformer.*{words}.*: give Wan 2.1 1.3B"):
        probe(checkpoint_of(shapes))


def test_mixed_styles_and_packed_weights_are_refused(make_preset):
    shapes = expected_shapes(make_preset())
    mixed = {(to_diffusers(name) if name.startswith("blocks.1") else name): shape for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=r"mixes two styles of names: \d+ of wan and \d+ of diffusers \(blocks\.1\.attn1"):
        probe(checkpoint_of(mixed))
    with pytest.raises(ValueError, match=r"type F8_E4M3 .*fp8 and other packed weights are not read"):
        probe(checkpoint_of(shapes, "F8_E4M3"))
    with pytest.raises(ValueError, match=r"scales of quantised weights \(blocks.0.ffn.0.scale_weight\)"):
        probe(checkpoint_of(shapes | {"blocks.0.ffn.0.scale_weight": (1,)}))


def test_a_size_that_is_no_preset_says_what_would_fit():
    def refused(words: str, **sizes) -> None:
        shapes = {
            "patch_embedding.weight": (sizes["dim"], sizes["channels"], 1, 2, 2),
            "head.head.weight": (64, sizes["dim"]),
            **{f"blocks.{i}.norm3.weight": (sizes["dim"],) for i in range(sizes["layers"])},
        }
        checkpoint = checkpoint_of(shapes)
        with pytest.raises(ValueError, match=words) as error:
            matching_preset(checkpoint, probe(checkpoint))
        assert "nano" not in str(error.value)

    refused(
        r"dim 5120, 40 layers, 36 input channels, which is no preset's form \(.*wan2.2-5b", dim=5120, layers=40, channels=36
    )
    refused(r"dim 1536, 30 layers, 48 input channels.*wan2.1-1.3b: dim 1536", dim=1536, layers=30, channels=48)
