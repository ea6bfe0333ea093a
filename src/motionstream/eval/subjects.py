"""What can be measured on a clip: the student, the teacher, and the controls that say what a number means."""

from __future__ import annotations

import numpy as np
import torch

from motionstream.eval.cases import VideoCase
from motionstream.eval.quality import to_frames, to_tensor
from motionstream.eval.teacher import Teacher
from motionstream.stream.engine import StreamEngine, generate
from motionstream.tracks.tracks import Tracks


def student_video(engine: StreamEngine, case: VideoCase, tracks: Tracks, seed: int) -> np.ndarray:
    """Frames ``(T, H, W, 3)`` uint8 that the student streams for ``tracks``."""
    return generate(engine, case.first_frame, case.prompt, tracks, num_frames=case.tracks.num_frames, seed=seed)


def teacher_video(teacher: Teacher, case: VideoCase, seed: int) -> np.ndarray:
    """Frames ``(T, H, W, 3)`` uint8 that the teacher makes of the case's own tracks."""
    first = to_tensor(case.first_frame[None])[0]
    return to_frames(teacher.video(first, case.tracks.xy[0], case.tracks.visible[0], case.prompt, seed))


def no_tracks(case: VideoCase) -> Tracks:
    """The control without motion."""
    tracks = case.tracks
    return Tracks.empty(num_frames=tracks.num_frames, size=tracks.size, fps=tracks.fps)


def static_video(case: VideoCase) -> np.ndarray:
    """The control that copies the picture."""
    return np.repeat(case.first_frame[None], case.tracks.num_frames, axis=0)


@torch.no_grad()
def through_vae(engine: StreamEngine, truth: np.ndarray) -> np.ndarray:
    """The true video encoded and decoded: what the model could deliver at best."""
    video = to_tensor(truth)[None].to(engine.compute.device)
    return to_frames(engine.vae.decode(engine.vae.encode(video))[0][0])
