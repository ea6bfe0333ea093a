"""Scenes follow their two seeds: looks and motion apart."""

import dataclasses

import pytest
import torch

from motionstream.data.render import render
from motionstream.data.scenes import SceneConfig, Scenes, captions_of, frames_of, motion_words, sample_scenes
from motionstream.shapes import VideoGeometry

SMALL = SceneConfig(num_frames=21, height=32, width=48, object_px=(10.0, 20.0), speed_px=12.0)
LOOK = ("background", "sprites", "active", "size", "parallax")
MOTION = ("centre", "scale", "angle", "pan", "zoom", "roll")


def scenes(look: int = 0, motion: int = 0, config: SceneConfig = SMALL, batch: int = 6) -> Scenes:
    return sample_scenes(batch, config, look_seed=look, motion_seed=motion)


def test_same_seeds_same_scenes():
    torch.manual_seed(1)
    one = scenes(3, 4)
    torch.manual_seed(2)
    other = scenes(3, 4)
    for name in LOOK + MOTION:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert one.captions == other.captions
    assert torch.equal(render(one).video, render(other).video)


def test_counterfactuals_share_the_first_frame_and_nothing_after():
    one, other = scenes(3, 4), scenes(3, 5)
    for name in LOOK:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in MOTION:
        assert not torch.equal(getattr(one, name), getattr(other, name)), name
    ours, theirs = render(one, point_seed=7), render(other, point_seed=7)
    torch.testing.assert_close(ours.video[:, 0], theirs.video[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.xy[:, 0], theirs.xy[:, 0], atol=1e-3, rtol=0)
    assert torch.equal(ours.visible[:, 0], theirs.visible[:, 0])
    assert torch.equal(ours.layer, theirs.layer)
    assert ((ours.xy[:, -1] - theirs.xy[:, -1]).norm(dim=-1).amax(1) > 2).all()


def test_other_looks_keep_the_motion():
    one, other = scenes(3, 4), scenes(5, 4)
    for name in ("pan", "zoom", "roll", "scale"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert not torch.equal(one.sprites, other.sprites)


def test_splits_show_other_pictures():
    train, eval_ = scenes(), scenes(config=dataclasses.replace(SMALL, split="eval"))
    assert not torch.equal(train.sprites, eval_.sprites)
    assert not torch.equal(train.background, eval_.background)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 12, 50])
def test_any_number_of_frames(num_frames):
    made = scenes(config=dataclasses.replace(SMALL, num_frames=num_frames), batch=2)
    assert made.centre.shape == (2, 3, num_frames, 2)
    rendered = render(made, grid=(4, 5))
    assert rendered.video.shape == (2, num_frames, 3, 32, 48)
    assert rendered.xy.shape == (2, num_frames, 20, 2)
    for name in MOTION:
        assert getattr(made, name).isfinite().all(), name


def test_objects_stay_in_the_picture_and_move_without_jumps():
    made = scenes(batch=64)
    frame = torch.tensor([48.0, 32.0])
    assert (made.centre >= 0).all()
    assert (made.centre <= frame).all()
    step = (made.centre[:, :, 1:] - made.centre[:, :, :-1]).norm(dim=-1)
    assert step.max() < 0.5 * 48
    assert (made.zoom > 0.5).all()
    assert (made.zoom < 2).all()


def test_chances_are_those_of_the_configuration():
    still = scenes(config=dataclasses.replace(SMALL, p_camera=0.0, p_spin=0.0, p_grow=0.0), batch=64)
    assert still.pan.abs().max() == 0
    assert torch.equal(still.zoom, torch.ones_like(still.zoom))
    assert still.roll.abs().max() == 0
    assert (still.angle == still.angle[..., :1]).all()
    assert torch.equal(still.scale, torch.ones_like(still.scale))
    always = scenes(config=dataclasses.replace(SMALL, p_camera=1.0, p_static=0.0, p_late=0.0, p_early=0.0), batch=64)
    moved = (always.centre[:, :, -1] - always.centre[:, :, 0]).norm(dim=-1)
    assert (moved > 0.5).float().mean() > 0.8
    late = scenes(config=dataclasses.replace(SMALL, p_late=1.0, p_static=0.0), batch=256)
    begun = ((late.centre[:, 0, 1:] - late.centre[:, 0, :-1]).norm(dim=-1) > 0.01).float().argmax(1)
    assert begun.unique().numel() > 5, "starts are spread over the clip"


def test_captions_name_what_moves():
    made = scenes(batch=32)
    for b, caption in enumerate(made.captions):
        assert caption.count(" moves ") + caption.count(" stays still") >= int(made.active[b].sum())
        first = next(part for part in caption.split(", ") if not part.startswith("the camera"))
        shift = made.centre[b, 0, -1] - made.centre[b, 0, 0]
        if shift[0] > 5 and shift[0] > 3 * shift[1].abs():
            assert "moves right" in first
        if shift.norm() < 4:
            assert "stays still" in first


def test_captions_say_where_the_camera_moves():
    """To the right is where the ground goes to the left, as in the prompts of suite camera."""
    config = dataclasses.replace(SMALL, p_camera=1.0, max_objects=1)
    made = scenes(config=config, batch=32)
    plain = (made.zoom[:, -1] == 1) & (made.roll[:, -1] == 0)
    shown = render(made, grid=(4, 5))
    went = [(row[-1] - row[0])[:, layer < 0].mean(1) for row, layer in zip(shown.xy.movedim(2, 3), shown.layer, strict=True)]
    told = [b for b, caption in enumerate(made.captions) if plain[b] and "the camera moves" in caption]
    assert len(told) >= 4
    for b in told:
        assert made.captions[b].startswith(f"the camera {motion_words((-went[b]).tolist())}, ")


def test_captions_of_some_frames_are_of_these():
    made = scenes(batch=16)
    part = frames_of(made, slice(0, 5))
    told = captions_of(part)
    assert captions_of(made) == made.captions
    assert told != made.captions
    for b, caption in enumerate(told):
        shift = made.centre[b, 0, 4] - made.centre[b, 0, 0]
        assert motion_words(shift.tolist()) in caption


def test_an_object_can_be_taken_away():
    made = scenes()
    without = made.without_object(0)
    assert not without.active[:, 0].any()
    assert torch.equal(without.active[:, 1:], made.active[:, 1:])
    assert made.active[:, 0].all()
    assert not torch.equal(render(made).video, render(without).video)


@pytest.mark.parametrize("seed", range(3))
def test_twins_look_the_same_and_one_of_them_rests(seed):
    made = scenes(seed, seed, dataclasses.replace(SMALL, p_twin=1.0))
    assert torch.equal(made.sprites[:, 0], made.sprites[:, 1])
    assert made.active[:, :2].all()
    moved = (made.centre - made.centre[:, :, :1]).norm(dim=-1).amax(2) > 0  # (B, M)
    assert (moved[:, 0] ^ moved[:, 1]).all()
    for b, caption in enumerate(made.captions):
        assert caption.count(made.names[b][0]) >= 2, caption
    apart = (made.centre[:, 1, 0] - made.centre[:, 0, 0]).norm(dim=-1)
    assert (apart <= 1.2 * made.size[:, :2].mean(1) + 1e-3).all(), "side by side, or nearer at the edge of the picture"


def test_scenes_without_twins_are_what_they_were():
    with_some, without = scenes(3, 4, dataclasses.replace(SMALL, p_twin=0.5), batch=12), scenes(3, 4, batch=12)
    same = [torch.equal(with_some.sprites[b], without.sprites[b]) for b in range(12)]
    assert 0 < sum(same) < 12
    for b in range(12):
        if same[b]:
            assert torch.equal(with_some.centre[b], without.centre[b]), b


def test_twins_need_two_objects():
    with pytest.raises(ValueError, match=r"p_twin=0\.5 needs at least 2 objects, not max_objects=1"):
        scenes(config=dataclasses.replace(SMALL, p_twin=0.5, max_objects=1))


def test_scenes_look_the_same_in_a_larger_picture():
    """Sizes, ways and pans grow with it; a smaller one keeps the objects' pixels."""
    small, large, tiny = (
        SceneConfig.of(VideoGeometry(height=h, width=w), 9, p_camera=1.0) for h, w in ((96, 128), (144, 192), (32, 48))
    )
    assert (small.object_px, tiny.object_px) == (SceneConfig.object_px, SceneConfig.object_px)
    assert large.object_px == pytest.approx(tuple(1.5 * px for px in small.object_px))
    one, other = scenes(3, 4, small), scenes(3, 4, large)
    torch.testing.assert_close(other.size, 1.5 * one.size)
    torch.testing.assert_close(other.pan, 1.5 * one.pan)
    torch.testing.assert_close(other.centre, 1.5 * one.centre, atol=1e-2, rtol=0)
    assert SceneConfig.of(VideoGeometry(height=144, width=192), 9, object_px=(20.0, 30.0)).object_px == (20.0, 30.0)
    assert len(render(one).xy[0, 0]) * 1.5**2 == len(render(other).xy[0, 0])


def test_a_camera_that_sweeps_pans_far_and_rests():
    config = dataclasses.replace(SMALL, p_sweep=1.0, num_frames=33)
    made, plain = scenes(3, 4, config, batch=24), scenes(3, 4, dataclasses.replace(config, p_sweep=0.0), batch=24)
    size = torch.tensor([config.width, config.height])
    assert not made.pan[:, 0].any()
    far = (made.pan[:, -1].abs() / size).amax(1)
    assert (far >= 0.3).all()
    assert 0.8 < far.max() <= 1
    assert torch.equal(made.pan[:, -1], made.pan[:, -5]), "at rest before the end"
    step = made.pan.diff(dim=1).norm(dim=-1)
    assert ((step > 0).sum(1) >= 7).all()
    assert ((made.pan[:, -1] != 0).all(1)).any()
    assert (made.ground > 1).all()
    assert (plain.ground == 1).all()
    assert torch.equal(made.centre, plain.centre)


def test_scenes_that_do_not_sweep_are_what_they_were():
    with_some, without = scenes(3, 4, dataclasses.replace(SMALL, p_sweep=0.5), batch=12), scenes(3, 4, batch=12)
    same = with_some.ground == 1
    assert 0 < same.sum() < 12
    assert torch.equal(with_some.pan[same], without.pan[same])
    assert torch.equal(render(with_some).video[same], render(without).video[same])
    swept = render(with_some).video[~same]
    assert (swept[:, -1] - swept[:, 0]).abs().mean() > (swept[:, 1] - swept[:, 0]).abs().mean()


def test_objects_in_front_are_nearer_and_words_measure_by_the_size_of_the_picture():
    config = SceneConfig(height=192, width=256, num_frames=2)
    scenes = sample_scenes(8, config, look_seed=0, motion_seed=0)
    assert (scenes.parallax.diff(dim=1) >= 0).all()
    assert scenes.parallax.min() >= 1
    centre = scenes.centre.clone()
    centre[:, :, 1] = centre[:, :, 0] + torch.tensor([8.0, 0.0])  # 4 px in the picture that the words are meant for
    told = captions_of(dataclasses.replace(scenes, centre=centre, pan=torch.zeros_like(scenes.pan)))
    assert not any("moves" in caption for caption in told)
