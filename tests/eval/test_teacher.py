"""The teacher as a subject: it is told no more than the student beside it."""

from dataclasses import replace

import torch

from motionstream.eval.teacher import Teacher
from motionstream.stream.engine import load_engine


def test_points_that_begin_late_are_told_only_to_models_that_know_such():
    engine = load_engine("tiny-debug", device="cpu", dtype="float32")
    torch.nn.init.normal_(engine.model.track_head.conv.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    first = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    xy, late = torch.full((9, 2, 2), 10.0), torch.ones(9, 2, dtype=torch.bool)
    late[0] = False
    for known in (True, False):
        sample = replace(engine.preset.sample, late_codes=known, teacher_steps=2)
        engine.preset = replace(engine.preset, sample=sample)
        teacher = Teacher(engine.model, engine)
        told, nothing = (teacher.video(first, xy, visible, "", 0) for visible in (late, torch.zeros_like(late)))
        assert torch.equal(told, nothing) is not known
