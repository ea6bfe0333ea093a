"""Point tracks: the type, its files, strokes, drawing and training masks (paper section 1.2)."""

from motionstream.tracks.draw import contact_sheet, draw_tracks
from motionstream.tracks.io import load_strokes, load_tracks, save_strokes, save_tracks
from motionstream.tracks.strokes import Stroke, brush_offsets, kinds_by_id, tracks_from_strokes
from motionstream.tracks.tracks import Tracks

__all__ = [
    "Stroke",
    "Tracks",
    "brush_offsets",
    "contact_sheet",
    "draw_tracks",
    "kinds_by_id",
    "load_strokes",
    "load_tracks",
    "save_strokes",
    "save_tracks",
    "tracks_from_strokes",
]
