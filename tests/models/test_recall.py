"""Frames get the picture's own pixels back, where tracks say that they come from."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from motionstream.models.recall import (
    AWAY_PX,
    FAR_PX,
    NEAREST_PX,
    PictureRecall,
    carried_picture,
    tell_picture,
    told_ways,
)
from motionstream.tracks.origin import origin_ids

SIZE = (24, 32)


def ids_of(start: torch.Tensor, late: list[bool] | None = None) -> torch.Tensor:
    return origin_ids(start, torch.zeros(len(start), dtype=torch.bool) if late is None else torch.tensor(late))[None]


def ways_by_definition(xy, visible, start, late) -> tuple[torch.Tensor, torch.Tensor]:
    """One cell and one track at a time."""
    T, rows, columns = len(xy), SIZE[0] // 4, SIZE[1] // 4
    ways, cues = torch.zeros(T, 2, rows, columns), torch.zeros(T, 2, rows, columns)
    for t in range(T):
        for row in range(rows):
            for column in range(columns):
                x, y = 4 * column + 2, 4 * row + 2
                told, left = [], [FAR_PX]
                for n in range(len(start)):
                    if visible[t, n] and not late[n]:
                        apart = math.hypot(x - float(xy[t, n, 0]), y - float(xy[t, n, 1]))
                        told.append((apart, start[n] - xy[t, n]))
                        if float((start[n] - xy[t, n]).norm()) > AWAY_PX:
                            left.append(math.hypot(x - float(start[n, 0]), y - float(start[n, 1])))
                cues[t, 1, row, column] = max(1 - min(left) / FAR_PX, 0)
                if not told or min(apart for apart, _ in told) >= FAR_PX:
                    continue
                least = min(apart for apart, _ in told)
                weights = [math.exp((least**2 - apart**2) / (2 * NEAREST_PX**2)) for apart, _ in told]
                mean = sum(w * way for w, (_, way) in zip(weights, told, strict=True)) / sum(weights)
                ways[t, :, row, column], cues[t, 0, row, column] = mean, 1 - least / FAR_PX
    return ways, cues


def test_ways_are_as_defined():
    generator = torch.Generator().manual_seed(0)
    start = (torch.rand(6, 2, generator=generator) * torch.tensor([32.0, 24.0]) * 16).round() / 16  # ids keep sixteenths
    xy = start + 12 * torch.rand(3, 6, 2, generator=generator) - 6
    xy[1] = start + 0.2 * (xy[1] - start)  # two of these have not gone far
    visible = torch.rand(3, 6, generator=generator) < 0.7
    late = [False, True, False, False, True, False]
    ways, cues = told_ways(xy[None], visible[None], ids_of(start, late), SIZE)
    wanted = ways_by_definition(xy, visible, start, late)
    torch.testing.assert_close(ways[0], wanted[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(cues[0], wanted[1], atol=1e-4, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):  # as a stream calls it
        in_stream = told_ways(xy[None], visible[None], ids_of(start, late), SIZE)
    assert torch.equal(in_stream[0], ways)
    assert torch.equal(in_stream[1], cues)
    assert cues.amax((0, 1, 3, 4)).min() > 0.9
    assert not cues[0, 1, 1].any()


class NoneOfTheHost(TorchFunctionMode):
    """Refuses tensors made of numbers of the host: on a GPU each is a copy for which its stream is waited for."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor), f"{func} takes numbers of the host"
        return func(*args, **(kwargs or {}))


def test_nothing_is_made_of_numbers_of_the_host():
    with NoneOfTheHost(), pytest.raises(AssertionError, match="numbers of the host"):  # it sees what it should
        torch.zeros(1).new_tensor([1.0])
    told = torch.zeros(1, 3, 5, 2), torch.ones(1, 3, 5, dtype=torch.bool), torch.zeros(1, 5, dtype=torch.long)
    with NoneOfTheHost():
        _, ways, cues = tell_picture(torch.zeros(1, 3, *SIZE), *told)
    assert ways.shape == cues.shape == (3, 2, 6, 8)


def test_only_tracks_of_the_picture_that_are_near_say_anything():
    start = torch.tensor([[4.0, 4.0]])
    xy = torch.tensor([[[10.0, 4.0]], [[float("nan"), 4.0]], [[500.0, 4.0]]])
    seen = torch.ones(1, 3, 1, dtype=torch.bool)
    ways, cues = told_ways(xy[None], seen, ids_of(start), SIZE)
    assert torch.equal(ways[0, 0, 0], torch.full((6, 8), -6.0))
    for t in (1, 2):  # no place, and out of reach
        assert not ways[0, t].any()
        assert not cues[0, t, 0].any()
    assert [bool(cue.any()) for cue in cues[0, :, 1]] == [True, False, True]
    for unseen in (told_ways(xy[None], ~seen, ids_of(start), SIZE), told_ways(xy[None], seen, ids_of(start, [True]), SIZE)):
        assert not any(part.any() for part in unseen)
    nothing = told_ways(torch.zeros(1, 3, 0, 2), torch.zeros(1, 3, 0, dtype=torch.bool), torch.zeros(1, 0).long(), SIZE)
    assert [part.shape for part in nothing] == [(1, 3, 2, 6, 8), (1, 3, 2, 6, 8)]
    assert not any(part.any() for part in nothing)


def test_the_picture_is_carried_by_whole_pixels_unchanged_and_mirrored_beyond_its_edges():
    picture = torch.rand(1, 3, *SIZE)
    ways = torch.tensor([-3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 6, 8)
    moved = carried_picture(picture, ways, SIZE)
    torch.testing.assert_close(moved[..., :-2, 3:], picture[..., 2:, :-3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved[..., :-2, :3], picture[..., 2:, :3].flip(-1), atol=1e-5, rtol=1e-5)  # a mirror


def by_shuffles(recall: PictureRecall, frames, features, picture, ways, cues) -> torch.Tensor:
    """:meth:`PictureRecall.forward` as one would write it down."""
    H, W = SIZE
    decoded = F.pixel_unshuffle(frames, 4)
    still = F.pixel_unshuffle(picture, 4) - decoded
    inside = torch.zeros(len(frames), 1, H // 4, W // 4)
    for row in range(H // 4):
        for column in range(W // 4):
            x, y = 4 * column + 2 + ways[:, 0, row, column], 4 * row + 2 + ways[:, 1, row, column]
            least = torch.stack([x, W - x, y, H - y]).amin(0)
            inside[:, 0, row, column] = (1 + least / 4).clamp(0, 1)
    carried = F.pixel_unshuffle(carried_picture(picture, ways, SIZE), 4) - decoded
    x = F.silu(recall.enter(torch.cat([decoded, carried, still, cues, inside], 1)) + recall.lift(features))
    for layer in recall.around:
        x = x + F.silu(layer(x))
    moved = F.interpolate(ways, (H // 2, W // 2), mode="bilinear") + 2 * F.pixel_shuffle(recall.shift(x), 2)
    shown = carried_picture(picture, moved, SIZE)
    x = F.silu(recall.compare(torch.cat([x, F.pixel_unshuffle(shown, 4) - decoded, still], 1)))
    x = x + F.silu(recall.smooth(x))
    shares = F.pixel_shuffle(recall.shares(x), 4).softmax(1)
    own = frames + F.pixel_shuffle(recall.correct(x), 4)
    return (shares[:, :, None] * torch.stack([own, shown, picture], 1)).sum(1)


@torch.no_grad()
def test_the_fast_form_is_the_plain_one(trained):
    torch.testing.assert_close(trained(*inputs()), by_shuffles(trained, *inputs()), atol=1e-5, rtol=1e-5)
    decoded, features, picture, ways, cues = inputs()
    torch.testing.assert_close(trained(decoded, features, picture[:1], ways, cues), trained(*inputs()), atol=1e-6, rtol=1e-6)


@pytest.fixture
def trained() -> PictureRecall:
    """Not all zeros where training begins."""
    torch.manual_seed(1)
    recall = PictureRecall(features=6, width=8)
    for layer in (recall.lift, recall.shift, recall.shares):
        torch.nn.init.normal_(layer.weight, std=0.6)
    torch.nn.init.normal_(recall.correct.weight, std=0.1)
    return recall.eval()


def inputs(frames: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    decoded, picture = (torch.rand(n, 3, *SIZE, generator=generator) for n in (frames, 1))
    features = torch.randn(frames, 6, SIZE[0] // 4, SIZE[1] // 4, generator=generator)
    xy = torch.rand(1, frames, 4, 2, generator=generator) * torch.tensor([32.0, 24.0])
    told = tell_picture(picture, xy, torch.ones(1, frames, 4, dtype=torch.bool), ids_of(xy[0, 0]))
    return decoded, features, told[0].expand_as(decoded), *told[1:]


@torch.no_grad()
def test_every_pixel_is_a_blend_of_the_three(trained):
    torch.nn.init.zeros_(trained.correct.weight)
    decoded, features, picture, ways, cues = inputs()
    made = trained.parts(decoded, features, picture, ways, cues)
    torch.testing.assert_close(made.shares.sum(1), torch.ones(5, *SIZE))
    assert made.shares.amin((0, 2, 3)).max() < 0.2 < 0.6 < made.shares.amax((0, 2, 3)).min(), "all must have a say"
    carried = carried_picture(picture, made.ways, SIZE)
    three = torch.stack([decoded, carried, picture])
    assert (made.frames >= three.amin(0) - 1e-5).all()
    assert (made.frames <= three.amax(0) + 1e-5).all()
    torch.testing.assert_close(made.frames, (made.shares.transpose(0, 1)[:, :, None] * three).sum(0))
    assert torch.equal(made.frames, trained(decoded, features, picture, ways, cues))


@torch.no_grad()
def test_frames_do_not_depend_on_each_other(trained):
    whole = trained(*inputs())
    parts = [trained(*(part[t : t + 1] for part in inputs())) for t in range(5)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_where_all_three_agree_nothing_changes(trained):
    torch.nn.init.zeros_(trained.correct.weight)
    torch.nn.init.zeros_(trained.correct.bias)
    grey, features = torch.full((2, 3, *SIZE), 0.4), torch.randn(2, 6, 6, 8)
    shown = trained(grey, features, grey, torch.rand(2, 2, 6, 8) * 9, torch.ones(2, 2, 6, 8))
    torch.testing.assert_close(shown, grey)


@torch.no_grad()
def test_untrained_it_shows_mostly_what_was_decoded():
    shares = PictureRecall(6).parts(*inputs()).shares
    assert (shares[:, 0] > 0.5).all()
