import numpy as np
import pytest

from motionstream.camera.pose import IDENTITY, Pinhole, Pose, multiply, quaternion_of, rotation_matrix, slerp, turn


def test_directions():
    forward = np.array([0.0, 0.0, 1.0])
    assert Pose(rotation=turn(pan_deg=90)).matrix @ forward == pytest.approx([1, 0, 0])  # to the right
    assert Pose(rotation=turn(tilt_deg=90)).matrix @ forward == pytest.approx([0, -1, 0])  # up, for y points down
    assert Pose(rotation=turn(roll_deg=90)).matrix @ np.array([1.0, 0, 0]) == pytest.approx([0, 1, 0])  # clockwise
    tilted_then_panned = Pose(rotation=turn(pan_deg=90, tilt_deg=30)).matrix @ forward
    assert tilted_then_panned == pytest.approx([np.cos(np.pi / 6), -0.5, 0])


def test_quaternions_and_matrices():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (rng.normal(size=4) for _ in range(2))
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        assert rotation_matrix(multiply(a, b)) == pytest.approx(rotation_matrix(a) @ rotation_matrix(b))
        assert rotation_matrix(a) @ rotation_matrix(a).T == pytest.approx(np.eye(3), abs=1e-12)
        back = np.array(quaternion_of(rotation_matrix(a)))
        assert back == pytest.approx(a if a[0] >= 0 else -a, abs=1e-9)
    half_turn = quaternion_of(np.diag([-1.0, 1.0, -1.0]))  # where the trace formula breaks down
    assert np.abs(half_turn) == pytest.approx([0, 0, 1, 0])


def test_slerp_turns_at_constant_speed_along_the_shorter_way():
    a, b = turn(pan_deg=10), turn(pan_deg=70)
    for share in (0.0, 0.25, 0.5, 1.0):
        assert rotation_matrix(slerp(a, b, share)) == pytest.approx(rotation_matrix(turn(pan_deg=10 + 60 * share)))
        other_sign = tuple(-part for part in b)
        assert rotation_matrix(slerp(a, other_sign, share)) == pytest.approx(rotation_matrix(turn(pan_deg=10 + 60 * share)))
    assert slerp(a, a, 0.3) == pytest.approx(a)


def test_a_quaternion_of_length_one_stays_where_it_is():
    """Also where its square is a little more than one in floating point."""
    for q in np.random.default_rng(0).normal(size=(300, 4)):
        q /= np.linalg.norm(q)
        assert slerp(q, q, 0.3) == pytest.approx(q)
    assert Pose(rotation=(0.0, 3.0, 0.0, 0.0)).rotation == (0.0, 1.0, 0.0, 0.0)


def test_a_camera_is_rolled_then_tilted_then_panned():
    pan, tilt, roll = (rotation_matrix(turn(**{name: 40.0})) for name in ("pan_deg", "tilt_deg", "roll_deg"))
    assert rotation_matrix(turn(40.0, 40.0, 40.0)) == pytest.approx(pan @ tilt @ roll)


def test_poses_compose():
    first = Pose(position=(1.0, 2.0, -3.0), rotation=turn(20, -30, 40), zoom=2.0)
    second = Pose(position=(-4.0, 0.5, 1.0), rotation=turn(-50, 10, 5), zoom=3.0)
    points = np.random.default_rng(1).normal(size=(7, 3))
    assert second.to_world(second.to_camera(points)) == pytest.approx(points)
    relative = second.relative_to(first)
    assert relative.to_camera(first.to_camera(points)) == pytest.approx(second.to_camera(points))
    assert relative.zoom == 1.5
    own = first.relative_to(first)
    assert own.position == pytest.approx((0, 0, 0), abs=1e-12)
    assert own.rotation == pytest.approx(IDENTITY)
    assert first.scaled(10).position == (10, 20, -30)


def test_pinhole_goes_there_and_back():
    pinhole = Pinhole.from_fov((96, 128), 60.0)
    edge = pinhole.unproject(np.array([128.0, 48.0]), np.array(1.0))
    assert np.degrees(np.arctan2(edge[0], edge[2])) == pytest.approx(30)
    xy = np.random.default_rng(2).uniform(0, 96, size=(20, 2))
    depth = np.linspace(0.5, 9, 20)
    back, z = pinhole.project(pinhole.unproject(xy, depth))
    assert back == pytest.approx(xy)
    assert z == pytest.approx(depth)
    shifted = Pinhole(size=(96, 128), focal_px=80.0, centre=(10.0, 20.0))
    assert shifted.unproject(np.array([18.0, 20.0]), np.array(5.0)) == pytest.approx([0.5, 0, 5])
    assert shifted.project(np.array([0.5, 0.0, 5.0]))[0] == pytest.approx([18, 20])
    behind, z = pinhole.project(np.array([[0.1, 0.0, -1.0]]))
    assert np.isnan(behind).all()
    assert z[0] == -1


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Pose(position=(0.0, float("nan"), 0.0)),
        lambda: Pose(rotation=(0.0, 0.0, 0.0, 0.0)),
        lambda: Pose(zoom=0.0),
        lambda: Pinhole.from_fov((4, 4), 175.0),
        lambda: Pinhole.from_fov((4, 4), 1.0),
        lambda: Pinhole(size=(0, 4), focal_px=1.0, centre=(2.0, 2.0)),
        lambda: Pinhole.from_fov((4, 4), float("nan")),
        lambda: Pinhole(size=(4, 4), focal_px=-1.0, centre=(2.0, 2.0)),
        lambda: Pinhole(size=(4, 4), focal_px=1.0, centre=(2.0, float("inf"))),
    ],
)
def test_bad_values(broken):
    with pytest.raises(ValueError, match="got"):
        broken()


def test_a_long_quaternion_is_still_a_rotation():
    assert Pose(rotation=(0.0, 1e200, 0.0, 0.0)).rotation == (0.0, 1.0, 0.0, 0.0)
