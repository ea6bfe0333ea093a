import numpy as np
import pytest

from motionstream.camera.moves import MOVES, PresetPath
from motionstream.camera.pose import IDENTITY, Pose

SUBJECT = np.array([0.0, 0.0, 1.0])


@pytest.mark.parametrize("name", MOVES)
def test_every_move_begins_at_the_picture_and_ends_at_its_amount(name: str):
    path = PresetPath(preset=name, duration_s=2.0)
    start, end, later = (path.pose_at(time) for time in (0.0, 2.0, 9.0))
    assert start.position == pytest.approx((0, 0, 0), abs=1e-12)
    assert start.rotation == pytest.approx(IDENTITY)
    assert start.zoom == 1
    assert end == later  # then it rests
    assert end != start
    move = MOVES[name]
    assert path.amount == move.default
    assert end == move.pose(move.sign * move.default)


@pytest.mark.parametrize(
    ("name", "amount", "position", "forward"),
    [
        ("dolly-in", 0.4, (0, 0, 0.4), (0, 0, 1)),
        ("truck-left", 0.4, (-0.4, 0, 0), (0, 0, 1)),
        ("pedestal-up", 0.4, (0, -0.4, 0), (0, 0, 1)),
        ("pan-right", 90, (0, 0, 0), (1, 0, 0)),
        ("tilt-down", 90, (0, 0, 0), (0, 1, 0)),
        ("orbit-right", 90, (1, 0, 1), (-1, 0, 0)),
        ("orbit-left", 90, (-1, 0, 1), (1, 0, 0)),
        ("orbit-up", 90, (0, -1, 1), (0, 1, 0)),
        ("zoom-in", 1, (0, 0, 0), (0, 0, 1)),
    ],
)
def test_where_moves_lead(name: str, amount: float, position: tuple, forward: tuple):
    end = PresetPath(preset=name, amount=amount, duration_s=1.0).pose_at(1.0)
    assert end.position == pytest.approx(position, abs=1e-9)
    assert end.matrix[:, 2] == pytest.approx(forward, abs=1e-9)
    assert end.zoom == (2 if name == "zoom-in" else 1)


def test_orbits_and_arcs_look_at_the_subject():
    for name in ("orbit-right", "orbit-down", "arc-left", "arc-right"):
        path = PresetPath(preset=name, duration_s=1.0)
        distances = []
        for time in (0.0, 0.3, 0.7, 1.0):
            x, y, z = path.pose_at(time).to_camera(SUBJECT)
            assert (x, y) == pytest.approx((0, 0), abs=1e-9)
            distances.append(z)
        if name.startswith("orbit"):
            assert distances == pytest.approx([1.0] * 4)
        else:
            assert (np.diff(distances) < 0).all()  # comes closer
            assert distances[-1] == pytest.approx(np.exp(-0.3))


def test_easing_bends_time_only():
    half = {name: PresetPath(preset="dolly-in", amount=1.0, duration_s=2.0, easing=name).pose_at(0.5) for name in EASED}
    assert {name: pose.position[2] for name, pose in half.items()} == pytest.approx(EASED)
    assert isinstance(half["linear"], Pose)


EASED = {"linear": 0.25, "ease-in": 0.0625, "ease-out": 0.4375, "ease-in-out": 0.15625}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"preset": "fly"}, "unknown camera preset 'fly'; use one of pan-right, pan-left"),
        ({"preset": "dolly-in", "amount": -1.0}, "amount of dolly-in must be above 0 and at most 100 scene units, got -1"),
        ({"preset": "tilt-up", "amount": 91.0}, "at most 90 degrees, got 91"),
        ({"preset": "tilt-up", "amount": float("nan")}, "got nan"),
        ({"preset": "pan-left", "duration_s": 0.0}, "duration_s must be a number above 0 and below 1e+06, got 0"),
        ({"preset": "pan-left", "easing": "bounce"}, "unknown easing 'bounce'; use one of linear"),
    ],
)
def test_bad_values(values: dict, complaint: str):
    with pytest.raises(ValueError) as raised:
        PresetPath(**values)
    assert complaint in str(raised.value)
