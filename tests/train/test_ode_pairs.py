"""Trajectories on disk: kept while they are of the same kind, and read by a student of their kind alone."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from motionstream.device import choose_compute
from motionstream.files import alone_in
from motionstream.flow.sample import sample_euler
from motionstream.flow.schedule import euler_sigmas
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train.causal_init import CausalInitConfig, CausalInitStage, OdePairs
from motionstream.train.ode_pairs import OdePairsConfig, make_pairs

PRESET, CPU = tiny_debug(), choose_compute("cpu", "float32")
CONFIG = OdePairsConfig(clips=2, batch=2, num_frames=33, steps=4, states=2)


@pytest.fixture
def parts() -> tuple[WanDiT, NanoVAE]:
    model, vae = WanDiT(PRESET.model, PRESET.geometry.t_stride).eval(), NanoVAE(PRESET.vae).eval()
    init_from_scratch(model)
    vae.fit_linear(random_planes(PRESET, 500))
    return model, vae


def test_a_state_for_every_level_and_a_killed_run_goes_on(parts, tmp_path):
    assert make_pairs(*parts, PRESET, CONFIG, CPU, tmp_path) == 2
    first = (tmp_path / "pairs_0000.safetensors").read_bytes()
    shard = load_file(tmp_path / "pairs_0000.safetensors")
    assert shard["states"].shape[:3] == (2, 2, 9)
    torch.testing.assert_close(shard["sigmas"], euler_sigmas(4, PRESET.sample.shift)[[0, 2]])
    assert make_pairs(*parts, PRESET, replace(CONFIG, clips=4), CPU, tmp_path) == 4
    assert (tmp_path / "pairs_0000.safetensors").read_bytes() == first
    assert len(list(tmp_path.glob("pairs_*.safetensors"))) == 2


def test_noise_is_no_draw_of_the_scenes(parts, tmp_path, monkeypatch):
    """Of one seed both would be the same numbers: noise would follow from where the points of the first clips lie."""
    drawn = []

    def kept(velocity, noise, sigmas, keep):
        drawn.append(noise)
        return sample_euler(velocity, noise, sigmas, keep=keep)

    monkeypatch.setattr("motionstream.train.ode_pairs.sample_euler", kept)
    make_pairs(*parts, PRESET, replace(CONFIG, clips=4), CPU, tmp_path)
    assert not torch.equal(*drawn)
    for shard, noise in enumerate(drawn):
        scenes = torch.Generator().manual_seed(CONFIG.seed * 10_000_019 + shard)
        assert not torch.equal(torch.randn(noise.shape, generator=scenes), noise)


def test_trajectories_of_two_sizes_are_not_mixed(parts, tmp_path):
    make_pairs(*parts, PRESET, CONFIG, CPU, tmp_path)
    with pytest.raises(ValueError, match=r"trajectories of size=\[48, 32\], not \[64, 48\]"):
        make_pairs(*parts, PRESET.sized(48, 64), replace(CONFIG, clips=4), CPU, tmp_path)
    assert len(list(tmp_path.glob("pairs_*.safetensors"))) == 1
    (tmp_path / "pairs_config.json").write_text("[")
    with pytest.raises(ValueError, match=r"pairs_config\.json is not valid JSON"):
        make_pairs(*parts, PRESET, CONFIG, CPU, tmp_path)


def test_two_processes_do_not_fill_one_folder(parts, tmp_path):
    with alone_in(tmp_path, "held"), pytest.raises(ValueError, match="is being filled by another process"):
        make_pairs(*parts, PRESET, CONFIG, CPU, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_picture_alone_has_no_trajectory(parts, tmp_path):
    with pytest.raises(ValueError, match="num_frames=1 is the picture alone: use at least 5"):
        make_pairs(*parts, PRESET, replace(CONFIG, num_frames=1), CPU, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_drawn_is_of_one_clip_and_damaged_files_are_named(parts, tmp_path):
    make_pairs(*parts, PRESET, CONFIG, CPU, tmp_path)
    path = tmp_path / "pairs_0000.safetensors"
    shard, pairs = load_file(path), OdePairs(tmp_path)
    batch, states, sigmas = pairs.draw(6, torch.Generator().manual_seed(0), CPU.device)
    rows = [int((shard["latents"].float() == one).flatten(1).all(1).nonzero()) for one in batch.latents]
    assert set(rows) == {0, 1}
    for name in ("text", "xy", "visible", "ids"):
        assert torch.equal(getattr(batch, name), shard[name][rows]), name
    assert torch.equal(states, shard["states"][rows].float())
    assert torch.equal(sigmas, shard["sigmas"])

    path.write_bytes(path.read_bytes()[:-9])  # a copy that ended early
    again = OdePairs(tmp_path)
    for read in (lambda: again.fitting(PRESET), lambda: again.draw(1, torch.Generator(), CPU.device)):
        with pytest.raises(ValueError, match=r"pairs_0000\.safetensors is damaged"):
            read()


def test_a_student_is_not_begun_from_pairs_that_do_not_fit_it(parts, tmp_path):
    make_pairs(*parts, PRESET, CONFIG, CPU, tmp_path)
    save_weights(tmp_path / "teacher.safetensors", parts[0], dtype=torch.float32)

    def begun(preset=PRESET, **settings) -> CausalInitStage:
        config = CausalInitConfig(batch=1, method="ode", **settings)
        return CausalInitStage(preset, config, parts[1], tmp_path / "teacher.safetensors", CPU)

    pairs = str(tmp_path)
    assert "loss" in begun(pairs=pairs).train_step(0)
    with pytest.raises(ValueError, match="num_frames=33 is not a whole number of chunks of 2 latent frames"):
        begun(pairs=pairs, cache="c2s1w1")
    with pytest.raises(ValueError, match=r"holds latents of \[4, 4, 6\].*, not \[4, 6, 8\]"):
        begun(PRESET.sized(48, 64), pairs=pairs)
    with pytest.raises(ValueError, match="method=ode needs trajectories: --set pairs=DIR"):
        begun()
