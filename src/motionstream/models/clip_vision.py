"""The picture encoder of Wan's image-to-video models: CLIP's ViT-H/14 vision tower, from a user's folder.

Its penultimate layer gives 257 rows of 1,280 numbers (one for the picture, 256 for its 14x14 patches), which the DiT's image
cross-attention reads. It is needed once a stream.

    clip = ClipVision(Path("Wan2.1-I2V-14B-480P-Diffusers"))
    rows = clip(first_frame)                       # (B, 3, H, W) in [0, 1] -> (B, 257, 1280) float32
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from motionstream.models.extra import wan_library
from motionstream.models.tensor_files import read_settings

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipVision:
    """See the module docstring.

    Args:
        folder: a diffusers model folder with ``image_encoder/``, or that folder itself.
        device, dtype: where and in which type the tower runs.
        keep_loaded: keep it in memory after use (1.3 GB in bfloat16).

    Raises:
        ValueError: no usable config.json there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        keep_loaded: bool = False,
    ) -> None:
        folder = Path(folder)
        self.folder = folder / "image_encoder" if (folder / "image_encoder").is_dir() else folder
        path = self.folder / "config.json"
        if not path.is_file():
            raise ValueError(f"{self.folder} has no config.json: give a diffusers folder of Wan with image_encoder")
        config = read_settings(path)
        if config.get("model_type") != "clip_vision_model":
            raise ValueError(f"{path} describes {config.get('model_type')!r}: the picture encoder is a 'clip_vision_model'")
        try:
            self.size, self.patch, self.dim = (int(config[key]) for key in ("image_size", "patch_size", "hidden_size"))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path} lacks image_size, patch_size or hidden_size: download it again") from None
        self.rows = (self.size // self.patch) ** 2 + 1
        self.device, self.dtype, self.keep_loaded = torch.device(device), dtype, keep_loaded
        self._tower: Any = None

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Pictures ``(B, 3, H, W)`` in [0, 1] -> penultimate rows ``(B, rows, dim)`` float32 on the CPU.

        Raises:
            ValueError: another shape, or a tower that cannot be loaded.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image of shape {tuple(image.shape)} does not fit: give (B, 3, H, W) in [0, 1]")
        tower = self._load()
        pixels = preprocess(image.to(self.device), self.size).to(self.dtype)
        rows = tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-2].float().cpu()
        if not self.keep_loaded:
            del tower
            self.free()
        return rows

    def free(self) -> None:
        """Let the tower go."""
        self._tower = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load(self) -> Any:
        if self._tower is None:
            try:
                tower, report = wan_library("transformers").CLIPVisionModel.from_pretrained(
                    str(self.folder), dtype=self.dtype, local_files_only=True, output_loading_info=True
                )
            except (OSError, RuntimeError, SafetensorError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ValueError(f"picture encoder in {self.folder} cannot be loaded ({reason})") from None
            if missing := sorted(report["missing_keys"]):
                raise ValueError(
                    f"picture encoder in {self.folder} lacks {len(missing)} tensors ({missing[0]}, ...): download it again"
                )
            self._tower = tower.to(self.device).eval().requires_grad_(False)
        return self._tower


def preprocess(image: Tensor, size: int) -> Tensor:
    """Pictures ``(B, 3, H, W)`` in [0, 1] -> ``(B, 3, size, size)``, bicubic and normalised as CLIP wants.

    As in Wan's own code the whole picture is squeezed to a square, without a low-pass filter. (diffusers' pipelines resize
    the short side and cut off the rest.)
    """
    square = F.interpolate(image.float(), size=(size, size), mode="bicubic", align_corners=False)
    mean, std = (
        torch.tensor(values, device=image.device, dtype=torch.float32)[:, None, None] for values in (CLIP_MEAN, CLIP_STD)
    )
    return (square - mean) / std
