"""The loss on decoded pictures: what it compares, what it moves, and that a stage trains with it."""

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.lpips import LPIPS
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train.pictures import PictureLoss
from motionstream.train.rechunk import RechunkConfig, RechunkStage

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae() -> NanoVAE:
    preset = tiny_debug()
    made = NanoVAE(preset.vae)
    made.fit_linear(random_planes(preset, 500))
    generator = torch.Generator().manual_seed(0)
    for conv in (made.conv_out, *(block.out for block in (*made.blocks, *made.blocks_out))):  # zero without training
        torch.nn.init.normal_(conv.weight, std=0.05, generator=generator)
    return made.eval()


@pytest.fixture(scope="module")
def lpips_file(tmp_path_factory):
    torch.manual_seed(0)
    model = LPIPS("vgg")
    for head in model.heads:
        head.weight.data.abs_()
    path = tmp_path_factory.mktemp("lpips") / "vgg.safetensors"
    save_weights(path, model, dtype=torch.float16)
    return path


def latents_of(vae: NanoVAE, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_the_same_clip_is_no_distance_away(vae, lpips_file):
    loss = PictureLoss(vae, str(lpips_file), frames=2, pixel_weight=1.0, lpips_weight=1.0, device=CPU)
    total, parts = loss(latents_of(vae), latents_of(vae), 7)
    assert total == 0
    assert parts == {"pixels": 0, "lpips": 0}
    total, parts = loss(latents_of(vae), latents_of(vae, 1), 7)
    assert parts["pixels"] > 0
    assert parts["lpips"] > 0
    torch.testing.assert_close(total, parts["pixels"] + parts["lpips"])


def test_gradients_reach_the_clip_and_nothing_else(vae):
    loss = PictureLoss(vae, "", frames=12, pixel_weight=1.0, lpips_weight=0.0, device=CPU)
    made, truth = latents_of(vae).mul(0.1).requires_grad_(), latents_of(vae, 1).requires_grad_()
    loss(made, truth, 7)[0].backward()
    assert (made.grad.abs().amax((2, 3, 4)) > 0).all(), "every latent frame shows in some picture"
    assert truth.grad is None
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_the_first_frame_is_given_and_does_not_count(vae):
    """Latent 0 shows in frame 0, and in what the decoder remembers of it."""
    loss = PictureLoss(vae, "", frames=12, pixel_weight=1.0, lpips_weight=0.0, device=CPU)
    made = latents_of(vae)
    made[:, 0] += 3
    shown, wanted = (vae.decode(one)[0][:, 1:] for one in (made, latents_of(vae)))
    total, _ = loss(made, latents_of(vae), 7)
    apart = (shown - wanted).abs().mean() + sum(
        (shown.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean() for axis in (-1, -2)
    )
    torch.testing.assert_close(total, apart)


def test_which_frames_are_compared_follows_from_the_seed(vae):
    loss = PictureLoss(vae, "", frames=1, pixel_weight=1.0, lpips_weight=0.0, device=CPU)
    found = [float(loss(latents_of(vae), latents_of(vae, 1), seed)[0]) for seed in (0, 0, 1, 2, 3)]
    assert found[0] == found[1]
    assert len(set(found)) > 2


def test_each_clip_shows_frames_of_its_own(vae):
    loss = PictureLoss(vae, "", frames=1, pixel_weight=1.0, lpips_weight=0.0, device=CPU)
    made, truth = (latents_of(vae, seed)[:1] for seed in (0, 1))
    of_a_frame = torch.stack([loss(made, truth, seed)[0] for seed in range(40)])  # all eight of them
    twice = [clip.repeat(2, 1, 1, 1, 1) for clip in (made, truth)]
    of_both = torch.stack([loss(*twice, seed)[0] for seed in range(4)])
    assert (of_both[:, None] - of_a_frame).abs().amin(1).max() > 1e-5, "the mean of two different ones"


def test_parts_weigh_what_is_asked_for(vae, lpips_file):
    loss = PictureLoss(vae, str(lpips_file), frames=2, pixel_weight=0.25, lpips_weight=3.0, device=CPU)
    total, parts = loss(latents_of(vae), latents_of(vae, 1), 7)
    torch.testing.assert_close(total, 0.25 * parts["pixels"] + 3 * parts["lpips"])


def test_weights_of_lpips_are_needed_for_it(vae, tmp_path):
    with pytest.raises(ValueError, match=r"lpips_weight=0\.5 needs lpips=FILE"):
        PictureLoss(vae, "", frames=1, pixel_weight=0.0, lpips_weight=0.5, device=CPU)
    with pytest.raises(ValueError, match=r"none\.safetensors' do not exist"):
        PictureLoss(vae, str(tmp_path / "none.safetensors"), frames=1, pixel_weight=0.0, lpips_weight=0.5, device=CPU)


def test_a_student_learns_by_it(vae, lpips_file, tmp_path):
    preset = tiny_debug()
    model = WanDiT(preset.model, preset.geometry.t_stride)
    init_from_scratch(model)
    save_weights(tmp_path / "student.safetensors", model, dtype=torch.float32)

    def stage(**settings) -> RechunkStage:
        given = {"cache": "c1s1w2", "truth": True, "batch": 2, "num_frames": 13, "warmup": 1, "p_grab": 0.0, "lr": 3e-3}
        config = RechunkConfig(**given | {"lpips": str(lpips_file), "lpips_weight": 1.0, "pixel_weight": 1.0} | settings)
        path = tmp_path / "student.safetensors"
        return RechunkStage(preset, config, vae, path, preset.cache, choose_compute("cpu", "float32"))

    one = stage()
    batch = one.batch_at(0)
    one.batch_at = lambda step: batch
    found = [one.train_step(0) for _ in range(12)]
    assert {"pixels", "lpips", "gap"} <= found[0].keys()
    assert found[-1]["pixels"] < found[0]["pixels"]
    assert "pixels" not in stage(p_grab=1.0).train_step(0), "of pulled pictures no truth is known"
    assert "pixels" not in stage(pixel_weight=0.0, lpips_weight=0.0).train_step(0)
