"""The user's depth model through transformers: tiny random ones of two families, and what is no depth model."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motionstream.camera.estimate import estimate_depth

transformers = pytest.importorskip("transformers")
PROCESSOR = {
    "image_processor_type": "DPTImageProcessor",
    "size": {"height": 28, "width": 28},
    "ensure_multiple_of": 14,
    "do_pad": False,
}


def depth_anything(kind: str) -> object:
    backbone = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        out_features=["stage1", "stage2"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=24, patch_size=14, neck_hidden_sizes=[8, 8],
        reassemble_factors=[2, 1], fusion_hidden_size=8, head_hidden_size=8, depth_estimation_type=kind, max_depth=20,
    )  # fmt: skip
    return transformers.DepthAnythingForDepthEstimation(config)


def dpt() -> object:
    config = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=28, patch_size=14,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, is_hybrid=False,
    )  # fmt: skip
    return transformers.DPTForDepthEstimation(config)


def save(model: object, folder: Path) -> Path:
    model.save_pretrained(folder)  # type: ignore[attr-defined]
    # DPT takes squares, Depth Anything any multiple of its patches
    processor = {**PROCESSOR, "keep_aspect_ratio": not isinstance(model, transformers.DPTForDepthEstimation)}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))


@pytest.mark.parametrize("family", ["depth_anything", "metric", "dpt"])
def test_a_models_depth(tmp_path: Path, picture: Image.Image, family: str):
    torch.manual_seed(0)
    model = dpt() if family == "dpt" else depth_anything("metric" if family == "metric" else "relative")
    folder = save(model, tmp_path)
    depth = estimate_depth(picture, folder)
    assert depth.size == (40, 60)
    assert depth.metric == (family == "metric")
    assert ("its range is unknown" in " ".join(depth.notes)) == (family != "metric")
    assert str(tmp_path) in depth.source
    assert "torchvision" not in sys.modules
    assert estimate_depth(picture, folder).values == pytest.approx(depth.values)
    if family == "metric":  # the network's own numbers, at the picture's size
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
        inputs = processor(images=picture, return_tensors="pt")
        with torch.no_grad():
            raw = model.eval()(**inputs).predicted_depth[None]
        truth = torch.nn.functional.interpolate(raw, (40, 60), mode="bicubic")[0, 0].numpy()
        assert depth.values == pytest.approx(truth, rel=0.02, abs=0.02)
        assert not estimate_depth(picture, folder, kind="inverse").metric


def test_folders_without_a_depth_model(tmp_path: Path, picture: Image.Image):
    with pytest.raises(ValueError, match=r"holds no readable config\.json; give a folder with a depth model"):
        estimate_depth(picture, tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="must be a JSON object, got a list"):
        estimate_depth(picture, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"cannot be used as a depth model \(.*\); give another folder"):
        estimate_depth(picture, tmp_path)


def test_without_transformers(tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch):
    from motionstream.errors import sentence_of

    (tmp_path / "config.json").write_text('{"model_type": "dpt"}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        estimate_depth(picture, tmp_path)
    assert sentence_of(raised.value) == "the package transformers is not installed: pip install 'motionstream[text]'"
