"""Pairs of a picture and a later latent frame: of which frames they are, and what is said of them."""

import pytest
import torch

from motionstream.data.conditions import ConditionConfig, training_batch
from motionstream.data.render import render
from motionstream.data.scenes import SceneConfig, captions_of, frames_of, sample_scenes
from motionstream.models.text import HashedWords
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug

PRESET = tiny_debug()
PLAIN = ConditionConfig(p_anchor=0.0, p_hide_resting=0.0, p_drop_motion=0.0, p_drop_text=0.0, max_tracks=10_000)


@pytest.mark.parametrize("num_frames", [6, 33])
def test_a_pair_ends_with_any_frame_and_is_told_as_it_is_shown(num_frames):
    vae, words = NanoVAE(PRESET.vae).eval(), HashedWords(PRESET.model.text_dim, PRESET.model.text_len)
    chances = {"p_static": 0.0, "p_camera": 1.0, "p_late": 0.0, "p_early": 0.0}
    scene, ends = SceneConfig.of(PRESET.geometry, num_frames, **chances), set()
    for seed in range(8):
        pair = training_batch(3, PRESET, vae, scene, PLAIN, seed, torch.device("cpu"), pairs=True)
        scenes = sample_scenes(3, scene, look_seed=seed, motion_seed=seed)
        whole = render(scenes, point_seed=seed).xy.mean(2)
        plans = [torch.tensor([0, *range(last - 3, last + 1)]) for last in range(4, num_frames)]
        [plan] = [plan for plan in plans if torch.allclose(whole[:, plan], pair.xy.mean(2), atol=1e-3)]
        assert torch.equal(pair.text, words(captions_of(frames_of(scenes, plan))))
        ends.add(int(plan[-1]))
    assert ends == {4, 5} if num_frames == 6 else len(ends) > 4
