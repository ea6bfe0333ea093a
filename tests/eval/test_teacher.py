"""The teacher as a subject: it is told what it was trained to be told."""

from dataclasses import replace

import torch

from motionstream.eval.teacher import Teacher
from motionstream.stream.engine import load_engine


def test_points_that_begin_late_are_not_told_whatever_the_student_knows():
    engine = load_engine("tiny-debug", device="cpu", dtype="float32")
    torch.nn.init.normal_(engine.model.track_head.conv.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    first = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    xy, always = torch.full((9, 2, 2), 10.0), torch.ones(9, 2, dtype=torch.bool)
    late, never = always.clone(), torch.zeros_like(always)
    late[0] = False
    for known in (True, False):
        sample = replace(engine.preset.sample, late_codes=known, teacher_steps=2)
        engine.preset = replace(engine.preset, sample=sample)
        teacher = Teacher(engine.model, engine)
        told, begun_late, nothing = (teacher.video(first, xy, visible, "", 0) for visible in (always, late, never))
        assert torch.equal(begun_late, nothing)
        assert not torch.equal(told, nothing)
