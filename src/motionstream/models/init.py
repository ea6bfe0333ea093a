"""Initialisations that make track following learnable on little compute (docs/LOG.md: "matching heads").

Codes ask attention to find, from the code in frame t, the same code in frame 0 and to carry what the picture shows there.
Nothing else in the loss builds that circuit quickly, so layer 0 starts with it: one head for each pixel frame that a latent
covers, or, where codes tell places, for each corner of a cell. The architecture is unchanged and everything stays trainable.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from motionstream.models.blocks import SelfAttention, WanBlock
from motionstream.models.dit import WanDiT
from motionstream.models.load import load_weights
from motionstream.models.track_head import TrackHead
from motionstream.nn.rope import axis_widths


@torch.no_grad()
def init_from_scratch(model: WanDiT, seed: int = 0) -> None:
    """Plain small random weights: gates open, modulation otherwise neutral, output zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            std = (2 / (module.in_features + module.out_features)) ** 0.5
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator, dtype=torch.float32) * std)
            if module.bias is not None:
                module.bias.zero_()
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            fan_in = module.weight[0].numel()
            module.weight.copy_(
                torch.randn(module.weight.shape, generator=generator, dtype=torch.float32) * (3 * fan_in) ** -0.5
            )
            if module.bias is not None:
                module.bias.zero_()
    for block in _blocks(model):
        block.modulation.zero_()
        for gate in (2, 5):
            block.modulation[:, gate] = 1.0
        block.cross_attn.o.weight.mul_(0.3)
    projection = model.time_projection[1]
    assert isinstance(projection, nn.Linear)
    projection.weight.mul_(0.1)
    model.head.modulation.zero_()
    model.head.head.weight.zero_()


@torch.no_grad()
def init_matching_heads(model: WanDiT, t_stride: int = 4, gain: float = 1.7, carry: float = 1.2) -> None:
    """Lay out the residual stream and build the matching circuit in layer 0; call after :func:`init_from_scratch`.

    Residual dims: track latents | noisy | first-frame latent | mask | repeated first frame | carried content, a group of
    latent channels for each of ``t_stride`` heads | free. With codes of random ids a head carries what the code of one
    packed frame belongs to; with "origin" codes, what lies half a cell from the cell's centre towards one of its corners.

    Raises:
        ValueError: if the model is too narrow, has patch > 1, or too few heads.
    """
    config = model.config
    C, tracks = config.latent_channels, config.tracks.channels
    if config.patch != 1 or config.first_frame != "repeat" or config.num_heads < t_stride or model.track_head is None:
        raise ValueError("matching heads need patch=1, first_frame='repeat', a track head and one head per packed frame")
    at_noisy, at_first = tracks, tracks + C
    at_mask, at_repeat = tracks + 2 * C, tracks + 2 * C + 1
    at_carry = at_repeat + C
    if at_carry + t_stride * C > config.dim:
        raise ValueError(f"dim={config.dim} is too narrow for matching heads: {at_carry + t_stride * C} are needed")
    generator = torch.Generator().manual_seed(7)

    # Patch embedding: inputs go to named residual dims (channel order of WanDiT.assemble).
    embed = model.patch_embedding.weight
    embed.zero_()
    assert model.patch_embedding.bias is not None
    model.patch_embedding.bias.zero_()
    targets = [*range(at_noisy, at_noisy + C), *range(at_first, at_first + C), at_mask]
    targets += [*range(at_repeat, at_repeat + C), *range(tracks)]
    for channel, target in enumerate(targets):
        embed[target, channel, 0, 0, 0] = 1.0
    free = slice(at_carry + t_stride * C, config.dim)
    embed[free] = torch.randn(embed[free].shape, generator=generator, dtype=torch.float32) * 0.1
    embed[at_mask, 2 * C] = 2.0

    matched = _init_track_head(model.track_head, config.num_heads, generator)
    _init_matching(_blocks(model)[0].self_attn, matched, at_mask, gain, generator)
    attn, E = _blocks(model)[0].self_attn, config.head_dim
    attn.v.bias.zero_()
    attn.o.bias.zero_()
    for head in range(config.num_heads):
        attn.v.weight[head * E : head * E + C] = 0.0
        attn.v.weight[torch.arange(C) + head * E, torch.arange(C) + at_first] = 1.0
        attn.o.weight[:, head * E : head * E + C] = 0.0
        attn.o.weight[torch.arange(C) + at_carry + head % t_stride * C, torch.arange(C) + head * E] = (
            carry * t_stride / config.num_heads
        )


@torch.no_grad()
def init_recoded(model: WanDiT, path: Path, t_stride: int = 4, seed: int = 0) -> None:
    """Fill ``model`` with the weights of ``path``, which was trained with other track codes.

    What reads the codes is as in :func:`init_matching_heads`: the track head, its columns of the patch embedding, queries
    and keys of layer 0. The rest is kept, and soon fits again (docs/LOG.md).

    Raises:
        ValueError: the file does not exist, or is of another architecture otherwise.
    """
    init_from_scratch(model, seed)
    init_matching_heads(model, t_stride)
    assert model.track_head is not None
    fresh = {name: value.clone() for name, value in model.state_dict().items() if _reads_codes(name)}
    columns = slice(model.config.in_channels - model.config.tracks.channels, None)
    embedded = model.patch_embedding.weight[:, columns].clone()
    load_weights(path, model, skip=_reads_codes)
    model.load_state_dict(fresh, strict=False)
    model.patch_embedding.weight[:, columns] = embedded


def _reads_codes(name: str) -> bool:
    return name.startswith(("track_head.", *(f"blocks.0.self_attn.{part}." for part in ("q", "k", "norm_q", "norm_k"))))


def _init_track_head(head: TrackHead, num_heads: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Set the track head; returns what each head of layer 0 matches: maps ``(slot, channels)`` of query and of key."""
    config, packed = head.config, head.t_stride
    D, channels = config.code_dim, config.channels
    weight = head.conv.weight
    weight.zero_()
    if config.code != "origin":
        # Each packed frame keeps a random orthogonal projection of its code, the same for every frame.
        slot = channels // packed
        basis = _orthogonal(slot, D, generator)
        maps = []
        for frame in range(packed):
            rows, columns = slice(frame * slot, (frame + 1) * slot), slice(frame * D, (frame + 1) * D)
            weight[rows, columns, 0, 0, 0] = basis
        for index in range(num_heads):
            read = torch.zeros(slot, channels, dtype=torch.float32)
            read[:, index % packed * slot : (index % packed + 1) * slot] = _orthogonal(slot, slot, generator)
            maps.append((read, read))
        return maps
    # The mean over frames of the long periods, which tell the cell; of each frame the short ones, sign and what has left.
    periods = [period for _ in range(2) for period in config.origin_periods]  # x, then y
    coarse = [2 * i + part for i, period in enumerate(periods) if period >= 2 for part in (0, 1)]
    fine = [2 * i + part for i, period in enumerate(periods) if period <= 2 for part in (0, 1)] + [D - 2]
    if (needed := len(coarse) + packed * (len(fine) + 1)) > channels:
        raise ValueError(f"tracks.channels={channels} are too few for these codes: {needed} are needed")
    for frame in range(packed):
        weight[range(len(coarse)), [frame * D + dim for dim in coarse], 0, 0, 0] = 1 / packed
        row = len(coarse) + frame * len(fine)
        weight[range(row, row + len(fine)), [frame * D + dim for dim in fine], 0, 0, 0] = 1.0
        weight[len(coarse) + packed * len(fine) + frame, frame * D + D - 1, 0, 0, 0] = 1.0  # what has left
    # A shifted place is a turned sinusoid: the four heads look half a cell towards the four corners.
    key = torch.zeros(len(coarse), channels, dtype=torch.float32)
    key[range(len(coarse)), range(len(coarse))] = 1.0
    maps = []
    for index in range(num_heads):
        corner = (index % 2 - 0.5, index // 2 % 2 - 0.5)
        turn = torch.zeros(len(coarse), len(coarse), dtype=torch.float32)
        axes = [(axis, period) for axis in range(2) for period in config.origin_periods if period >= 2]
        for pair, (axis, period) in enumerate(axes):
            angle = 2 * math.pi * corner[axis] / period
            a, b = 2 * pair, 2 * pair + 1
            turn[a, a] = turn[b, b] = math.cos(angle)
            turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        maps.append((turn @ key, key))
    return maps


def _init_matching(
    attn: SelfAttention, matched: list[tuple[Tensor, Tensor]], at_mask: int, gain: float, generator: torch.Generator
) -> None:
    """Queries and keys of layer 0: ``matched`` maps of the track latents into dims that hardly turn with the place."""
    E = len(attn.q.weight) // attn.num_heads
    fast, slow = _rotary_dims(E)
    slot, tracks = matched[0][0].shape
    if len(slow) < slot + 1:
        raise ValueError(f"head width {E} has {len(slow)} slow rotary dims, {slot + 1} are needed: use fewer track channels")
    for linear in (attn.q, attn.k):
        linear.bias.zero_()
        linear.weight.mul_(0.05 * 0.2)
    attn.norm_q.weight.fill_(gain)
    attn.norm_k.weight.fill_(gain)
    for head, maps in enumerate(matched):
        dims = torch.tensor(slow[:slot]) + head * E
        for linear, read in zip((attn.q, attn.k), maps, strict=True):
            linear.weight[dims, :tracks] = read
            # Same place as a fallback: constant parts in the fast dims are largest for equal positions.
            linear.bias[torch.tensor(fast) + head * E] = 1.0
        prefer = head * E + slow[slot]
        # Keys of frame 0 (its mask is 2 before the norm, about 2.5 after) are preferred over the same code elsewhere.
        attn.k.weight[prefer, at_mask] = 2.4
        attn.k.bias[prefer] = -3.0
        attn.q.bias[prefer] = 4.0


def new_value(name: str, shape: tuple[int, ...]) -> Tensor:
    """Initial value of a parameter by its name, float32, always the same for one name and shape.

    Norms are the identity, biases and the image branch's values zero, everything else small and random.
    """
    module, _, leaf = name.rpartition(".")
    if leaf == "bias" or module.endswith("v_img"):
        return torch.zeros(shape, dtype=torch.float32)
    if leaf == "weight" and len(shape) == 1:
        return torch.ones(shape, dtype=torch.float32)
    generator = torch.Generator().manual_seed(sum(ord(c) * 31**i for i, c in enumerate(name)) % 2**31)
    fan_in = shape[-1] if leaf == "modulation" else torch.Size(shape[1:]).numel()
    return torch.randn(shape, generator=generator, dtype=torch.float32) * fan_in**-0.5


def _blocks(model: WanDiT) -> list[WanBlock]:
    return [block for block in model.blocks if isinstance(block, WanBlock)]


def _rotary_dims(head_dim: int) -> tuple[list[int], list[int]]:
    """Head dims that turn fast in space (first of each pair), and those that hardly turn at all over small grids."""
    fast, slow, offset = [], [], 0
    for axis, width in enumerate(axis_widths(head_dim)):
        pairs = width // 2
        for pair in range(pairs):
            frequency = 10_000.0 ** (-pair / max(pairs, 1))
            dims = [offset + 2 * pair, offset + 2 * pair + 1]
            if frequency * 16 < 0.7:
                slow += dims
            elif axis > 0:
                fast.append(dims[0])
        offset += width
    return fast, slow


def _orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    matrix = torch.randn(max(rows, columns), max(rows, columns), generator=generator, dtype=torch.float32)
    return torch.linalg.qr(matrix).Q[:rows, :columns]
