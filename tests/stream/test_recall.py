"""Streams that recall the picture: the frames are those of the module, from the very tracks that the model is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from motionstream.config import to_json
from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.models.init import init_from_scratch
from motionstream.models.load import save_weights
from motionstream.models.recall import PictureRecall, tell_picture
from motionstream.models.vae import NanoVAE
from motionstream.presets import tiny_debug
from motionstream.stream.engine import StreamEngine, load_engine
from motionstream.stream.points import Point
from motionstream.stream.random_parts import random_planes


@pytest.fixture(scope="module")
def recall() -> PictureRecall:
    torch.manual_seed(1)
    made = PictureRecall(tiny_debug().vae.width_out)
    for layer in (made.lift, made.shift, made.shares, made.correct):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return made


@pytest.fixture(scope="module")
def engines(recall) -> tuple[StreamEngine, StreamEngine]:
    """With and without, of one model whose ids say where a track begins."""
    preset = tiny_debug()
    tracks = replace(preset.model.tracks, code="origin", code_dim=22)
    preset = replace(preset, model=replace(preset.model, tracks=tracks))
    model, vae = WanDiT(preset.model, preset.geometry.t_stride), NanoVAE(preset.vae)
    init_from_scratch(model)
    torch.nn.init.normal_(model.head.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    vae.fit_linear(random_planes(preset, 500))
    compute = choose_compute("cpu", "float32")
    return StreamEngine(preset, model, vae, compute, recall=recall), StreamEngine(preset, model, vae, compute)


@pytest.fixture
def still() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def hand(chunk: int) -> list[Point]:
    return [Point(0, 20.0 + 3 * chunk, 16.0), Point(1, 24.0 + 3 * chunk, 16.0)]


def stream(session, chunks: int, start: int = 0) -> list[np.ndarray]:
    made = []
    for chunk in range(start, start + chunks):
        count = session.frames_in_chunk(session.index)
        made.append(session.step_frames([hand(chunk)] * count).frames.copy())
    return made


@torch.no_grad()
def test_frames_are_those_of_the_latents_the_picture_and_the_tracks_that_the_model_is_told(engines, recall, still):
    engine, plain = engines
    picture = torch.from_numpy(still).permute(2, 0, 1)[None].float() / 255
    told, state = [], None
    with engine.start(still, "a ball") as session, plain.start(still, "a ball") as other:
        chunk_of = session.buffer.chunk

        def record(frames, **options):
            told.append(chunk_of(frames, **options))
            return told[-1]

        session.buffer.chunk = record
        for index in range(4):
            (shown,), (decoded,) = stream(session, 1, index), stream(other, 1, index)
            assert torch.equal(session.latents, other.latents), "it has no say in what the model makes"
            video, features, state = engine.vae.decode_half(session.latents, state)
            given, ways, cues = tell_picture(picture, *told[index])
            assert cues[:, 0].max() > 0.5
            wanted = recall(video[0], features[0], given, ways, cues).mul(255).permute(0, 2, 3, 1).clamp(0, 255).numpy()
            skipped = 1 if index == 0 else 0
            assert np.abs(shown[skipped:] - wanted[skipped:]).max() < 0.51
            assert np.abs(shown[skipped:].astype(int) - decoded[skipped:]).max() > 20, (
                "it must show for this to mean anything"
            )


def test_a_stream_begins_with_the_picture_itself(engines, still):
    engine, plain = engines
    with engine.start(still, "") as session, plain.start(still, "") as other:
        assert np.array_equal(session.step().frames[0], still)
        assert not np.array_equal(other.step().frames[0], still)
        assert not np.array_equal(session.step().frames[0], still)
        session.reset()
        assert np.array_equal(session.step().frames[0], still)


def test_a_branch_goes_on_as_the_stream_did(engines, still):
    with engines[0].start(still, "") as session:
        stream(session, 3)
        state = session.snapshot()
        went_on = stream(session, 2, start=3)
        session.restore(state)
        assert all(np.array_equal(a, b) for a, b in zip(went_on, stream(session, 2, start=3), strict=True))


@pytest.fixture
def folder(engines, recall, tmp_path):
    engine = engines[0]
    (tmp_path / "config.json").write_text(to_json(engine.preset))
    for name, part in (("student", engine.model), ("vae", engine.vae), ("recall", recall)):
        save_weights(tmp_path / f"{name}.safetensors", part, dtype=torch.float32)
    return tmp_path


def test_it_is_used_where_the_folder_has_it_and_nobody_says_no(engines, folder, still):
    engine = load_engine(folder, device="cpu", dtype="float32")
    assert engine.num_parameters()["recall"] > 0
    with engine.start(still, "") as session, engines[0].start(still, "") as known:
        assert all(np.array_equal(a, b) for a, b in zip(stream(session, 2), stream(known, 2), strict=True))
    assert load_engine(folder, device="cpu", recall=False).recall is None
    (folder / "recall.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"recall\.safetensors is damaged"):
        load_engine(folder, device="cpu")
    (folder / "recall.safetensors").unlink()
    assert load_engine(folder, device="cpu").recall is None
