"""Settings that mean nothing are refused where a stage is asked for, with their name and value."""

import math

import pytest

from motionstream.train.causal_init import CausalInitConfig
from motionstream.train.check import MOST_SEED
from motionstream.train.distill import DistillConfig
from motionstream.train.ode_pairs import OdePairsConfig
from motionstream.train.rechunk import RechunkConfig
from motionstream.train.teacher import TeacherTrainConfig
from motionstream.train.vae import VAETrainConfig

KINDS = (VAETrainConfig, TeacherTrainConfig, OdePairsConfig, CausalInitConfig, DistillConfig, RechunkConfig)


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_checks_its_settings(kind):
    for name, value in (("batch", 0), ("num_frames", 0), ("seed", -1), ("seed", MOST_SEED + 1)):
        with pytest.raises(ValueError, match=f"^{name}={value} must be at"):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (TeacherTrainConfig, {"p_mask_chunk": 1.5}, r"p_mask_chunk=1\.5 must lie in \[0, 1\]"),
        (TeacherTrainConfig, {"long_from": -1.0}, r"long_from=-1\.0 must lie in \[0, 1\]"),
        (TeacherTrainConfig, {"lr": math.nan}, "lr=nan must be at least 0"),
        (TeacherTrainConfig, {"sigma_mean": math.inf}, "sigma_mean=inf must be a finite number"),
        (TeacherTrainConfig, {"tracks_per_object": (5,)}, r"tracks_per_object=\[5\] must be two whole numbers from 1 on"),
        (TeacherTrainConfig, {"gap_steps": -1}, "gap_steps=-1 must be at least 0"),
        (TeacherTrainConfig, {"recode": True}, "recode=true needs init=DIR"),
        (VAETrainConfig, {"fit_clips": 0}, "fit_clips=0 must be at least 1"),
        (OdePairsConfig, {"steps": 4, "states": 5}, "states=5 must be at most steps=4"),
        (CausalInitConfig, {"past_chunks": -1}, "past_chunks=-1 must be at least 0"),
        (CausalInitConfig, {"camera_tracks": (0, 9)}, r"camera_tracks=\[0,9\] must be two whole numbers from 1 on"),
        (
            CausalInitConfig,
            {"camera_tracks": (9, 4)},
            r"camera_tracks=\[9,4\] must be two whole numbers .* smaller one first",
        ),
        (DistillConfig, {"clip": 0.0}, r"clip=0\.0 must be above 0"),
        (DistillConfig, {"text_guidance": math.nan}, "text_guidance=nan must be at least 0"),
        (DistillConfig, {"text_guidance": 0.0, "motion_guidance": 0.0}, "guide nothing: use 1 and 0"),
        (RechunkConfig, {"p_spill": -0.1}, r"p_spill=-0\.1 must lie in \[0, 1\]"),
        (RechunkConfig, {"truth": True, "grab_cache": "c1s1w1"}, "grab_cache=c1s1w1 is of a guide, and truth=true has none"),
    ],
)
def test_what_means_nothing_is_refused(kind, settings, said):
    with pytest.raises(ValueError, match=said):
        kind(**settings)


def test_ends_of_what_is_allowed_are_allowed():
    for kind in KINDS:
        kind()
        kind(seed=MOST_SEED)
    TeacherTrainConfig(warmup=0, gap_steps=0, lr=0.0, sigma_mean=-1.0, p_mask_chunk=1.0, dense_until=1.0, pairs_until=0.0)
    CausalInitConfig(past_chunks=0, camera_tracks=(1, 1), context_noise=0.0)
    DistillConfig(critic_warmup=0, text_guidance=0.0, weight_decay=0.0)
