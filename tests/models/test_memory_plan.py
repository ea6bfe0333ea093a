"""Predictions against the program's real steps on a processor, and numbers of foreign models against their libraries."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.fused import FusedDiT
from motionstream.models.load import save_weights
from motionstream.models.memory_plan import (
    CLIP_H_PARAMETERS,
    UMT5_XXL_PARAMETERS,
    WAN_VAES,
    MemoryOptions,
    MemoryPlan,
    plan_memory,
)
from motionstream.models.memory_rehearsal import rehearse_denoise, rehearse_encode, rehearse_teacher
from motionstream.models.memory_trace import MemoryTrace, made_in, rehearsal
from motionstream.models.vae import NanoVAE
from motionstream.nn.fp8 import FP8_PRODUCTS, Fp8Product
from motionstream.presets import preset
from motionstream.stream.compute_path import ComputePath
from motionstream.stream.engine import StreamEngine
from motionstream.stream.points import Point
from motionstream.train.distill import DistillConfig, DistillStage
from motionstream.train.teacher import TeacherStage, TeacherTrainConfig, condition_of, flow_loss


def bytes_of(tensors) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def working(plan: MemoryPlan) -> int:
    """Bytes that a step takes beside what is held all the time, gradients included."""
    return plan.peak - sum(held for name, held in plan.parts.items() if name not in ("gradients", "activations"))


def tensors_in(state) -> list[torch.Tensor]:
    return [
        value for group in state for values in group.state.values() for value in values.values() if torch.is_tensor(value)
    ]


# ---------------------------------------------------------------------- measured on a processor


@pytest.mark.parametrize(("name", "within"), [("tiny-debug", 0.15), ("nano", 0.03)])
def test_stream(name: str, within: float):
    config, compute = preset(name), choose_compute("cpu", "float32")
    engine = StreamEngine(
        config,
        WanDiT(config.model, config.geometry.t_stride),
        NanoVAE(config.vae),
        compute,
        path=ComputePath(attention="sdpa"),
    )
    plan = plan_memory(config, "stream", options=MemoryOptions(compute="float32"))
    session = engine.start(np.zeros((config.geometry.height, config.geometry.width, 3), np.uint8))
    for _ in range(3):
        session.step()
    cache, table = session.cache, session.cache.tables.tables
    assert plan.parts["dit"] == bytes_of(engine.model.state_dict().values())
    assert plan.parts["vae"] == bytes_of(engine.vae.state_dict().values())
    assert plan.parts["cache"] == cache.nbytes
    assert plan.parts["prompt_keys"] == bytes_of(t for pair in session._text for t in pair)
    assert plan.parts["decoder_state"] == bytes_of(session._decoder)
    session.settle()
    session.push([Point(n, 10.0, 10.0) for n in range(4)])
    angles = [t for entry in table for t in (entry.cos, entry.sin)]
    texts = [t for pair in session._text for t in pair]
    known = [cache.keys, cache.raw_keys, cache.values, session.first_latent, *texts, *angles, *session._decoder]
    with MemoryTrace() as trace:
        trace.ignore(engine.model, engine.vae, *known)
        session.step()
    assert trace.peak == pytest.approx(plan.parts["activations"], rel=within)
    with MemoryTrace() as encoding, torch.inference_mode():
        encoding.ignore(engine.vae)
        engine.vae.encode(torch.zeros(1, 1, 3, config.geometry.height, config.geometry.width))
    assert encoding.peak == pytest.approx(rehearse_encode(config, 1, 1), rel=within)


@pytest.mark.parametrize(("name", "dtype"), [("tiny-debug", "float32"), ("tiny-debug", "bfloat16"), ("nano", "float32")])
def test_teacher(name: str, dtype: str):
    config, compute = preset(name), choose_compute("cpu", dtype)
    stage = TeacherStage(
        config, TeacherTrainConfig(batch=2, num_frames=9, compile=False, gap_steps=0), NanoVAE(config.vae), compute
    )
    batch = stage.batch_at(0)
    stage.batch_at = lambda step: batch  # type: ignore[method-assign]
    stage.train_step(0)
    plan = plan_memory(config, "teacher", options=MemoryOptions(compute=dtype, batch=2), num_frames=9)
    moments = tensors_in(stage.optimizer.optimizers)
    assert plan.parts["dit"] == plan.parts["gradients"] == bytes_of(stage.model.parameters())
    assert plan.parts["average"] == bytes_of(stage.ema.shadow.values())
    assert plan.parts["optimiser"] == pytest.approx(bytes_of(moments), rel=2e-3)  # step counters are left out
    with MemoryTrace() as trace:
        trace.ignore(stage.model, stage.vae, *moments, *stage.ema.shadow.values(), *vars(batch).values())
        stage.train_step(1)
    assert trace.peak == pytest.approx(working(plan), rel=0.06 if name == "tiny-debug" else 0.01)


def test_activations_are_what_autograd_saves():
    """Another way of measuring: torch's own hook on every tensor that the backward pass will need."""
    config, compute = preset("tiny-debug"), choose_compute("cpu", "float32")
    stage = TeacherStage(
        config, TeacherTrainConfig(batch=2, num_frames=33, compile=False, gap_steps=0), NanoVAE(config.vae), compute
    )
    batch = stage.batch_at(0)
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        condition = condition_of(stage.model, config, batch)
        loss = flow_loss(stage.model, batch, condition, torch.randn_like(batch.latents), torch.full((2, 1), 0.5), 3.0)
    for weight in stage.model.parameters():
        saved.pop(weight.untyped_storage().data_ptr(), None)
    plan = plan_memory(config, "teacher", options=MemoryOptions(compute="float32", batch=2), num_frames=33)
    # Beside saved tensors the forward pass leaves the condition and its last results.
    assert sum(saved.values()) == pytest.approx(plan.parts["activations"], rel=0.05)
    assert loss.requires_grad


@pytest.mark.parametrize(("name", "within"), [("tiny-debug", 0.2), pytest.param("nano", 0.04, marks=pytest.mark.slow)])
def test_distill(name: str, within: float, tmp_path):
    config, compute = preset(name), choose_compute("cpu", "float32")
    weights = tmp_path / "w.safetensors"
    save_weights(weights, WanDiT(config.model, config.geometry.t_stride))
    stage = DistillStage(config, DistillConfig(batch=1, num_frames=21), NanoVAE(config.vae), weights, weights, compute)
    made = stage.batch_at(0, 1)
    stage.batch_at = lambda step, role: made  # type: ignore[method-assign]
    stage.critic_step(0)
    stage.student_step(0)
    options = MemoryOptions(compute="float32")
    plan = plan_memory(config, "distill", options=options, num_frames=21)
    moments = tensors_in([*stage.optimizer.optimizers, *stage.critic_optimizer.optimizers])
    assert plan.parts["optimiser"] == pytest.approx(bytes_of(moments), rel=2e-3)
    held = sum(plan.parts[part] for part in ("dit", "real_score", "fake_score"))
    assert held == bytes_of(p for model in (stage.student, stage.real, stage.fake) for p in model.parameters())
    peaks = []
    for step in (stage.critic_step, stage.student_step):
        with MemoryTrace() as trace:
            known = [*moments, *stage.ema.shadow.values(), *vars(made[0]).values()]
            trace.ignore(stage.student, stage.real, stage.fake, stage.vae, *known)
            step(1)
        peaks.append(trace.peak)
    assert max(peaks) == pytest.approx(working(plan), rel=within)


# ---------------------------------------------------------------------- rehearsals


def test_depth_is_a_straight_line(monkeypatch):
    config = replace(preset("tiny-debug"), model=replace(preset("tiny-debug").model, num_layers=3))
    runs = [
        lambda: rehearse_denoise.__wrapped__(config, torch.float32, torch.bfloat16),
        lambda: rehearse_teacher.__wrapped__(config, 9, 2, torch.bfloat16, False),
        lambda: rehearse_teacher.__wrapped__(config, 9, 2, torch.bfloat16, True),
        lambda: rehearse_teacher.__wrapped__(config, 9, 2, torch.bfloat16, True, True),
    ]
    continued = [run() for run in runs]
    monkeypatch.setattr("motionstream.models.memory_rehearsal.FEW", (3, 4))
    for line, true in zip(continued, [run() for run in runs], strict=True):
        assert line.saved == true.saved
        assert line.peak == pytest.approx(true.peak, rel=0.02)  # a maximum of straight lines; exact for the larger presets


def test_what_options_change():
    config = replace(preset("nano"), model=replace(preset("nano").model, num_layers=2), clip_frames=21)
    plain = plan_memory(config, "teacher", gpus=4)
    sharded = plan_memory(config, "teacher", gpus=4, options=MemoryOptions(sharded=True))
    for part in ("dit", "gradients", "optimiser", "average"):
        assert sharded.parts[part] == -(-plain.parts[part] // 4)
    assert sharded.parts["activations"] == plain.parts["activations"]
    # What sharding saves is three quarters of what is held, at least; of the gradients only what was there at the peak.
    held = sum(plain.parts[part] - sharded.parts[part] for part in ("dit", "optimiser", "average"))
    assert held - sharded.parts["gathered_blocks"] - sharded.parts["gradients"] <= plain.peak - sharded.peak
    assert plain.peak - sharded.peak <= held + plain.parts["gradients"]
    recomputed = plan_memory(config, "teacher", options=MemoryOptions(checkpointing=True))
    assert recomputed.parts["activations"] < 0.5 * plain.parts["activations"]
    assert recomputed.peak < 0.8 * plain.peak
    twice = plan_memory(config, "teacher", options=MemoryOptions(batch=2))
    assert twice.parts["activations"] == pytest.approx(2 * plain.parts["activations"], rel=0.1)
    assert plan_memory(preset("tiny-debug"), "distill", num_frames=13).num_frames == 9  # whole chunks: 3 of 4 latent frames
    low = plan_memory(config, "stream", options=MemoryOptions(weights="bfloat16"))
    full = plan_memory(config, "stream")
    assert 2 * low.parts["dit"] == full.parts["dit"]
    assert plain.total > plain.peak > 0


def test_bad_input():
    config = preset("tiny-debug")
    with pytest.raises(ValueError, match="purpose 'play' is unknown: use stream, teacher, distill"):
        plan_memory(config, "play")
    with pytest.raises(ValueError, match="a stream runs on one GPU"):
        plan_memory(config, "stream", gpus=2)
    with pytest.raises(ValueError, match="gpus=0"):
        plan_memory(config, "teacher", gpus=0)
    with pytest.raises(ValueError, match=r"use 9 or 13"):
        plan_memory(config, "teacher", num_frames=10)


# ---------------------------------------------------------------------- Wan


def test_wan_stream():
    config = preset("wan2.1-1.3b")
    plan = plan_memory(config, "stream", options=MemoryOptions(weights="bfloat16", encoders="gpu"))
    assert plan.parts["cache"] == 9 * 1560 * 1536 * 30 * 3 * 2  # 9 latent frames; keys, keys before rotation, values
    assert plan.parts["prompt_keys"] == 2 * 30 * (512 + 257) * 1536 * 2
    assert plan.parts["text_encoder"] == 2 * UMT5_XXL_PARAMETERS
    assert plan.parts["picture_encoder"] == 2 * CLIP_H_PARAMETERS
    tiny = plan_memory(config, "stream", options=MemoryOptions(weights="bfloat16", decoder="tiny"))
    assert tiny.parts["decoder_state"] < 0.05 * plan.parts["decoder_state"]
    assert tiny.parts["activations"] < plan.parts["activations"]
    assert "text_encoder" in tiny.host


@pytest.mark.parametrize(
    ("kind", "dtype"), [("wan2.1", torch.float32), ("wan2.1", torch.bfloat16), ("wan2.2", torch.bfloat16)]
)
def test_wan_autoencoder_facts(kind: str, dtype: torch.dtype):
    """Bytes per pixel, rehearsed with diffusers' model at another size."""
    pytest.importorskip("diffusers")
    from motionstream.models.wan_vae import WAN21_FORM, WAN22_FORM, build_wan_vae

    facts, low, pixels = WAN_VAES[kind], int(dtype == torch.bfloat16), 192 * 160
    with rehearsal() as trace:
        vae = made_in(dtype, lambda: build_wan_vae(**(WAN21_FORM if kind == "wan2.1" else WAN22_FORM)))
        vae._statistics = torch.zeros(2, vae.latent_channels)
        parts = (vae.autoencoder.decoder, vae.autoencoder.post_quant_conv)
        assert sum(p.numel() for part in parts for p in part.parameters()) == facts.decoder
        assert sum(p.numel() for p in vae.parameters()) == facts.encoder + facts.decoder
        trace.ignore(vae)
        with torch.inference_mode():
            latents = torch.empty(1, 3, vae.latent_channels, 192 // vae.stride, 160 // vae.stride)
            _, state = vae.decode(latents)
            assert bytes_of(state) == pytest.approx(facts.state * pixels * dtype.itemsize / 4, rel=0.01)
            before = trace.restart()
            vae.decode(latents, state)
            assert trace.peak - before == pytest.approx(facts.decode[low] * pixels, rel=0.02)
            before = trace.restart()
            vae.encode(torch.empty(1, 5, 3, 192, 160))
            assert trace.peak - before == pytest.approx(facts.encode[low] * pixels, rel=0.02)


def test_encoder_counts():
    transformers = pytest.importorskip("transformers")
    text = transformers.UMT5Config(
        vocab_size=256_384, d_model=4096, d_kv=64, d_ff=10_240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
    )
    picture = transformers.CLIPVisionConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, image_size=224, patch_size=14
    )
    with torch.device("meta"):
        towers = transformers.UMT5EncoderModel(text), transformers.CLIPVisionModel(picture)
    counts = [sum(p.numel() for p in tower.parameters()) for tower in towers]
    assert counts == [UMT5_XXL_PARAMETERS, CLIP_H_PARAMETERS]


@pytest.mark.parametrize("name", ["tiny-debug", "nano"])
def test_products_in_fp8_are_held_beside_the_others(name: str):
    config = preset(name)
    fused = FusedDiT(WanDiT(config.model, config.geometry.t_stride), torch.bfloat16)
    held = 0
    for block in fused.blocks:
        for part in FP8_PRODUCTS:
            product = Fp8Product.of(getattr(block, part))
            held += bytes_of((product.weight, product.sizes))
    plans = [plan_memory(config, "stream", options=MemoryOptions(fp8=fp8)) for fp8 in (True, False)]
    assert plans[0].parts["fp8_products"] == plans[0].peak - plans[1].peak == held
    assert plans[1].parts["fp8_products"] == 0


@pytest.mark.parametrize(("compute", "weights"), [("float16", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")])
def test_products_of_another_type_than_the_weights_are_held_twice(compute: str, weights: str):
    config = preset("tiny-debug")
    model = WanDiT(config.model, config.geometry.t_stride).to(getattr(torch, weights))
    fused = FusedDiT(model, getattr(torch, compute))
    own = {value.untyped_storage().data_ptr() for value in model.parameters()}
    products = ("qkv", "out", "cross_q", "cross_out", "widen", "narrow")
    held = [getattr(block, name).weight for block in fused.blocks for name in products]
    extra = bytes_of(weight for weight in held if weight.untyped_storage().data_ptr() not in own)
    plan = plan_memory(config, "stream", options=MemoryOptions(compute=compute, weights=weights))
    assert plan.parts["cast_products"] == extra
