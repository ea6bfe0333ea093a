"""A clip's motion on the model's canvas, a chunk at a time."""

import numpy as np
import pytest

from motionstream.errors import UserError
from motionstream.media.video import write_video
from motionstream.presets import preset
from motionstream.shapes import VideoGeometry
from motionstream.stream.points import MAX_POINTS
from motionstream.tracking.borrow import ClipMotion, tracks_of
from motionstream.tracking.clip import Clip

GEOMETRY = VideoGeometry(height=48, width=64, fps=16.0)


def write_block(path, num_frames=20, speed=4, fps=16):
    """A textured block crosses a textured ground of 256 x 192 pixels."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(90, 160, (24, 32, 3)), np.ones((8, 8, 1)))
    block = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1)))
    frames = np.repeat(ground[None], num_frames, axis=0).astype(np.uint8)
    for t in range(num_frames):
        frames[t, 60:124, 20 + speed * t : 84 + speed * t] = block
    write_video(path, frames, fps=fps)
    return Clip(path)


def test_points_in_the_models_pixels(tmp_path):
    motion = ClipMotion(write_block(tmp_path / "clip.mp4"), GEOMETRY)
    assert motion.times == 4
    assert motion.expected_frames == 20
    parts = []
    for wanted in (9, 12, 12):
        parts.append(motion.take(wanted))
        assert len(motion.pictures) == len(parts[-1])
    assert [len(part) for part in parts] == [9, 11, 0]
    seen = parts[0] + parts[1]
    assert motion.ever_moving > 2
    assert motion.track_s > 0
    tracks = tracks_of(seen, (48, 64), 16.0)
    for t, now in enumerate(seen):
        held = dict(zip(now.ids.tolist(), now.xy.tolist(), strict=True))
        shown = tracks.visible[0, t].nonzero()[:, 0].tolist()
        assert {int(tracks.ids[0, n]): tracks.xy[0, t, n].tolist() for n in shown} == held
    # the block goes 4 px of the clip a frame: 1 on this canvas
    always = tracks.visible[0].all(dim=0)
    ways = (tracks.xy[0, -1] - tracks.xy[0, 0])[always]
    fast = ways[ways.norm(dim=-1) > 8]
    assert len(fast) >= 2
    assert fast[:, 0].median().item() == pytest.approx(19, abs=1)


@pytest.mark.parametrize("name", ["nano", "wan2.1-1.3b"])
def test_a_clip_that_moves_all_over_gives_no_more_points_than_a_stream_may_hold(tmp_path, name):
    geometry = preset(name).geometry
    texture = np.kron(np.random.default_rng(0).integers(0, 255, (34, 60, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    frames = np.stack([texture[: 30 * 16, 4 * t : 4 * t + 832] for t in range(17)])
    write_video(tmp_path / "pan.mp4", frames, fps=geometry.fps)
    motion = ClipMotion(Clip(tmp_path / "pan.mp4"), geometry)
    (*_, last) = motion.take(13)
    assert 100 < len(last.ids) <= MAX_POINTS
    counts = np.histogram2d(*last.xy.T, bins=(4, 3), range=((0, geometry.width), (0, geometry.height)))[0]
    assert counts.min() > 2
    places = 20 if name == "nano" else 23
    assert round(motion.clip.size[1] / motion.points.spacing_px) == places


def test_expected_frames_are_those_that_come(tmp_path):
    for fps in (12.5, 16, 50):
        motion = ClipMotion(write_block(tmp_path / "clip.mp4", num_frames=23, fps=fps), GEOMETRY)
        assert len(motion.take(100)) == motion.expected_frames


def test_a_clip_may_begin_dark(tmp_path):
    """A first chunk of one frame says nothing about a clip that fades in."""
    dark = [np.zeros((192, 256, 3), np.uint8)] * 4
    frames = [*dark, *write_block(tmp_path / "lit.mp4").frames()]
    write_video(tmp_path / "clip.mp4", np.stack(frames), fps=16)
    motion = ClipMotion(Clip(tmp_path / "clip.mp4"), GEOMETRY)
    assert len(motion.take(1)) == 1
    assert sum(len(motion.take(4)) for _ in range(5)) == 20
    assert motion.ever_moving > 2


def test_a_short_chunk_shows_what_will_move(tmp_path):
    """The block moves a cell in eight frames of its own: chunks of one frame and four show its points where they began."""
    clip = write_block(tmp_path / "clip.mp4")
    first = ClipMotion(clip, GEOMETRY, pins="none").take(1)[0]
    assert len(first.ids) > 2
    assert np.abs(first.xy - first.born).max() == 0


def test_nothing_to_follow_and_masks(tmp_path):
    path = tmp_path / "flat.mp4"
    write_video(path, np.full((6, 64, 96, 3), 30, np.uint8), fps=16)
    with pytest.raises(UserError, match="flat or dark"):
        ClipMotion(Clip(path), GEOMETRY).take(5)
    clip = write_block(tmp_path / "clip.mp4")
    mask = np.zeros(clip.source, bool)
    mask[60:124, 20:84] = True
    everywhere = ClipMotion(clip, GEOMETRY, pins="all").take(5)[0]
    masked = ClipMotion(clip, GEOMETRY, pins="all", mask=mask).take(5)[0]
    assert 0 < len(masked.ids) < len(everywhere.ids)
    assert ((masked.xy >= (4, 14)) & (masked.xy <= (22, 32))).all()
