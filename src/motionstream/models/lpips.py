"""LPIPS, the learned perceptual distance (Zhang et al. 2018), AlexNet and VGG16 forms with the linear heads of version 0.1.

Both pictures go through the network; the features at five depths are brought to unit length across channels,
squared differences are weighted by a learned head, averaged over the picture and added up. 0 = the same.
AlexNet's is the one that results are reported in; VGG16's gradients are the better ones to train on.

The weights are not ours to ship: ``tools/build_lpips.py`` makes the files from the published ones (docs/evaluation.md).

    distance = load_lpips("lpips_alex.safetensors")(one, other)      # (B, 3, H, W) in [0, 1] -> (B,)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from motionstream.models.load import load_weights

VARIABLE = "MOTIONSTREAM_LPIPS"
TINY = 1e-10
"""Added to lengths; within the root too, whose slope at 0 is infinite."""
# Mean and deviation of ImageNet's colours, for pixels in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class Net:
    """A classifier's convolutions.

    Attributes:
        convs: output channels, side of the kernel, stride and padding of each; a ReLU follows.
        pool: side of the pooling, of stride 2, that stands before the convolutions numbered ``pooled``.
        read: the convolutions after whose ReLU features are compared.
        min_side_px: smaller pictures leave nothing at the end.
    """

    convs: tuple[tuple[int, int, int, int], ...]
    pool: int
    pooled: tuple[int, ...]
    read: tuple[int, ...]
    min_side_px: int


NETS = {
    "alex": Net(
        convs=((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)),
        pool=3,
        pooled=(1, 2),
        read=(0, 1, 2, 3, 4),
        min_side_px=31,
    ),
    "vgg": Net(
        convs=tuple((channels, 3, 1, 1) for channels in (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)),
        pool=2,
        pooled=(2, 4, 7, 10),
        read=(1, 3, 6, 9, 12),
        min_side_px=16,
    ),
}


class LPIPS(nn.Module):
    """See the module; without loaded weights it is a random one, for tests.

    Args:
        net: "alex" or "vgg".
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        self.net = NETS[net]
        inputs = (3, *(conv[0] for conv in self.net.convs[:-1]))
        self.features = nn.ModuleList(
            nn.Conv2d(before, after, side, stride, padding)
            for before, (after, side, stride, padding) in zip(inputs, self.net.convs, strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(self.net.convs[index][0], 1, 1, bias=False) for index in self.net.read)
        self.register_buffer("shift", torch.tensor(SHIFT, dtype=torch.float32).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE, dtype=torch.float32).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances ``(B,)`` between pictures ``(B, 3, H, W)`` in [0, 1].

        Raises:
            ValueError: different shapes, no colour pictures, or sides below 31 (AlexNet) or 16 (VGG16) pixels.
        """
        if one.shape != other.shape or one.ndim != 4 or one.shape[1] != 3:
            raise ValueError(f"LPIPS compares (B, 3, H, W) with the same, got {tuple(one.shape)} and {tuple(other.shape)}")
        fewest = self.net.min_side_px
        if min(one.shape[2:]) < fewest:
            raise ValueError(f"LPIPS needs sides of at least {fewest} pixels, got {one.shape[3]}x{one.shape[2]}")
        total = one.new_zeros(len(one), dtype=torch.float32)
        for head, a, b in zip(self.heads, self._features(one), self._features(other), strict=True):
            total = total + head((a - b).square()).mean(dim=(1, 2, 3))
        return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """What is compared, of unit length across channels. Each picture goes alone: training keeps nothing of the truth."""
        x, found = (pictures.float() * 2 - 1 - self.shift) / self.scale, []
        for index, layer in enumerate(self.features):
            if index in self.net.pooled:
                x = F.max_pool2d(x, self.net.pool, 2)
            x = F.relu(layer(x))
            if index in self.net.read:
                whole = x.float()
                found.append(whole / ((whole.square().sum(1, keepdim=True) + TINY**2).sqrt() + TINY))
        return found


def load_lpips(path: str | Path, device: torch.device | str = "cpu") -> LPIPS:
    """LPIPS with the weights of ``path`` (safetensors, made by ``tools/build_lpips.py``), whose network it is.

    Raises:
        ValueError: a missing, damaged or unfitting file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"LPIPS weights {str(path)!r} do not exist: make them with tools/build_lpips.py")
    model = LPIPS(_net_of(path))
    load_weights(path, model)
    return model.to(device).eval().requires_grad_(False)


def _net_of(path: Path) -> str:
    """Which of `NETS` a file holds: the one with as many convolutions. What cannot be read is left to `load_weights`."""
    try:
        with safe_open(path, framework="pt") as stored:
            deepest = f"features.{len(NETS['vgg'].convs) - 1}.weight"
            return "vgg" if deepest in stored.keys() else "alex"
    except Exception:  # safetensors has no narrower one
        return "alex"


def find_lpips(path: str | Path | None, device: torch.device | str = "cpu") -> tuple[LPIPS | None, str]:
    """LPIPS by a given path, else by the variable ``MOTIONSTREAM_LPIPS``; and the reason where there is none."""
    chosen = path or os.environ.get(VARIABLE)
    if not chosen:
        return None, f"no LPIPS weights: give --lpips-weights FILE or set {VARIABLE} (tools/build_lpips.py makes the file)"
    model = load_lpips(chosen, device)
    if model.net is not NETS["alex"]:
        raise ValueError(f"{str(chosen)!r} holds VGG16's LPIPS, and results are in AlexNet's: give the file of that one")
    return model, ""
