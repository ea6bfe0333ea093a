"""Streaming must equal diffusers' whole-clip encode and decode, in both of Wan's forms."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motionstream.models.tensor_files import read_tensors
from motionstream.models.wan_vae import (
    LATENT_MEAN_21,
    LATENT_MEAN_22,
    LATENT_STD_21,
    LATENT_STD_22,
    WAN21_FORM,
    WAN22_FORM,
    WanVAE,
    build_wan_vae,
)
from motionstream.models.wan_vae_load import load_wan_vae, to_diffusers_key

pytest.importorskip("diffusers")

TINY_21 = {"base_dim": 4, "z_dim": 3, "num_res_blocks": 1, "latents_mean": [0.5, -1.0, 0.1], "latents_std": [2.0, 1.5, 0.7]}
TINY_22 = TINY_21 | {
    "decoder_base_dim": 8, "is_residual": True, "in_channels": 12, "out_channels": 12,
    "patch_size": 2, "scale_factor_spatial": 16,
}  # fmt: skip
FORMS = {"2.1": TINY_21, "2.2": TINY_22}


@pytest.fixture(params=FORMS, scope="module")
def vae(request) -> WanVAE:
    torch.manual_seed(0)
    made = build_wan_vae(**FORMS[request.param]).requires_grad_(False)
    for name, weight in made.named_parameters():
        if "gamma" not in name:  # widths this small need larger weights for the output to move at all
            weight.mul_(1.5)
    return made


def clip(vae: WanVAE, T: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, T, 3, 2 * vae.stride, 3 * vae.stride, generator=torch.Generator().manual_seed(T))


def whole_encode(vae: WanVAE, video: torch.Tensor) -> torch.Tensor:
    """diffusers' own path: posterior mode, then the config's normalisation, as its Wan pipelines write it."""
    config = vae.autoencoder.config
    mode = vae.autoencoder.encode(2 * video.transpose(1, 2) - 1).latent_dist.mode()
    mean = torch.tensor(config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(config.latents_std).view(1, -1, 1, 1, 1)
    return ((mode - mean) / std).transpose(1, 2)


def whole_decode(vae: WanVAE, latents: torch.Tensor) -> torch.Tensor:
    config = vae.autoencoder.config
    mean = torch.tensor(config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(config.latents_std).view(1, -1, 1, 1, 1)
    z = latents.transpose(1, 2) * std + mean
    return vae.autoencoder.decode(z).sample.transpose(1, 2) / 2 + 0.5


def test_encode_equals_diffusers(vae: WanVAE):
    video = clip(vae, 13, batch=2)
    expected = whole_encode(vae, video)
    latents = vae.encode(video)
    assert latents.shape == (2, 4, 3, 2, 3)
    assert expected.std() > 0.05
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("plan", [[13], [1, 4, 4, 4], [5, 8], [1] * 13, [2, 3, 1, 5, 2], [9, 1, 1, 1, 1]])
def test_streaming_encode(vae: WanVAE, plan: list[int]):
    video = clip(vae, 13)
    made, state = [], None
    for part in video.split(plan, dim=1):
        latents, state = vae.encode_stream(part, state)
        made.append(latents)
    torch.testing.assert_close(torch.cat(made, dim=1), whole_encode(vae, video), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("plan", [[7], [1] * 7, [3, 3, 1], [1, 6], [2, 5]])
def test_streaming_decode(vae: WanVAE, plan: list[int]):
    latents = torch.randn(1, 7, 3, 2, 3, generator=torch.Generator().manual_seed(1))
    made, state = [], None
    for part in latents.split(plan, dim=1):
        video, state = vae.decode(part, state)
        assert video.shape[1] == 4 * part.shape[1] - (3 if not made else 0)
        made.append(video)
    expected = whole_decode(vae, latents)
    assert expected.shape == (1, 25, 3, 2 * vae.stride, 3 * vae.stride)
    assert 0 < (expected[:, 1:] - expected[:, :-1]).abs().mean()
    torch.testing.assert_close(torch.cat(made, dim=1), expected, atol=1e-5, rtol=1e-5)


def test_state_is_not_changed_by_use(vae: WanVAE):
    latents = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    _, state = vae.decode(latents[:, :2])
    before = [part.clone() for part in state]
    once, _ = vae.decode(latents[:, 2:], state)
    again, _ = vae.decode(latents[:, 2:], state)
    assert torch.equal(once, again)
    assert all(torch.equal(a, b) for a, b in zip(before, state, strict=True))
    fresh, _ = vae.decode(latents[:, 2:])  # no state: the start of a video
    assert fresh.shape[1] == once.shape[1] - 3


def test_statistics_stay_float32():
    vae = build_wan_vae(**TINY_21).to(torch.bfloat16)
    latents = vae.encode(clip(vae, 5))
    assert latents.dtype == torch.float32
    video, state = vae.decode(latents)
    assert video.dtype == torch.float32
    assert 0 <= video.min() <= video.max() <= 1
    assert {part.dtype for part in state} == {torch.bfloat16}
    mean, std = vae._mean_std(torch.device("cpu"))
    assert mean.flatten().tolist() == pytest.approx(TINY_21["latents_mean"])
    assert std.flatten().tolist() == pytest.approx(TINY_21["latents_std"])


def test_published_statistics():
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        config = AutoencoderKLWan().config  # the class defaults are Wan 2.1's
    assert (tuple(config.latents_mean), tuple(config.latents_std)) == (LATENT_MEAN_21, LATENT_STD_21)
    # 2.2's are in no installed package: pinned here, so that a slip of the hand shows.
    digest = hashlib.sha256(json.dumps(LATENT_MEAN_22 + LATENT_STD_22).encode()).hexdigest()
    assert (len(LATENT_MEAN_22), len(LATENT_STD_22), digest[:16]) == (48, 48, "d71bde1a24a46a35")


@pytest.mark.parametrize(("form", "stride", "decoder"), [(WAN21_FORM, 8, 73_295_603), (WAN22_FORM, 16, 555_051_580)])
def test_released_sizes(form: dict, stride: int, decoder: int):
    """The paper's table A1 gives 73.3 M and 555 M for the two decoders."""
    with torch.device("meta"):
        vae = build_wan_vae(**form)
    counted = (vae.autoencoder.decoder, vae.autoencoder.post_quant_conv)
    assert sum(p.numel() for part in counted for p in part.parameters()) == decoder
    assert (vae.stride, vae.latent_channels, vae.t_stride) == (stride, form["z_dim"], 4)


# ---------------------------------------------------------------------- files


def original_names(form: str) -> list[str]:
    """Tensor names of the original checkpoints, written down from the layers of Wan's own classes."""
    names = [f"{conv}.{leaf}" for conv in ("conv1", "conv2") for leaf in ("weight", "bias")]

    def residual(prefix: str, *, shortcut: bool) -> None:
        names.extend(f"{prefix}.residual.{n}.gamma" for n in (0, 3))
        names.extend(f"{prefix}.residual.{n}.{leaf}" for n in (2, 6) for leaf in ("weight", "bias"))
        if shortcut:
            names.extend(f"{prefix}.shortcut.{leaf}" for leaf in ("weight", "bias"))

    def resample(prefix: str, *, time: bool) -> None:
        names.extend(
            f"{prefix}.{conv}.{leaf}" for conv in ("resample.1", *["time_conv"] * time) for leaf in ("weight", "bias")
        )

    for side in ("encoder", "decoder"):
        names.extend(f"{side}.{layer}.{leaf}" for layer in ("conv1", "head.2") for leaf in ("weight", "bias"))
        names.append(f"{side}.head.0.gamma")
        for n in (0, 2):
            residual(f"{side}.middle.{n}", shortcut=False)
        names.append(f"{side}.middle.1.norm.gamma")
        names.extend(f"{side}.middle.1.{conv}.{leaf}" for conv in ("to_qkv", "proj") for leaf in ("weight", "bias"))
        blocks, word = (2, "downsamples") if side == "encoder" else (3, "upsamples")
        flat = 0
        for stage in range(4):
            # Widths 1, 2, 4, 4: the encoder widens in stages 1 and 2. The decoder narrows in stages 2 and 3; the 2.1
            # form halves channels in its resampling, so there it is stage 1 that widens again.
            wide = stage in ((1, 2) if side == "encoder" else (1,) if form == "2.1" else (2, 3))
            for block in range(blocks):
                prefix = f"{side}.{word}.{flat}" if form == "2.1" else f"{side}.{word}.{stage}.{word}.{block}"
                residual(prefix, shortcut=wide and block == 0)
                flat += 1
            if stage < 3:
                time = stage in ((1, 2) if side == "encoder" else (0, 1))
                resample(f"{side}.{word}.{flat}" if form == "2.1" else f"{side}.{word}.{stage}.{word}.{blocks}", time=time)
                flat += 1
    return names


@pytest.mark.parametrize("form", ["2.1", "2.2"])
def test_original_names(form: str):
    with torch.device("meta"):
        vae = build_wan_vae(**(WAN21_FORM if form == "2.1" else WAN22_FORM))
    names = original_names(form)
    assert sorted(map(to_diffusers_key, names)) == sorted(vae.autoencoder.state_dict())
    if form == "2.1":
        from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

        theirs = convert_wan_vae_to_diffusers({name: name for name in names})
        assert {to_diffusers_key(name): name for name in names} == theirs


@pytest.mark.parametrize("form", ["2.1", "2.2"])
def test_load(form: str, tmp_path, monkeypatch):
    tiny = FORMS[form] | {"num_res_blocks": 2}
    vae = build_wan_vae(**tiny)
    latents = torch.randn(1, 2, 3, 2, 2)
    expected, _ = vae.decode(latents)
    # diffusers' folder, with and without the vae/ level
    vae.autoencoder.save_pretrained(tmp_path / "wan" / "vae")
    for folder in (tmp_path / "wan", tmp_path / "wan" / "vae"):
        assert torch.equal(load_wan_vae(folder).decode(latents)[0], expected)
    # the original names, as a pickle of tensors and as safetensors
    state = vae.autoencoder.state_dict()
    original = {name: state[to_diffusers_key(name)] for name in original_names(form)}
    torch.save(original, tmp_path / "Wan_VAE.pth")
    save_file(original, tmp_path / "wan_vae.safetensors")
    monkeypatch.setattr(f"motionstream.models.wan_vae_load.WAN{form.replace('.', '')}_FORM", tiny)
    for name in ("Wan_VAE.pth", "wan_vae.safetensors"):
        loaded = load_wan_vae(tmp_path / name, torch.bfloat16)
        assert next(loaded.parameters()).dtype == torch.bfloat16
        assert (loaded.decode(latents)[0] - expected).abs().max() < 0.1


def test_the_public_config_of_2_2(tmp_path):
    vae = build_wan_vae(**FORMS["2.2"])
    vae.autoencoder.save_pretrained(tmp_path / "vae")
    path = tmp_path / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"clip_output": False}))  # diffusers never reads it
    latents = torch.randn(1, 2, vae.latent_channels, 2, 2)
    assert torch.equal(load_wan_vae(tmp_path).decode(latents)[0], vae.decode(latents)[0])


def test_bad_files(tmp_path):
    vae = build_wan_vae(**TINY_21)
    vae.autoencoder.save_pretrained(tmp_path / "vae")
    config = json.loads((tmp_path / "vae" / "config.json").read_text())
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"

    def refuses(path, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            load_wan_vae(path)

    refuses(tmp_path / "nowhere", "does not exist")
    (tmp_path / "empty").mkdir()
    refuses(tmp_path / "empty", r"has no config\.json")
    (tmp_path / "vae" / "config.json").write_text("null")
    refuses(tmp_path, "holds no settings but a NoneType")
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config | {"base_dim": 8}))
    refuses(tmp_path, r"has shape .* needs")
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config | {"_class_name": "AutoencoderKL"}))
    refuses(tmp_path, "describes AutoencoderKL:")
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config | {"sharpness": 2}))
    refuses(tmp_path, "sharpness")
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config | {"latents_mean": [0.0]}))
    refuses(tmp_path, "3 latent channels, but 1 means")
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config))
    weights.write_bytes(weights.read_bytes()[:1000])
    refuses(tmp_path, "is damaged")
    torch.save({"conv2.weight": torch.zeros(3)}, tmp_path / "half.pth")
    refuses(tmp_path / "half.pth", r"is not this form of Wan's autoencoder: \d+ tensors missing")
    torch.save({"anything": torch.zeros(3)}, tmp_path / "other.pth")
    refuses(tmp_path / "other.pth", "is not a Wan autoencoder")
    torch.save({"conv2.weight": Path}, tmp_path / "code.pth")
    refuses(tmp_path / "code.pth", "holds more than tensors")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "half.pth").read_bytes()[:300])
    refuses(tmp_path / "cut.pth", "is damaged")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    refuses(tmp_path / "list.pth", "flat dictionary")
    with pytest.raises(ValueError, match="is neither"):
        read_tensors(tmp_path / "vae" / "config.json")
    with pytest.raises(ValueError, match=r"4 k \+ 1"):
        vae.encode(clip(vae, 12))
    with pytest.raises(ValueError, match="multiples of 8"):
        vae.encode(torch.rand(1, 1, 3, 12, 16))


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r"pip install 'motionstream\[wan\]'"):
        build_wan_vae()
