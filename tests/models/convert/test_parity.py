"""Our transformer, filled through ``convert``, is diffusers' ``WanTransformer3DModel``: fp32, relative error <= 1e-5.

diffusers as it is: its float32 sinusoid of the timestep (Wan's and ours is float64) is most of the 5e-6 that is seen.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from motionstream.config import PresetConfig, to_json
from motionstream.models.convert.transfer import Conversion, convert
from motionstream.models.denoise import predict
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.load import load_model

TOLERANCE = 1e-5
SIZES = [
    {},
    {"dim": 72, "num_heads": 3, "ffn_dim": 40, "num_layers": 3},
    {"dim": 128, "num_heads": 1, "num_layers": 1},  # Wan's own head width
]


def through_convert(folder: Path, reference: Any, preset: PresetConfig) -> WanDiT:
    """diffusers' weights on disk -> ours on disk -> our network."""
    theirs, ours, form = folder / "transformer", folder / "ours", folder / "form"
    for made in (theirs, form):
        made.mkdir()
    save_file(reference.state_dict(), theirs / "diffusion_pytorch_model.safetensors")
    (form / "config.json").write_text(to_json(preset))
    report = convert(Conversion(source=theirs, target=ours, preset=preset))
    assert report.fit is not None
    assert report.fit.complete
    assert not report.fit.added
    return load_model(preset, ours / "teacher.safetensors")


def inputs(preset: PresetConfig, seed: int, F: int = 3, batch: int = 2) -> tuple[Tensor, Tensor, Tensor | None]:
    generator, model = torch.Generator().manual_seed(seed), preset.model
    x = torch.randn(batch, F, model.in_channels, 4, 6, generator=generator)
    text = torch.randn(batch, model.text_len, model.text_dim, generator=generator)
    text[:, 9:] = 0  # padded rows take part
    rows = torch.randn(batch, 7, model.image_dim, generator=generator) if model.image_dim else None
    return x, text, rows


@torch.no_grad()
def outputs(
    reference: Any, model: WanDiT, preset: PresetConfig, timestep: Tensor, seed: int, per_token: bool = False
) -> tuple[Tensor, Tensor]:
    """Both networks on the same input; ``timestep (B, F)``."""
    x, text, rows = inputs(preset, seed, timestep.shape[1])
    image = None if rows is None else model.embed_image(rows)
    got = model(x, timestep, model.embed_text(text), image=image)
    theirs = timestep.repeat_interleave(2 * 3, dim=1) if per_token else timestep[:, 0]
    wanted = reference(x.transpose(1, 2), theirs, text, rows, return_dict=False)[0].transpose(1, 2)
    assert wanted.std() > 0.1
    return got, wanted


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["t2v", "i2v"])
def test_wan_21_is_diffusers(tmp_path, make_preset, make_reference, error_of, form, size, seed):
    preset = make_preset(form, **size)
    reference = make_reference(preset, seed)
    model = through_convert(tmp_path, reference, preset)
    for level in (1000.0, 937.5, 20.0):
        timestep = torch.tensor([[level], [level / 3]]).expand(2, 3)
        assert error_of(*outputs(reference, model, preset, timestep, seed)) <= TOLERANCE


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_wan_22_with_timesteps_per_token_is_diffusers(tmp_path, make_preset, make_reference, error_of, size, seed):
    """``expand_timesteps``: the first latent's tokens at timestep 0, all others at the step's."""
    preset = make_preset("ti2v", **size)
    reference = make_reference(preset, seed)
    model = through_convert(tmp_path, reference, preset)
    timestep = torch.tensor([[0.0, 833.333, 833.333], [0.0, 625.0, 625.0]])
    got, wanted = outputs(reference, model, preset, timestep, seed, per_token=True)
    assert error_of(got, wanted) <= TOLERANCE
    plain, _ = outputs(reference, model, preset, timestep[:, 1:2].expand(2, 3), seed)
    assert error_of(plain, wanted) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_predict_gives_wan_22_what_its_pipeline_does(tmp_path, make_preset, make_reference, error_of, seed):
    """The picture's latent in place of noise at timestep 0, and again in the result."""
    preset = make_preset("ti2v")
    reference = make_reference(preset, seed)
    model = through_convert(tmp_path, reference, preset)
    noisy, text, _ = inputs(preset, seed, batch=1)
    first = torch.randn(1, 1, 6, 4, 6, generator=torch.Generator().manual_seed(seed + 9))
    made = predict(model, noisy, torch.full((1, 3), 0.8), Condition(first, None, model.embed_text(text)))
    mask = torch.ones(1, 3, 1, 4, 6)
    mask[:, 0] = 0
    x = (1 - mask) * first + mask * noisy
    timestep = (mask[0, :, 0, ::2, ::2] * 800.0).flatten()[None]
    velocity = reference(x.transpose(1, 2), timestep, text, return_dict=False)[0].transpose(1, 2)
    assert error_of(made.velocity[:, 1:], velocity[:, 1:]) <= TOLERANCE
    assert error_of(made.x0[:, 1:], (noisy - 0.8 * velocity)[:, 1:]) <= TOLERANCE
    assert torch.equal(made.x0[:, :1], first)


@torch.no_grad()
@pytest.mark.parametrize("form", ["t2v", "i2v", "ti2v"])
def test_text_and_image_rows_reach_the_output(make_preset, make_model, form):
    preset = make_preset(form)
    model = make_model(preset)
    x, text, rows = inputs(preset, 0)
    timestep = torch.full((2, 3), 500.0)
    image = None if rows is None else model.embed_image(rows)
    plain = model(x, timestep, model.embed_text(text), image=image)
    other = text.clone()
    other[:, 400] += 1  # a padded row
    for changed in (text.flip(0), other):
        assert (model(x, timestep, model.embed_text(changed), image=image) - plain).abs().max() > 1e-3
    if rows is None:
        with pytest.raises(ValueError, match="no image cross-attention"):
            model.embed_image(torch.zeros(2, 7, 20))
        with pytest.raises(ValueError, match="no image cross-attention"):
            model(x, timestep, model.embed_text(text), image=[])
        return
    assert (model(x, timestep, model.embed_text(text), image=model.embed_image(rows.flip(0))) - plain).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"needs image rows: give Condition\.image"):
        model(x, timestep, model.embed_text(text))
