"""The picture encoder with a tiny random CLIP vision tower."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motionstream.models.clip_vision import CLIP_MEAN, CLIP_STD, ClipVision, preprocess

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("wan")
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, projection_dim=8, num_hidden_layers=3, num_attention_heads=2,
        image_size=28, patch_size=14, hidden_act="gelu",
    )  # fmt: skip
    tower = transformers.CLIPVisionModel(config)
    for weight in tower.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    tower.save_pretrained(made / "image_encoder")
    return made


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, 40, 72, generator=torch.Generator().manual_seed(seed))


def test_rows_are_the_penultimate_layer(folder: Path):
    clip = ClipVision(folder)
    rows = clip(picture())
    assert (rows.shape, rows.dtype) == ((1, 5, 16), torch.float32)
    tower = transformers.CLIPVisionModel.from_pretrained(folder / "image_encoder").eval()
    with torch.no_grad():
        states = tower(pixel_values=preprocess(picture(), 28), output_hidden_states=True).hidden_states
    assert len(states) == 4
    torch.testing.assert_close(rows, states[2])
    assert not torch.allclose(rows, states[3], atol=1e-2)
    assert not torch.allclose(rows, clip(picture(1)), atol=1e-2)
    assert clip._tower is None  # freed
    kept = ClipVision(folder / "image_encoder", keep_loaded=True)
    # not to the last bit: some processors multiply one row in another order than two
    torch.testing.assert_close(kept(torch.cat([picture(), picture(1)]))[:1], kept(picture()))
    assert kept._tower is not None


def test_preprocess():
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    assert tuple(OPENAI_CLIP_MEAN) == CLIP_MEAN
    assert tuple(OPENAI_CLIP_STD) == CLIP_STD
    grey = preprocess(torch.full((2, 3, 40, 72), 0.5), 28)
    assert grey.shape == (2, 3, 28, 28)
    torch.testing.assert_close(grey[0, :, 3, 3], (0.5 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD))
    # Enlarging needs no low-pass filter, so Pillow's bicubic must agree (its kernel has a = -0.5, torch's -0.75).
    smooth = torch.linspace(0, 1, 20)[None, :].expand(14, 20)
    bigger = preprocess(smooth.expand(1, 3, 14, 20), 28)[0, 0] * CLIP_STD[0] + CLIP_MEAN[0]
    pillow = Image.fromarray(smooth.numpy().astype(np.float32)).resize((28, 28), Image.Resampling.BICUBIC)
    torch.testing.assert_close(bigger[:, 2:-2], torch.from_numpy(np.array(pillow))[:, 2:-2], atol=0.01, rtol=0)


def test_bad_input(folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"has no config\.json"):
        ClipVision(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        ClipVision(tmp_path)
    for odd, words in ((b"\xff", "not valid JSON"), (b"[]", "holds no settings but a list")):
        (tmp_path / "config.json").write_bytes(odd)
        with pytest.raises(ValueError, match=words):
            ClipVision(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(ValueError, match="describes 'siglip'"):
        ClipVision(tmp_path)
    config = json.loads((folder / "image_encoder" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"image_size": None}))
    with pytest.raises(ValueError, match="lacks image_size"):
        ClipVision(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="cannot be loaded"):
        ClipVision(tmp_path)(picture())
    weights = (folder / "image_encoder" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="cannot be loaded"):
        ClipVision(tmp_path)(picture())
    with pytest.raises(ValueError, match=r"give \(B, 3, H, W\)"):
        ClipVision(folder)(picture()[0])
