"""LPIPS, the learned perceptual distance (Zhang et al. 2018), AlexNet form with the linear heads of version 0.1.

Both pictures go through AlexNet; the features after each of its five ReLUs are brought to unit length across channels,
squared differences are weighted by a learned head, averaged over the picture and added up. 0 = the same.

The weights are not ours to ship: ``tools/build_lpips.py`` makes the file from the published ones (docs/evaluation.md).

    distance = load_lpips("lpips_alex.safetensors")(one, other)      # (B, 3, H, W) in [0, 1] -> (B,)
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionstream.models.load import load_weights

VARIABLE = "MOTIONSTREAM_LPIPS"
MIN_SIDE_PX = 31
"""Below that nothing is left after AlexNet's second pooling."""
# Mean and deviation of ImageNet's colours, for pixels in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
CHANNELS = (64, 192, 384, 256, 256)


class LPIPS(nn.Module):
    """See the module; without loaded weights it is a random one, for tests."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))  # side, stride, padding
        inputs = (3, *CHANNELS[:-1])
        self.features = nn.ModuleList(
            nn.Conv2d(i, o, side, stride, padding)
            for i, o, (side, stride, padding) in zip(inputs, CHANNELS, kernels, strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in CHANNELS)
        self.register_buffer("shift", torch.tensor(SHIFT).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances ``(B,)`` between pictures ``(B, 3, H, W)`` in [0, 1].

        Raises:
            ValueError: different shapes, no colour pictures, or sides below 31 pixels.
        """
        if one.shape != other.shape or one.ndim != 4 or one.shape[1] != 3:
            raise ValueError(f"LPIPS compares (B, 3, H, W) with the same, got {tuple(one.shape)} and {tuple(other.shape)}")
        if min(one.shape[2:]) < MIN_SIDE_PX:
            raise ValueError(f"LPIPS needs sides of at least {MIN_SIDE_PX} pixels, got {one.shape[3]}x{one.shape[2]}")
        maps = self._stages(torch.cat([one, other]).float() * 2 - 1)
        total = one.new_zeros(len(one), dtype=torch.float32)
        for head, features in zip(self.heads, maps, strict=True):
            unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
            a, b = unit.chunk(2)
            total = total + head((a - b).square()).mean(dim=(1, 2, 3))
        return total

    def _stages(self, pixels: Tensor) -> list[Tensor]:
        """Features after each ReLU of pixels in [-1, 1]."""
        x, found = (pixels - self.shift) / self.scale, []
        for index, layer in enumerate(self.features):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(layer(x))
            found.append(x)
        return found


def load_lpips(path: str | Path, device: torch.device | str = "cpu") -> LPIPS:
    """LPIPS with the weights of ``path`` (safetensors, made by ``tools/build_lpips.py``).

    Raises:
        ValueError: a missing, damaged or unfitting file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"LPIPS weights {str(path)!r} do not exist: make them with tools/build_lpips.py")
    model = LPIPS()
    load_weights(path, model)
    return model.to(device).eval().requires_grad_(False)


def find_lpips(path: str | Path | None, device: torch.device | str = "cpu") -> tuple[LPIPS | None, str]:
    """LPIPS by a given path, else by the variable ``MOTIONSTREAM_LPIPS``; and the reason where there is none."""
    chosen = path or os.environ.get(VARIABLE)
    if not chosen:
        return None, f"no LPIPS weights: give --lpips-weights FILE or set {VARIABLE} (tools/build_lpips.py makes the file)"
    return load_lpips(chosen, device), ""
