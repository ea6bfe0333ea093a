"""Which tensors of a checkpoint fit a preset: copied, widened by zero channels, made anew, or wrong.

New channels and new branches leave the output of the base bit-identical, and none of them is dead. A new input channel
has a zero column in the patch embedding, while the track head before it is random: the column then gets a gradient at
once, and the head after the first update. (With both at zero neither ever would.) A new image branch has zero values
(``v_img``) and random keys and projection, for the same reason.

Bit-identical holds in float32. In bfloat16 a kernel may sum a wider input in another order: the last bit can differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from motionstream.config import PresetConfig
from motionstream.models.convert.keys import TRACKS
from motionstream.models.convert.probe import Found
from motionstream.models.convert.source import Checkpoint
from motionstream.models.dit import WanDiT
from motionstream.models.init import new_value

Shape = tuple[int, ...]
PATCH = "patch_embedding.weight"
_IMAGE = ("img_emb.", ".k_img.", ".v_img.", ".norm_k_img.")


@dataclass(frozen=True)
class Fit:
    """Every tensor of the preset and where it comes from.

    Attributes:
        shapes: what the preset needs, by our names.
        copied: taken as they are. added: new channels and branches (see the module docstring).
        missing, unexpected: names. misshaped: name -> (found, needed).
    """

    shapes: dict[str, Shape]
    copied: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshaped: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.misshaped)

    def complaint(self) -> str:
        """Counts and the first few names of what does not fit, for one sentence."""
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} tensors missing ({_few(self.missing)})")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unexpected ({_few(self.unexpected)})")
        if self.misshaped:
            listed = [f"{name} is {found}, not {wanted}" for name, (found, wanted) in self.misshaped.items()]
            parts.append(f"{len(self.misshaped)} of another shape ({_few(listed, '; ')})")
        return ", ".join(parts)


def _few(names: list[str], between: str = ", ") -> str:
    return between.join(names[:3]) + (f"{between}..." if len(names) > 3 else "")


def expected_shapes(preset: PresetConfig) -> dict[str, Shape]:
    """Names and shapes of the preset's transformer, from a model on the meta device."""
    with torch.device("meta"):
        model = WanDiT(preset.model, preset.geometry.t_stride)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def fit(checkpoint: Checkpoint, found: Found, preset: PresetConfig) -> Fit:
    """Compare a checkpoint with a preset; nothing is read yet."""
    config = preset.model
    made = Fit(shapes=expected_shapes(preset), unexpected=list(found.foreign))
    had_image = any(_is_image(name) for name in found.names)
    stored = {ours: checkpoint.entries[name].shape for ours, name in found.names.items()}
    widened = _widens(stored.get(PATCH, ()), made.shapes[PATCH], config.latent_channels, config.image_channels)
    for name, wanted in made.shapes.items():
        if name not in found.names:
            new = (name.startswith(TRACKS) and widened) or (_is_image(name) and not had_image)
            (made.added if new else made.missing).append(name)
            continue
        shape = stored[name]
        if shape == wanted:
            made.copied.append(name)
        elif name == PATCH and widened:
            made.added.append(name)
        else:
            made.misshaped[name] = (shape, wanted)
    made.unexpected.extend(sorted(name for ours, name in found.names.items() if ours not in made.shapes))
    return made


def _widens(shape: Shape, wanted: Shape, latent: int, image: int) -> bool:
    """Only channels of the picture or the tracks, which stand last, are lacking."""
    if len(shape) != len(wanted) or shape[:1] + shape[2:] != wanted[:1] + wanted[2:]:
        return False
    return shape[1] in (latent, latent + image) and shape[1] < wanted[1]


def _is_image(name: str) -> bool:
    return any(part in name for part in _IMAGE)


def resized(name: str, value: Tensor | None, wanted: Shape) -> Tensor:
    """A tensor that the checkpoint does not have as needed: the patch embedding widened or cut, anything else made anew."""
    if name == PATCH and value is not None and value.shape[:1] + value.shape[2:] == wanted[:1] + wanted[2:]:
        wide = value.new_zeros(wanted)
        kept = min(value.shape[1], wanted[1])
        wide[:, :kept] = value[:, :kept]
        return wide
    return new_value(name, wanted)
