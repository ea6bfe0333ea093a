import pytest
from hypothesis import given
from hypothesis import strategies as st

from motionstream.shapes import VideoGeometry


def geometry(**settings) -> VideoGeometry:
    return VideoGeometry(**({"height": 96, "width": 128} | settings))


@given(st.integers(1, 40), st.sampled_from([1, 2, 4, 8]))
def test_frames_make_the_round_trip(latent_frames, t_stride):
    made = geometry(t_stride=t_stride)
    frames = made.pixel_frames(latent_frames)
    assert frames == t_stride * (latent_frames - 1) + 1
    assert made.latent_frames(frames) == latent_frames


@pytest.mark.parametrize("frames", range(1, 40))
def test_frame_counts_that_do_not_fit_name_their_neighbours(frames):
    if frames % 4 == 1:
        assert geometry().latent_frames(frames) == frames // 4 + 1
        return
    low = frames // 4 * 4 + 1 if frames % 4 else frames - 3
    with pytest.raises(ValueError, match=f"^{frames} frames .* use {low} or {low + 4} "):
        geometry().latent_frames(frames)


@pytest.mark.parametrize("frames", [0, -1, -3])
def test_no_frames_are_refused(frames):
    with pytest.raises(ValueError, match="use 1 or 5"):
        geometry().latent_frames(frames)
    with pytest.raises(ValueError, match="at least 1"):
        geometry().pixel_frames(frames)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_spans_of_any_chunk_plan_tile_the_video(plan):
    made, start, last = geometry(), 0, 0
    for length in plan:
        span = made.frame_span(start, start + length)
        assert span[0] == last
        assert span[1] - span[0] == 4 * length - (3 if start == 0 else 0)
        start, last = start + length, span[1]
    assert last == made.pixel_frames(start)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 2), (-1, 2)])
def test_empty_and_negative_spans_are_refused(start, stop):
    with pytest.raises(ValueError, match=r"latent range \["):
        geometry().frame_span(start, stop)


@pytest.mark.parametrize(
    ("settings", "cells", "tokens"),
    [
        ({}, (12, 16), 192),
        ({"patch": 2}, (12, 16), 48),
        ({"stride": 16, "height": 480, "width": 832, "patch": 2}, (30, 52), 390),
    ],
)
def test_cells_and_tokens(settings, cells, tokens):
    made = geometry(**settings)
    assert (made.latent_height, made.latent_width) == cells
    assert made.tokens_per_frame == tokens


@pytest.mark.parametrize(
    "settings",
    [{"height": 100}, {"width": 0}, {"height": -8}, {"patch": 2, "width": 120}, {"fps": 0.0}, {"fps": float("nan")}],
)
def test_impossible_geometries_are_refused(settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ValueError, match=f"{name}={value} must be"):
        geometry(**settings)
