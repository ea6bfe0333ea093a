import numpy as np
import pytest

from motionstream.tracking.appearance import cut_patches, find_patch, likeness, read_field, texture, trackability

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)


def test_a_patch_around_a_pixel_centre_is_those_pixels():
    patches = cut_patches(PICTURE, np.array([[10.5, 20.5], [11.0, 20.5]], np.float32), 3)
    assert patches[0].tolist() == PICTURE[19:22, 9:12].ravel().tolist()
    between = (PICTURE[20, 10].astype(float) + PICTURE[20, 11]) / 2
    assert patches[1][4] == pytest.approx(between, abs=0.01)
    assert cut_patches(PICTURE, np.zeros((0, 2), np.float32), 5).shape == (0, 25)


def test_many_patches_are_read_in_parts():
    places = np.tile(np.array([[10.5, 20.5], [30.5, 5.5]], np.float32), (17_000, 1))
    patches = cut_patches(PICTURE, places, 3)
    assert (patches == np.tile(patches[:2], (17_000, 1))).all()
    values = read_field(PICTURE, places)
    assert values.shape == (34_000, 1)
    assert (values[::2, 0] == PICTURE[20, 10]).all()


def test_likeness():
    rng = np.random.default_rng(1)
    patch = rng.normal(100, 40, (1, 81)).astype(np.float32)
    assert likeness(patch, 0.5 * patch + 30)[0] == pytest.approx(1, abs=0.02)  # light does not matter
    assert likeness(patch, 200 - patch)[0] == pytest.approx(-1, abs=0.1)
    assert abs(likeness(patch, rng.normal(100, 40, (1, 81)).astype(np.float32))[0]) < 0.4
    flat = np.full((1, 81), 90, np.float32)
    assert likeness(flat, flat + rng.normal(0, 1, (1, 81)).astype(np.float32))[0] > 0.9
    assert texture(flat)[0] == 0


@pytest.mark.parametrize("place", [(20.5, 17.5), (6.5, 6.5), (44.5, 34.5)])
def test_a_patch_is_found_where_it_is(place: tuple[float, float]):
    patch = cut_patches(PICTURE, np.array([place], np.float32), 9)[0].reshape(9, 9)
    found, alike = find_patch(PICTURE, patch, np.array(place) + [2, -3], 6)
    assert np.abs(found - place).max() < 0.3  # white noise peaks within a pixel, so the parabola is rough
    assert alike > 0.99


def test_a_patch_is_found_between_pixels():
    x, y = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    hill = lambda u, v: (255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 40)).astype(np.uint8)  # noqa: E731
    patch = cut_patches(hill(30.5, 30.5), np.array([[30.5, 30.5]], np.float32), 11)[0].reshape(11, 11)
    found, _ = find_patch(hill(32.8, 29.1), patch, np.array([30.5, 30.5]), 6)
    assert np.abs(found - [32.8, 29.1]).max() < 0.15


def test_no_room_to_look():
    found, alike = find_patch(PICTURE, np.zeros((9, 9), np.float32), np.array([1.0, 1.0]), 1)
    assert alike == -1
    assert found.tolist() == [1, 1]


def test_corners_can_be_tracked_and_edges_cannot():
    picture = np.zeros((40, 40), np.uint8)
    picture[20:, 20:] = 200
    score = trackability(picture)
    assert score[20, 20] > 100
    assert score[33, 20] < 1e-3
    assert score[5, 5] == 0
