"""Key maps: a parameter's name in the original Wan (and here) <-> its name in diffusers, and what people wrap around names.

The trap: norm2 and norm3 swap. Wan's ``norm3`` is the affine norm before cross-attention, which diffusers calls ``norm2``.
"""

from __future__ import annotations

import re

FRAGMENTS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""What FSDP, activation checkpointing and torch.compile put inside names."""

PREFIXES = ("", "model.", "model.diffusion_model.", "diffusion_model.", "generator.model.", "generator.", "transformer.")
"""What people put before all names: nothing, Self-Forcing's wrapper, ComfyUI, whole pipelines."""

TRACKS = "track_head."
"""Ours alone: these names are the same in every style."""

_OUTER = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
}
_BLOCK = {
    **{f"self_attn.{part}": f"attn1.to_{part}" for part in "qkv"},
    "self_attn.o": "attn1.to_out.0",
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    **{f"cross_attn.{part}": f"attn2.to_{part}" for part in "qkv"},
    "cross_attn.o": "attn2.to_out.0",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
_OUTER_BACK = {theirs: ours for ours, theirs in _OUTER.items()}
_BLOCK_BACK = {theirs: ours for ours, theirs in _BLOCK.items()}
_IN_BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")
_LEAVES = ("weight", "bias")


def to_diffusers(name: str) -> str | None:
    """Our (Wan's) name -> diffusers' name; None for a name that Wan does not have.

    >>> to_diffusers("blocks.3.norm3.weight"), to_diffusers("head.modulation")
    ('blocks.3.norm2.weight', 'scale_shift_table')
    """
    return _translate(name, _OUTER, _BLOCK, "head.modulation", "scale_shift_table", "modulation", "scale_shift_table")


def from_diffusers(name: str) -> str | None:
    """diffusers' name -> our (Wan's) name; None for a name that diffusers' Wan does not have.

    >>> from_diffusers("blocks.3.attn2.to_out.0.bias")
    'blocks.3.cross_attn.o.bias'
    """
    return _translate(
        name, _OUTER_BACK, _BLOCK_BACK, "scale_shift_table", "head.modulation", "scale_shift_table", "modulation"
    )


def from_wan(name: str) -> str | None:
    """The name itself where the original Wan (or our track head) has it, else None."""
    return name if to_diffusers(name) is not None else None


def unwrapped(name: str) -> str:
    """``name`` without the fragments that training wrappers leave.

    >>> unwrapped("model._fsdp_wrapped_module.blocks.0._orig_mod.norm3.bias")
    'model.blocks.0.norm3.bias'
    """
    for fragment in FRAGMENTS:
        name = name.replace(fragment, "")
    return name


def _translate(
    name: str, outer: dict[str, str], block: dict[str, str], top: str, top_to: str, table: str, table_to: str
) -> str | None:
    if name.startswith(TRACKS):
        return name
    if name == top:
        return top_to
    inside = _IN_BLOCK.fullmatch(name)
    before, rest, names = (inside[1], inside[2], block) if inside else ("", name, outer)
    if inside and rest == table:
        return before + table_to
    module, _, leaf = rest.rpartition(".")
    return f"{before}{names[module]}.{leaf}" if leaf in _LEAVES and module in names else None
