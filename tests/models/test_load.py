"""Weights files: safetensors only, and one sentence when one does not fit."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from motionstream.config import PresetConfig, VAEConfig, from_dict
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import load_model, load_weights, save_config, save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import preset

CONFIG = VAEConfig(latent_channels=2, stride=4, width=4, width_out=4, depth=1, depth_out=1)


def random_vae(seed: int = 0) -> NanoVAE:
    vae, generator = NanoVAE(CONFIG), torch.Generator().manual_seed(seed)
    vae.load_state_dict({k: torch.randn(v.shape, generator=generator) for k, v in vae.state_dict().items()})
    return vae


def one_sentence(error: pytest.ExceptionInfo[ValueError]) -> bool:
    return "\n" not in str(error.value) and len(str(error.value)) < 500


def test_weights_come_back_bit_by_bit(tmp_path):
    source, target = random_vae(), random_vae(1)
    save_weights(tmp_path / "deep" / "vae.safetensors", source, note="a test")
    load_weights(tmp_path / "deep" / "vae.safetensors", target)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["vae.safetensors"], "no partial file stays"


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """safetensors writes two keys of metadata in an order of chance, anew for each file and process."""
    for note in ("", "a test"):
        files = set()
        for _ in range(20):
            save_weights(tmp_path / "vae.safetensors", random_vae(), note=note)
            files.add((tmp_path / "vae.safetensors").read_bytes())
        assert len(files) == 1
        with safe_open(tmp_path / "vae.safetensors", framework="pt") as stored:
            assert stored.metadata() == ({"note": note} if note else {"format": "pt"})


def test_a_config_is_whole_or_what_it_was(tmp_path, monkeypatch):
    save_config(tmp_path / "run", preset("nano"))
    before = (tmp_path / "run" / "config.json").read_bytes()
    assert from_dict(PresetConfig, json.loads(before)) == preset("nano")

    def torn(path: Path, text: str, **kwargs) -> None:
        path.write_bytes(text[:40].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", torn)
    with pytest.raises(OSError, match="No space left"):
        save_config(tmp_path / "run", preset("tiny-debug"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_half_precision_files_load_into_full_precision_models(tmp_path):
    source, target = random_vae(), random_vae(1)
    save_weights(tmp_path / "vae.safetensors", source, dtype=torch.float16)
    assert all(t.dtype == torch.float16 for t in load_file(tmp_path / "vae.safetensors").values())
    load_weights(tmp_path / "vae.safetensors", target)
    for name, value in source.state_dict().items():
        assert target.state_dict()[name].dtype == torch.float32
        assert torch.equal(target.state_dict()[name], value.half().float())


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / "vae.safetensors"
    save_weights(path, random_vae())
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[:-100], "empty": b"", "text": b"<html>not found</html>", "header": b"\xff" * 16 + content[16:]}[
            damage
        ]
    )
    with pytest.raises(ValueError, match=r"vae\.safetensors is damaged") as error:
        load_weights(path, random_vae())
    assert one_sentence(error)


def test_other_architectures_are_refused(tmp_path):
    path = tmp_path / "vae.safetensors"
    save_weights(path, random_vae())
    with pytest.raises(ValueError, match="another architecture") as error:
        load_weights(path, NanoVAE(replace(CONFIG, depth=2)))
    assert one_sentence(error)
    with pytest.raises(ValueError, match=r"has shape \(.*the model needs \(") as error:
        load_weights(path, NanoVAE(replace(CONFIG, latent_channels=3)))
    assert one_sentence(error)
    save_file({"surprise": torch.zeros(1), **load_file(path)}, path)
    with pytest.raises(ValueError, match=r"0 tensors missing, 1 unexpected \(\+surprise\)"):
        load_weights(path, random_vae())


def test_missing_files_and_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_weights(tmp_path / "none.safetensors", random_vae())
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ValueError, match="does not exist"):
        load_weights(tmp_path / "folder.safetensors", random_vae())
    torch.save(random_vae().state_dict(), tmp_path / "vae.pt")
    with pytest.raises(ValueError, match=r"not a \.safetensors file"):
        load_weights(tmp_path / "vae.pt", random_vae())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(tmp_path, dtype):
    """They lack the scales that belong to them: a model of them would draw noise without a word."""
    config = preset("tiny-debug")
    path = tmp_path / "student.safetensors"
    save_weights(path, WanDiT(config.model, config.geometry.t_stride))
    name = "blocks.0.ffn.0.weight"
    tensors = load_file(path)
    save_file(tensors | {name: tensors[name].to(dtype)}, path)
    with pytest.raises(ValueError, match=rf"{name} is stored as \w+, which means nothing without its scale: give") as error:
        load_model(config, path)
    assert one_sentence(error)
    with pytest.raises(ValueError, match=rf"{name} is stored as \w+, which means nothing without its scale: give") as error:
        load_weights(path, WanDiT(config.model, config.geometry.t_stride))
    assert one_sentence(error)


def test_large_models_are_filled_while_they_are_built(tmp_path):
    config = preset("tiny-debug")
    source = WanDiT(config.model, config.geometry.t_stride)
    init_from_scratch(source)
    path = tmp_path / "student.safetensors"
    save_weights(path, source)
    for dtype in (None, torch.bfloat16):
        model = load_model(config, path, dtype=dtype)
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
        for name, value in source.state_dict().items():
            assert torch.equal(model.state_dict()[name], value.to(dtype or value.dtype)), name
    tracks = replace(config.model.tracks, channels=3)
    other = replace(config, name="other", model=replace(config.model, tracks=tracks))
    with pytest.raises(
        ValueError, match=r"does not fit other: 2 tensors differ \(patch_embedding.weight: .* needed\)"
    ) as error:
        load_model(other, path)
    assert one_sentence(error)
    with pytest.raises(ValueError, match="does not exist"):
        load_model(config, tmp_path / "none.safetensors")
