"""Tracks agree with the picture: the same surface point keeps its colour, and hidden points are really covered."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from motionstream.data.render import object_pose, render, ways_home
from motionstream.data.scenes import SceneConfig, Scenes, sample_scenes

CONFIG = SceneConfig(num_frames=17, height=48, width=64, object_px=(18.0, 30.0), speed_px=16.0, p_static=0.0, p_camera=1.0)


def smooth_scenes(batch: int = 8, **settings) -> Scenes:
    """Real motion, but every texture a smooth gradient, so that resampling hardly changes a colour."""
    made = sample_scenes(batch, dataclasses.replace(CONFIG, **settings), look_seed=1, motion_seed=2)
    line = torch.linspace(0, 1, 72)
    y, x = torch.meshgrid(line, line, indexing="ij")
    disc = ((x - 0.5).hypot(y - 0.5) < 0.48).float()
    sprite = torch.stack([x, y, 1 - x, disc]).expand_as(made.sprites).clone()
    sprite[:, :, 2] = torch.linspace(0, 1, sprite.shape[1])[None, :, None, None]  # every object its own blue
    Hb, Wb = made.background.shape[2:]
    ground = torch.stack(
        [torch.full((Hb, Wb), 0.5), *torch.meshgrid(torch.linspace(0, 1, Hb), torch.linspace(0, 1, Wb), indexing="ij")]
    )
    return dataclasses.replace(made, sprites=sprite, background=ground.expand_as(made.background).clone())


def colours(video: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    """Colours ``(B, T, N, 3)`` under points; pixel centres at +0.5."""
    B, T, _, H, W = video.shape
    grid = 2 * xy / torch.tensor([W, H]) - 1
    out = F.grid_sample(video.flatten(0, 1), grid.flatten(0, 1)[:, :, None], align_corners=False, padding_mode="border")
    return out[..., 0].unflatten(0, (B, T)).transpose(2, 3)


def test_visible_points_keep_their_colour():
    made = smooth_scenes()
    rendered = render(made, grid=(16, 20))
    seen = colours(rendered.video, rendered.xy)
    change = (seen - seen[:, :1]).abs().amax(-1)
    both = rendered.visible & rendered.visible[:, :1]
    # Points on outlines mix with what is behind them: compare the bulk tightly, all of them loosely.
    for part in (both & (rendered.layer >= 0)[:, None], both & (rendered.layer < 0)[:, None]):
        assert part.sum() > 500
        assert change[part].quantile(0.9) < 0.04
    moved = (rendered.xy - rendered.xy[:, :1]).norm(dim=-1)
    assert moved[both].quantile(0.5) > 2, "something must have moved for this to mean anything"
    # The same points without their motion fail.
    stay = colours(rendered.video, rendered.xy[:, :1].expand_as(rendered.xy))
    assert (stay - stay[:, :1]).abs().amax(-1)[both & (rendered.layer >= 0)[:, None]].quantile(0.9) > 0.2


def test_ways_lead_home():
    made = smooth_scenes()
    rendered, ways = render(made, grid=(16, 20)), ways_home(made, 2)
    assert ways.shape == (8, 17, 2, 24, 32)
    assert ways[:, 0].abs().max() < 1e-3
    row, column = torch.meshgrid(torch.arange(24), torch.arange(32), indexing="ij")
    here = ((torch.stack([column, row], -1).reshape(1, 1, -1, 2) + 0.5) * 2).expand(8, 17, -1, -1)
    there = here + ways.flatten(-2).transpose(-1, -2)
    shown = colours(rendered.video, here)
    home = colours(rendered.video[:, :1].expand_as(rendered.video), there)
    apart = (shown - home).abs().amax(-1)
    long = ways.norm(dim=2).flatten(-2) > 4
    assert long.float().mean() > 0.2, "something must have moved for this to mean anything"
    assert apart[long].quantile(0.7) < 0.03  # the rest was hidden in frame 0, is out of view there, or is an outline
    assert (shown - colours(rendered.video[:, :1].expand_as(rendered.video), here)).abs().amax(-1)[long].quantile(0.7) > 0.06


def test_the_layer_is_what_the_picture_shows():
    rendered = render(smooth_scenes(), grid=(16, 20))
    blue = colours(rendered.video, rendered.xy)[:, 0, :, 2]
    for layer, wanted in ((0, 0.0), (1, 0.5), (2, 1.0)):
        mine = (rendered.layer == layer) & rendered.visible[:, 0]
        assert mine.sum() > 20
        assert ((blue[mine] - wanted).abs() < 0.1).float().mean() > 0.85


def test_frame_0_points_are_visible_on_the_topmost_layer():
    rendered = render(smooth_scenes(), grid=(12, 16))
    assert rendered.visible[:, 0].float().mean() > 0.97
    assert (rendered.xy[:, 0] >= 0).all()
    assert (rendered.xy[:, 0] < torch.tensor([64.0, 48.0]) + 1e-3).all()


def test_points_chosen_in_later_frames_lie_on_what_came_into_view():
    made = smooth_scenes()
    early, late = render(made, grid=(16, 20)), render(made, grid=(16, 20), p_late=1.0)
    assert early.visible[:, 0].float().mean() > 0.97
    begins = late.visible.int().argmax(1)  # (B, N), the first frame that shows a point
    new = (begins > 0) & late.visible.any(1)
    assert 0.02 < new.float().mean() < 0.5
    # From then on a point shows one colour, as those of frame 0 do; many begin at an outline, which mixes colours.
    shown = late.visible & new[:, None]

    def change(xy: torch.Tensor) -> torch.Tensor:
        seen = colours(late.video, xy)
        usual = seen.masked_fill(~shown[..., None], torch.nan).nanmedian(dim=1, keepdim=True).values
        return (seen - usual).abs().amax(-1)[shown]

    stay = late.xy.gather(1, begins[:, None, :, None].expand(-1, 1, -1, 2)).expand_as(late.xy)
    assert (late.xy - stay).norm(dim=-1)[shown].quantile(0.5) > 1, "something must have moved for this to mean anything"
    assert change(late.xy).quantile(0.8) < 0.01 < change(stay).quantile(0.8)


def crossing() -> Scenes:
    """Object 0 stands in the middle; object 1, in front of it, passes over it from left to right."""
    made = smooth_scenes(1, max_objects=2, num_frames=21)
    T = made.centre.shape[2]
    centre = torch.tensor([32.0, 24.0]).expand(1, 2, T, 2).clone()
    centre[0, 1, :, 0] = torch.linspace(-20, 84, T)
    still = {name: torch.zeros_like(getattr(made, name)) for name in ("angle", "pan", "roll")}
    ones = {name: torch.ones_like(getattr(made, name)) for name in ("scale", "zoom", "parallax")}
    return dataclasses.replace(
        made, centre=centre, active=torch.ones(1, 2, dtype=torch.bool), size=torch.full((1, 2), 16.0), **still, **ones
    )


def test_points_are_hidden_while_something_passes_in_front():
    scene = crossing()
    rendered = render(scene, grid=(24, 32))
    mine = (rendered.layer[0] == 0).nonzero()[:, 0]
    assert len(mine) > 30
    assert (~rendered.visible[0][:, mine]).any(0).float().mean() > 0.8
    for n in mine.tolist():
        distance = (rendered.xy[0, :, n] - scene.centre[0, 1]).norm(dim=-1)
        covered, clear = distance < 7, distance > 8.5  # the disc's radius is 0.48 of 16 pixels
        assert not rendered.visible[0, covered, n].any()
        assert rendered.visible[0, clear, n].all()
    # The picture agrees: where object 0's points are hidden, the front object's blue shows.
    blue = colours(rendered.video, rendered.xy)[0, :, mine, 2]
    hidden = ~rendered.visible[0][:, mine]
    assert (blue[hidden] > 0.7).float().mean() > 0.9
    assert (blue[~hidden] < 0.3).float().mean() > 0.9


def test_nothing_hides_the_front_object_but_the_edge():
    scene = crossing()
    rendered = render(scene, grid=(24, 32))
    inside = ((rendered.xy >= 0) & (rendered.xy < torch.tensor([64.0, 48.0]))).all(-1)
    front = rendered.layer[0] == 1
    assert torch.equal(rendered.visible[0][:, front], inside[0][:, front])


def test_an_absent_object_neither_shows_nor_hides():
    scene = crossing()
    gone = render(scene.without_object(1), grid=(24, 32))
    assert (gone.layer < 1).all()
    assert gone.visible[0][:, gone.layer[0] == 0].all()
    assert torch.equal(gone.video[0, 0], gone.video[0, 10])


@pytest.mark.parametrize("size", [(48, 64), (32, 32)])
def test_a_still_scene_is_still(size):
    made = smooth_scenes(2, height=size[0], width=size[1], p_static=1.0, p_camera=0.0)
    made = dataclasses.replace(
        made, centre=made.centre[:, :, :1].expand_as(made.centre), angle=made.angle[..., :1].expand_as(made.angle)
    )
    made = dataclasses.replace(made, scale=torch.ones_like(made.scale))
    rendered = render(made, grid=(6, 8))
    assert rendered.video.shape[-2:] == size
    torch.testing.assert_close(rendered.video, rendered.video[:, :1].expand_as(rendered.video), atol=1e-5, rtol=0)
    torch.testing.assert_close(rendered.xy, rendered.xy[:, :1].expand_as(rendered.xy), atol=1e-3, rtol=0)


def test_what_is_uncovered_is_ground_where_an_object_was():
    """Told from the pictures of the scene with and without its objects, as an eye would."""
    made = smooth_scenes(p_camera=0.0)
    rendered, bare = render(made), made
    for index in range(made.active.shape[1]):
        bare = bare.without_object(index)
    differs = (rendered.video - render(bare).video).abs().amax(2, keepdim=True) > 0.02
    uncovered = rendered.uncovered > 0.5
    assert uncovered.shape == differs.shape
    assert uncovered.any(-1).any(-1).float()[:, 8:].mean() > 0.5
    assert not uncovered[:, 0].any()
    assert not ((rendered.uncovered > 0.98) & differs).any()  # outlines are a mixture
    assert differs[:, :1].expand_as(uncovered)[uncovered].float().mean() > 0.98
    was, now = differs[:, :1].expand_as(differs), differs
    assert uncovered[was & ~now].float().mean() > 0.9


def with_one_at_rest(made: Scenes) -> Scenes:
    still = {name: getattr(made, name).clone() for name in ("centre", "scale", "angle")}
    for way in still.values():
        way[:, 0] = way[:, 0, :1]
    return dataclasses.replace(made, **still)


def test_what_rests_is_an_object_that_has_not_moved():
    """Told from the pictures of the scene with and without that object, as an eye would."""
    made = with_one_at_rest(smooth_scenes(p_camera=0.0))
    rendered, without = render(made), render(made.without_object(0))
    shows = (rendered.video - without.video).abs().amax(2, keepdim=True) > 0.02
    seen = shows & shows[:, :1] & ((rendered.video - rendered.video[:, :1]).abs().amax(2, keepdim=True) < 0.02)
    resting = rendered.resting > 0.5
    assert resting.shape == seen.shape
    assert resting[seen].float().mean() > 0.95
    assert seen[:, 16:][resting[:, 16:]].float().mean() > 0.95  # by then the others have left
    assert 0.01 < resting[:, -1].float().mean() < resting[:, 0].float().mean()
    assert not (rendered.resting + rendered.uncovered > 1 + 1e-5).any()


def test_nothing_rests_under_a_moving_camera():
    made = with_one_at_rest(smooth_scenes(p_camera=1.0))
    ways = made.pan.norm(dim=-1)
    moves = (ways - ways[:, :1]).abs()[:, -1] > 2
    resting = render(made).resting
    assert moves.any()
    assert resting[moves, 0].mean() > 0.01
    assert not resting[moves, -1].any()


def test_a_camera_s_zoom_and_pan_move_near_things_more_than_the_ground():
    """Parallax: an object twice as near moves twice as far, and grows by twice as much."""
    made = crossing()
    T = made.pan.shape[1]
    pan = torch.zeros(1, T, 2)
    pan[0, :, 0] = torch.linspace(0, -6, T)
    moved = dataclasses.replace(made, pan=pan, parallax=torch.tensor([[1.0, 2.0]]))
    poses = [object_pose(moved, index).offset[0, -1, 0] - moved.centre[0, index, -1, 0] for index in range(2)]
    assert [float(way) for way in poses] == pytest.approx([6.0, 12.0], abs=1e-4)
    nearer = dataclasses.replace(made, zoom=torch.full((1, T), 1.25), parallax=torch.tensor([[1.0, 2.0]]))
    extents = [[object_pose(one, index).linear[0, -1].norm() for index in range(2)] for one in (nearer, made)]
    assert [float(a / b) for a, b in zip(*extents, strict=True)] == pytest.approx([1.25, 1.5], abs=1e-4)


def test_points_are_jittered_by_their_seed():
    made = crossing()
    one, same, other = (render(made, grid=(6, 8), point_seed=seed).xy[:, 0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    cell = (one[0] / 8).floor().long()
    assert torch.equal(cell[:, 1] * 8 + cell[:, 0], torch.arange(48)), "one in each cell"


def test_what_was_covered_in_frame_0_does_not_rest():
    """Whatever channel tells it from what covered it."""
    made = crossing()
    centre, sprites = made.centre.clone(), made.sprites.clone()
    centre[0, 1, :, 0] = torch.linspace(32, 84, centre.shape[2])
    sprites[:, :, :3] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[:, :, None, None]
    assert render(made).resting[0, -1].max() > 0.98
    assert render(dataclasses.replace(made, centre=centre, sprites=sprites)).resting[0, -1].max() < 0.1


def test_a_camera_that_rolls_turns_objects_about_the_middle():
    made = crossing()
    rolled = object_pose(dataclasses.replace(made, roll=torch.full_like(made.roll, 0.3)), 1)
    plain, middle = object_pose(made, 1), torch.tensor([32.0, 24.0])
    turn = torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    torch.testing.assert_close(rolled.linear, turn @ plain.linear)
    torch.testing.assert_close(rolled.offset - middle, (plain.offset - middle) @ turn.T, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("larger", "points"), [(0.5, 24 * 32), (1, 24 * 32), (1.5, 36 * 48), (3, 48 * 64)])
def test_larger_pictures_have_more_points_up_to_twice_as_many_each_way(larger, points):
    config = SceneConfig(num_frames=1, height=round(96 * larger), width=round(128 * larger), max_objects=1)
    assert render(sample_scenes(1, config, look_seed=0, motion_seed=0)).xy.shape[2] == points
