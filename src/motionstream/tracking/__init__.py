"""From video to tracks: pluggable point trackers, offline, streaming, and kept alive for ever (paper section 1.2)."""

from motionstream.tracking.points import TrackWindow, track_points, track_windows
from motionstream.tracking.queries import grid_queries, queries_of_tracks, read_mask, read_queries
from motionstream.tracking.tracker import TRACKERS, PointTracker, Seen, make_tracker

__all__ = [
    "TRACKERS",
    "PointTracker",
    "Seen",
    "TrackWindow",
    "grid_queries",
    "make_tracker",
    "queries_of_tracks",
    "read_mask",
    "read_queries",
    "track_points",
    "track_windows",
]
