"""Configurations: frozen, the same after JSON, and strict about every key and type."""

import dataclasses
import json

import pytest

from motionstream.config import (
    CacheConfig,
    ModelConfig,
    PresetConfig,
    SampleConfig,
    TrackConfig,
    from_dict,
    to_dict,
    to_json,
    with_overrides,
)
from motionstream.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    made = preset(name)
    assert made.name == name
    assert from_dict(PresetConfig, json.loads(to_json(made))) == made
    assert made.model.latent_channels == made.vae.latent_channels
    assert made.geometry.stride == made.vae.stride
    assert made.geometry.t_stride == made.vae.t_stride
    assert made.geometry.patch == made.model.patch


def test_unknown_presets_list_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown preset 'mega': use one of nano, tiny-debug"):
        preset("mega")


@pytest.mark.parametrize("kind", [CacheConfig, ModelConfig, SampleConfig, TrackConfig])
def test_configs_are_frozen_and_keyword_only(kind):
    with pytest.raises(TypeError):
        kind(3)
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), name, 1)


def test_overrides_reach_any_depth():
    made = with_overrides(
        preset("nano"),
        [
            "model.dim=128",
            "model.tracks.splat=nearest",
            "sample.student_sigmas=[1.0, 0.5]",
            "geometry.fps=24",
            "name=mine",
        ],
    )
    assert made.model.dim == 128
    assert made.model.tracks.splat == "nearest"
    assert made.sample.student_sigmas == (1.0, 0.5)
    assert made.geometry.fps == 24.0
    assert isinstance(made.geometry.fps, float)
    assert made.name == "mine"
    assert made.model.num_layers == preset("nano").model.num_layers
    assert with_overrides(made, []) == made


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.dims=3", "unknown key 'model.dims' .*known keys: .*dim"),
        ("modle.dim=3", "unknown key 'modle.dim'"),
        ("model.dim.x=3", "unknown key 'model.dim.x'"),
        ("=3", "unknown key ''"),
        ("model.dim", "must look like key=value"),
        ("model.dim=wide", "ModelConfig.dim='wide' must be a whole number"),
        ("model.dim=3.5", "must be a whole number"),
        ("model.dim=true", "must be a whole number"),
        ("model.dim=null", "must be a whole number"),
        ("model.tracks=3", "TrackConfig needs an object"),
        ("model.tracks.code=morse", "must be one of 'sinusoid', 'gaussian'"),
        ("model.tracks.head_bias=1", "must be true or false"),
        ("sample.student_sigmas=1", "must be a list"),
        ("sample.student_sigmas=[1, 'a']", "must be a list"),
        ("model.num_heads=7", "must be a multiple of num_heads=7"),
        ("geometry.height=97", "height=97 must be a positive multiple"),
        ("geometry.height=80000", "at most 65536"),
        ("geometry.fps=1" + 400 * "0", "VideoGeometry.fps=1000.* must be a number"),
        ("model.num_heads=0", "num_heads=0 must be a whole number from 1 to"),
        ("model.dim=-256", "dim=-256 must be a whole number from 1 to"),
        ("model.mask_channels=0", "mask_channels=0 must be a whole number from 1 to"),
        ("model.image_dim=-1", "image_dim=-1 must be a whole number from 0 to"),
        ("model.eps=0", "eps=0.0 must be a finite number above 0"),
        ("model.tracks.channels=-1", "channels=-1 must be"),
        ("model.tracks.max_period=NaN", "max_period=nan must be"),
        ("vae.width=0", "width=0 must be"),
        ("cache.window_chunks=1000000000000", "window_chunks in 0 to 999"),
        ("sample.student_sigmas=[NaN]", "must descend strictly"),
        ("sample.hand_px=-1", "hand_px=-1.0 must be a finite number of at least 0"),
        ("sample.motion_guidance=Infinity", "motion_guidance=inf must be a finite number$"),
        ("clip_frames=32", "32 frames do not fit the latent grid"),
        ("more_sizes=[[96]]", "must be pairs of height and width"),
    ],
)
def test_wrong_overrides_are_refused_in_one_sentence(override, words):
    with pytest.raises(ValueError, match=words) as error:
        with_overrides(preset("nano"), [override])
    assert "\n" not in str(error.value)


def test_unknown_keys_are_refused_at_every_depth():
    values = to_dict(preset("nano"))
    values["model"]["tracks"]["colour"] = "red"
    with pytest.raises(ValueError, match="unknown key 'colour' for TrackConfig"):
        from_dict(PresetConfig, values)


def test_cache_tags_and_slots():
    assert CacheConfig().tag == "c3s1w1"
    assert CacheConfig(chunk_frames=2, sink_chunks=0, window_chunks=3).tag == "c2s0w3"
    assert CacheConfig(chunk_frames=2, sink_chunks=0, window_chunks=3).slots == 8
    for wrong in ({"chunk_frames": 0}, {"sink_chunks": -1}, {"window_chunks": -1}):
        with pytest.raises(ValueError, match="is invalid"):
            CacheConfig(**wrong)


@pytest.mark.parametrize("sigmas", [(), (1.1, 0.5), (0.5, 0.5), (0.5, 0.7), (1.0, 0.0), (1.0, -0.1)])
def test_student_levels_must_descend(sigmas):
    with pytest.raises(ValueError, match="must descend strictly"):
        SampleConfig(student_sigmas=sigmas)


@pytest.mark.parametrize(("first_frame", "channels"), [("none", 0), ("clean", 0), ("concat", 20), ("repeat", 33)])
def test_input_channels_add_up(first_frame, channels):
    made = ModelConfig(first_frame=first_frame, tracks=TrackConfig(channels=5))
    assert made.image_channels == channels
    assert made.in_channels == 16 + channels + 5


def test_files_from_before_a_setting_existed_still_load():
    values = to_dict(preset("nano"))
    for key in ("vae_kind", "text_kind", "clip_frames"):
        del values[key]
    for key in ("mask_channels", "after_picture", "image_dim", "time_precision"):
        del values["model"][key]
    assert from_dict(PresetConfig, values) == preset("nano")


def test_models_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="must be even"):
        ModelConfig(dim=15, num_heads=5)
    with pytest.raises(ValueError, match="repeat"):
        ModelConfig(prediction="x0", first_frame="concat")


def test_another_size_moves_what_is_given_in_pixels():
    one = preset("nano")
    assert one.sized(one.geometry.height, one.geometry.width) is one
    small = one.sized(96, 128)
    assert (small.geometry.height, small.geometry.width) == (96, 128)
    assert small.sample.hand_px == pytest.approx(one.sample.hand_px * 128 / one.geometry.width)
    assert small.more_sizes == ()
    assert dataclasses.replace(small, geometry=one.geometry, sample=one.sample, more_sizes=one.more_sizes) == one
    with pytest.raises(ValueError, match="width=130 must be a positive multiple of 8"):
        one.sized(96, 130)
