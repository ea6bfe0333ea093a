"""Depth by a monocular estimator that the user has: any model that transformers' depth-estimation pipeline can load.

The weights are the user's, in a local folder in the Hugging Face layout (config.json, preprocessor_config.json,
*.safetensors). Nothing is downloaded, and torchvision is not needed: transformers then prepares pictures with PIL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from motionstream.camera.depth import FAR_OVER_NEAR, DepthMap, Kind, depth_from_values

# What these give is depth; the other known ones give inverse depth up to scale and shift.
METRIC_MODELS = frozenset({"zoedepth", "depth_pro", "glpn"})


def estimate_depth(
    picture: Image.Image,
    folder: str | Path,
    *,
    kind: Kind | None = None,
    device: str | None = None,
    far_over_near: float = FAR_OVER_NEAR,
) -> DepthMap:
    """Estimate the depth of a picture.

    Args:
        picture: upright RGB.
        folder: a model's weights and configuration.
        kind: what the model gives, as in `depth_from_values`; None = by its configuration.
        device: "cpu", "cuda", ...; None = cpu.
        far_over_near: range for relative estimates, see `depth_from_values`.

    Raises:
        ValueError: a folder that is no depth model, or a result without depth.
        ModuleNotFoundError: transformers is not installed.
    """
    folder = Path(folder)
    config = _read_config(folder)
    from transformers import pipeline
    from transformers.utils import logging

    spoken = logging.get_verbosity()
    logging.set_verbosity_error()  # it would say that torchvision is missing, which is meant
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # The name of a task is not known to every release's type stubs, hence Any.
        make: Any = pipeline
        estimator = make(
            "depth-estimation", model=str(folder), device=device or "cpu", model_kwargs={"use_safetensors": True}
        )
        estimate = estimator(picture)["predicted_depth"]
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(folder)!r} cannot be used as a depth model ({reason}); give another folder") from error
    finally:
        logging.set_verbosity(spoken)
        if bars:
            logging.enable_progress_bar()
    values = np.squeeze(estimate.detach().float().cpu().numpy())
    source = f"estimated by {config.get('model_type')} in {str(folder)!r}"
    kind = kind or _kind_of(config)
    return depth_from_values(values, kind, source=source, far_over_near=far_over_near).resized(
        (picture.height, picture.width)
    )


def _kind_of(config: dict[str, Any]) -> Kind:
    metric = config.get("model_type") in METRIC_MODELS or config.get("depth_estimation_type") == "metric"
    return "metric" if metric else "relative"


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} holds no readable config.json; give a folder with a depth model for transformers "
            "(config.json, preprocessor_config.json, model.safetensors)"
        ) from error
    if not isinstance(config, dict):
        raise ValueError(f"config.json in {str(folder)!r} must be a JSON object, got a {type(config).__name__}")
    return config
