"""A host program has settings of its own for torch. The frames stay the same."""

import contextlib

import numpy as np
import pytest
import torch

import motionstream as ms

DTYPES = [torch.float64, torch.float16, torch.bfloat16]


def frames_of(engine) -> np.ndarray:
    """A brush of strokes, then hands: one that takes hold late, a pin, a way back and a new prompt."""
    geometry = engine.preset.geometry
    size = geometry.height, geometry.width
    y, x = np.indices(size)
    picture = np.stack([x, y, (x // 16 + y // 16) % 2 * 200], axis=-1).astype(np.uint8)
    stroke = ms.Stroke(points=[(0.0, 90.0, 70.0), (0.2, 100.0, 72.0)], radius_px=30, spacing_px=9)
    tracks = ms.Tracks.from_strokes([stroke], num_frames=5, size=size, fps=geometry.fps)
    with engine.start(picture, "a red cup", seed=3) as session:
        made = [chunk.frames for chunk in session.stream(tracks, strokes=[stroke])]
        session.reset()
        session.push([ms.Point(1, 60.0, 60.0)])
        made.append(session.step().frames)
        session.push([ms.Point(1, 63.0, 60.0), ms.Point(2, 30.0, 30.0), ms.Point(3, 36.0, 34.0)])
        made.append(session.step().frames)
        before = session.snapshot()
        session.step()
        session.restore(before)
        session.set_prompt("a blue cup")
        session.push([ms.Point(2, 33.0, 31.0)])
        made.append(session.step().frames)
    return np.concatenate(made)


def loaded():
    return ms.load("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def wanted():
    return frames_of(loaded())


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hosts_default_dtype_changes_no_bit(wanted, dtype):
    with default_dtype(dtype):
        engine = loaded()
        assert {value.dtype for value in engine.model.state_dict().values()} == {torch.float32}
        assert np.array_equal(frames_of(engine), wanted)


def test_nor_does_one_that_is_set_later(wanted):
    engine = loaded()
    with default_dtype(torch.float64):
        assert np.array_equal(frames_of(engine), wanted)


def test_random_weights_are_the_same_too():
    plain = ms.load("tiny-debug", device="cpu", dtype="float32")
    with default_dtype(torch.float64):
        other = ms.load("tiny-debug", device="cpu", dtype="float32")
    assert {value.dtype for value in other.vae.state_dict().values()} == {torch.float32}
    theirs = other.model.state_dict()
    for name, value in plain.model.state_dict().items():
        assert theirs[name].dtype == value.dtype, name
        assert torch.equal(theirs[name], value), name


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


def test_a_hosts_default_device_changes_no_bit(wanted):
    """A tensor on ``meta`` has no values: one that were made there would not go unnoticed."""
    with default_device("meta"):
        engine = loaded()
        engine.warmup(1)
        assert np.array_equal(frames_of(engine), wanted)
        assert torch.get_default_device().type == "meta"


def test_nor_does_one_that_is_set_for_a_while(wanted):
    engine = loaded()
    with torch.device("meta"):
        assert np.array_equal(frames_of(engine), wanted)


def test_nor_is_it_for_tracks():
    points = np.random.default_rng(0).uniform(0, 90, (5, 3, 2)).astype(np.float32)
    with default_device("meta"):
        made = ms.Tracks.from_points(points, size=(96, 96), fps=24.0)
        made = made.resample(fps=12.0).concat(ms.Tracks.empty(num_frames=3, size=(96, 96), fps=12.0))
        hidden = np.zeros((3, 5), bool)
        there = ms.Tracks.from_tapvid(points.swapaxes(0, 1), hidden, size=(96, 96), fps=24.0)
    assert made.xy.device.type == there.xy.device.type == "cpu"
    assert made.ids.tolist() == [[0, 1, 2]]
    assert np.allclose(made.xy[0].numpy(), points[::2])


def test_nor_do_random_weights_lie_there():
    plain = ms.load("tiny-debug", device="cpu", dtype="float32")
    with default_device("meta"):
        other = ms.load("tiny-debug", device="cpu", dtype="float32")
    for name, value in plain.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value), name
