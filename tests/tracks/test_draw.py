import numpy as np
import pytest

from motionstream.tracks.draw import KIND_COLOURS, colour_of_id, contact_sheet, draw_tracks
from motionstream.tracks.tracks import Tracks


def two_tracks(T: int = 4) -> Tracks:
    points = [[[10.5 + 4 * t, 5.5], [50.5, 40.5]] for t in range(T)]
    return Tracks.from_points(points, visible=[[True, t != 1] for t in range(T)], ids=[3, 900], size=(48, 64), fps=16)


def black(T: int = 4, H: int = 48, W: int = 64) -> np.ndarray:
    return np.zeros((T, H, W, 3), dtype=np.uint8)


def test_a_dot_sits_on_its_pixel_and_the_input_is_left_alone():
    frames = black()
    drawn = draw_tracks(frames, two_tracks(), tail=0)
    assert drawn.dtype == np.uint8
    assert drawn.shape == frames.shape
    assert frames.sum() == 0
    assert tuple(drawn[2, 5, 18]) == colour_of_id(3)
    rows, columns = drawn[0, :20].any(axis=-1).nonzero()
    assert (rows.mean(), columns.mean()) == (5, 10)
    assert drawn[1, 40, 50].sum() == 0  # not visible there


def test_tails_fade_and_break_at_gaps():
    drawn = draw_tracks(black(), two_tracks(), tail=3)
    brightness = drawn[3, 5, [12, 16, 20]].astype(int).sum(axis=1)
    assert 0 < brightness[0] < brightness[1] < brightness[2]
    assert draw_tracks(black(), two_tracks(), tail=0)[3, 5, 12].sum() == 0


def test_colours_by_kind_mapping_and_canvas_scaling():
    tracks = two_tracks(1)
    large = draw_tracks(black(1, 96, 128), tracks, colours={3: "pin", 900: (1, 2, 3)})
    assert tuple(large[0, 10, 20]) == KIND_COLOURS["pin"]
    assert tuple(large[0, 80, 100]) == (1, 2, 3)
    assert tuple(draw_tracks(black(1), tracks, colours="drag")[0, 5, 10]) == KIND_COLOURS["drag"]
    with pytest.raises(ValueError, match="unknown kind of track 'push'"):
        draw_tracks(black(1), tracks, colours="push")


def test_colours_are_stable_and_differ():
    assert len({colour_of_id(n) for n in range(50)}) == 50
    assert colour_of_id(2**62 + 1) == colour_of_id(2**62 + 1)


def test_wrong_frames_say_what_is_wrong():
    with pytest.raises(ValueError, match="4 frames and tracks of 3"):
        draw_tracks(black(4), two_tracks(3))
    with pytest.raises(ValueError, match="uint8"):
        draw_tracks(black().astype(np.float32), two_tracks())
    with pytest.raises(ValueError, match="tail"):
        draw_tracks(black(), two_tracks(), tail=-1)


def test_contact_sheet_places_every_nth_frame():
    frames = black(9, 10, 20) + np.arange(9, dtype=np.uint8)[:, None, None, None]
    sheet = contact_sheet(frames, columns=3, every=2, gap_px=1)
    assert sheet.size == (3 * 21 - 1, 2 * 11 - 1)
    pixels = np.asarray(sheet)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[11, 21].tolist() == [8, 8, 8]
    assert pixels[-1, -1].tolist() == [255, 255, 255]
    assert contact_sheet(frames[:1]).size == (20, 10)
    with pytest.raises(ValueError, match="at least 1"):
        contact_sheet(frames, columns=0)
