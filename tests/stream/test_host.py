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
