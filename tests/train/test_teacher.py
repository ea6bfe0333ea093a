"""The teacher's stage: pairs first, and weights that were trained with other track codes."""

from dataclasses import replace

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.random_parts import random_planes
from motionstream.train.loop import LoopConfig
from motionstream.train.teacher import TeacherStage, TeacherTrainConfig


def stage(preset=None, **settings) -> TeacherStage:
    preset = preset or tiny_debug()
    vae = NanoVAE(preset.vae)
    vae.fit_linear(random_planes(preset, 500))
    config = TeacherTrainConfig(**{"loop": LoopConfig(steps=10), "batch": 2, "compile": False, "gap_steps": 0} | settings)
    return TeacherStage(preset, config, vae, choose_compute("cpu", "float32"))


def test_pairs_come_first_and_clips_after_them():
    made = stage(pairs_until=0.3, pair_batch=5, num_frames=13, long_frames=33, long_from=1.0)
    frames = [tuple(made.batch_at(step).latents.shape[:2]) for step in range(5)]
    assert frames == [(5, 2)] * 3 + [(2, 4)] * 2
    assert made.train_step(0)["loss"] > 0


def test_weights_of_other_codes_are_taken_without_what_reads_them(tmp_path):
    preset = tiny_debug()
    other = replace(preset, model=replace(preset.model, tracks=replace(preset.model.tracks, code_dim=6)))
    before = WanDiT(other.model)
    init_from_scratch(before, seed=9)
    save_weights(tmp_path / "teacher.safetensors", before, dtype=torch.float32)
    made = stage(init=str(tmp_path), recode=True)
    assert torch.equal(made.model.blocks[1].ffn[0].weight, before.blocks[1].ffn[0].weight)
    assert not torch.equal(made.model.blocks[0].self_attn.q.weight, before.blocks[0].self_attn.q.weight)
    with pytest.raises(ValueError, match="track_head"):
        stage(init=str(tmp_path))


@pytest.mark.parametrize("name", ["num_frames", "long_frames"])
def test_clips_of_the_picture_alone_are_refused(name):
    """There is nothing to learn of them, and no gap to measure."""
    with pytest.raises(ValueError, match="num_frames=1 is the picture alone: use at least 5"):
        stage(**{name: 1})


def test_a_missing_teacher_to_start_from_is_named(tmp_path):
    for recode in (False, True):
        with pytest.raises(ValueError, match="does not exist"):
            stage(init=str(tmp_path / "nowhere"), recode=recode)
