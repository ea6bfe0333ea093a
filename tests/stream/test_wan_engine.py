"""The engine with Wan's forms, from files to frames: small random models in folders laid out as people have them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motionstream.causal.rollout import rollout
from motionstream.models.dit import Condition
from motionstream.models.motion import track_latents
from motionstream.models.picture import encode_picture
from motionstream.models.wan_vae_load import load_wan_vae
from motionstream.nn.kv_cache import HistoryCache
from motionstream.stream.engine import StreamEngine, generate, load_engine
from motionstream.stream.lane import Lane
from motionstream.stream.performance import Performance
from motionstream.stream.points import Point
from motionstream.stream.wan_parts import find_wan
from motionstream.tracks.tracks import Tracks

from .wan_forms import FORMS, small, write_all, write_weights

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
CHUNKS = 4


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("wan")
    for name in FORMS:
        write_all(root / name, name)
    return {name: root / name for name in FORMS}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("MOTIONSTREAM_CACHE", str(tmp_path_factory.getbasetemp() / "prompt_cache"))


@pytest.fixture(scope="session")
def load(folders):
    known: dict[tuple, StreamEngine] = {}

    def engine(name: str, **options) -> StreamEngine:
        key = (name, *sorted(options.items()))
        if key not in known:
            known[key] = load_engine(folders[name], **({"device": "cpu", "dtype": "float32"} | options))
        return known[key]

    return engine


def picture_for(engine: StreamEngine, seed: int = 0) -> np.ndarray | None:
    geometry = engine.preset.geometry
    shape = (geometry.height, geometry.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8) if engine.takes_picture else None


def drag(engine: StreamEngine, num_frames: int) -> Tracks:
    geometry = engine.preset.geometry
    size = (geometry.height, geometry.width)
    if not engine.takes_tracks:
        return Tracks.empty(num_frames=num_frames, size=size, fps=geometry.fps)
    t = torch.arange(num_frames) / num_frames
    way = torch.stack([10 + 40 * t, 16 + 30 * t], -1)[:, None]
    return Tracks.from_points(way, size=size, fps=geometry.fps)


@pytest.mark.parametrize("decoder", ["tiny", "full"])
@pytest.mark.parametrize("name", FORMS)
def test_a_stream_makes_the_latents_of_the_training_rollout(load, monkeypatch, name: str, decoder: str):
    engine = load(name, vae=decoder)
    assert engine.decoder == decoder
    preset, picture, made, shown = engine.preset, picture_for(engine), [], []
    denoise = Lane.denoise
    monkeypatch.setattr(Lane, "denoise", lambda *a, **k: made.append(denoise(*a, **k)) or made[-1])
    num_frames = preset.geometry.pixel_frames(CHUNKS * preset.cache.chunk_frames)
    with engine.start(picture, "a red cup moves left", seed=3) as session:
        chunk_of = session.buffer.chunk
        session.buffer.chunk = lambda *a, **k: shown.append(chunk_of(*a, **k)) or shown[-1]
        frames = np.concatenate([c.frames for c in session.stream(drag(engine, num_frames))])
        noise, sigmas = session.noise, session.sigmas
    assert frames.shape == (num_frames, preset.geometry.height, preset.geometry.width, 3)

    model, first, grey, image, motion = engine.model, None, None, None, None
    with torch.no_grad():
        if picture is not None:  # Wan's own encoder, whatever decodes
            pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
            wan = load_wan_vae(Path(engine.text.folder))
            first, grey = encode_picture(preset.model, wan.encode, pixels, 4, preset.geometry.latent_frames(13))
            image = model.embed_image(engine.picture_rows(pixels)) if preset.model.image_dim else None
        if engine.takes_tracks:
            parts = [track_latents(model, preset.geometry, *t, first=n == 0) for n, t in enumerate(shown)]
            motion = torch.cat(parts, 1)
        text = model.embed_text(engine.text(["a red cup moves left"]))
        condition = Condition(first, motion, text, image, grey)
        grid = (preset.geometry.latent_height // 2, preset.geometry.latent_width // 2)
        trained = list(rollout(model, HistoryCache(preset.model, preset.cache, grid=grid), condition, noise, sigmas, CHUNKS))
        for index, (ours, wanted) in enumerate(zip(made, trained, strict=True)):
            torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5, msg=f"chunk {index}")
        whole = engine.vae.decode(torch.cat(trained, 1))[0][0].permute(0, 2, 3, 1) * 255
    assert np.abs(frames.astype(float) - whole.numpy()).max() < 0.51 + 0.05
    assert torch.cat(made, 1).std() > 0.1
    if preset.model.first_frame == "clean":
        assert torch.equal(made[0][:, :1], first)


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-1.3b-t2v", "wan2.2-5b"])
def test_everything_given_matters(load, name: str):
    engine = load(name)

    def video(prompt="a cup", seed=0, picture=0, point=None) -> np.ndarray:
        with engine.start(picture_for(engine, picture), prompt, seed=seed) as session:
            if point:
                session.push([point])
            return np.concatenate([session.step().frames for _ in range(2)])

    plain = video()
    assert np.array_equal(plain, video())
    changes = [{"prompt": "red ball"}, {"seed": 1}]
    changes += [{"picture": 1}] if engine.takes_picture else []
    changes += [{"point": Point(0, 20, 30)}] if engine.takes_tracks else []
    for change in changes:
        assert not np.array_equal(plain, video(**change)), change


def test_clip_rows_of_another_picture_change_the_stream(load, monkeypatch):
    engine = load("wan2.1-1.3b")
    picture, rows = picture_for(engine), engine.picture_rows
    with engine.start(picture) as one:
        before = one.step().frames
    monkeypatch.setattr(engine, "picture_rows", lambda image: rows(1 - image))
    with engine.start(picture) as other:
        assert not np.array_equal(before, other.step().frames)


@pytest.mark.parametrize("decoder", ["tiny", "full"])
@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-1.3b-t2v", "wan2.2-5b"])
def test_a_restored_stream_goes_on_bit_for_bit(load, name: str, decoder: str):
    engine = load(name, vae=decoder)
    with engine.start(picture_for(engine), "a cup", seed=2) as session:
        for _ in range(2):
            session.step()
        state = session.snapshot()
        first = [session.step().frames.copy() for _ in range(3)]
        session.restore(state)
        assert all(np.array_equal(session.step().frames, wanted) for wanted in first)
        assert state.nbytes() > 0


def test_a_performance_branches(load):
    engine = load("wan2.1-1.3b")
    with Performance(engine, picture_for(engine), "a cup", 0) as show:
        first = [show.step().frames.copy() for _ in range(3)]
        show.branch(1)
        assert np.array_equal(show.step().frames, first[1])


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.2-5b"])
def test_bfloat16_holds_its_weights_so_and_stays_close(load, name: str):
    low, high = load(name, dtype="bfloat16", vae="full"), load(name, vae="full")
    assert {p.dtype for p in [*low.model.parameters(), *low.vae.parameters()]} == {torch.bfloat16}
    assert {p.dtype for p in high.model.parameters()} == {torch.float32}
    frames = []
    for engine in (low, high):
        with engine.start(picture_for(engine), "a cup") as session:
            session.push([Point(0, 20, 30)])
            frames.append(np.concatenate([session.step().frames for _ in range(2)]).astype(float))
    error = np.abs(frames[0] - frames[1]).mean()
    assert 0 < error < 0.25 * np.abs(frames[1] - frames[1].mean()).mean()


def test_text_alone_takes_no_picture_and_no_points(load):
    engine = load("wan2.1-1.3b-t2v")
    with pytest.raises(ValueError, match="starts from text alone: leave the picture out"):
        engine.start(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r"first_frame is NoneType .*give uint8"):
        load("wan2.1-1.3b").start(None)
    engine.warmup(1)
    assert generate(engine, None, "a cup", drag(engine, 12)).shape == (12, 64, 64, 3)
    moving = Tracks.from_points(torch.full((9, 1, 2), 20.0), size=(64, 64), fps=16)
    with engine.start(None) as session:
        for use in (
            lambda: session.push([Point(0, 1, 1)]),
            lambda: session.step_frames([[Point(0, 1, 1)]] * 9),
            lambda: next(session.stream(moving)),
        ):
            with pytest.raises(ValueError, match="no track channels, so points cannot be moved"):
                use()
        session.push([])
        assert len(session.step().frames) == 9


def test_another_size_follows_from_the_geometry(load, folders):
    engine = load("wan2.1-1.3b", size=(48, 96))
    with engine.start(picture_for(engine)) as session:
        session.push([Point(0, 90.0, 40.0)])
        assert session.step().frames.shape == (9, 48, 96, 3)
    with pytest.raises(ValueError, match=r"height=50 must be a positive multiple of 16 \(stride x patch\)"):
        load_engine(folders["wan2.1-1.3b"], size=(50, 96))
    with pytest.raises(ValueError, match=r"width=48 must be a positive multiple of 32"):
        load_engine(folders["wan2.2-5b"], size=(64, 48))
    with pytest.raises(ValueError, match="tiny-debug makes 48x32 pixels, not"):
        load_engine("tiny-debug", size=(64, 64))


def test_sharded_weights_and_encoders_elsewhere(folders, tmp_path):
    import json

    from safetensors.torch import load_file, save_file

    whole, folder = folders["wan2.1-1.3b"], tmp_path / "bare"
    write_weights(folder, "wan2.1-1.3b")
    tensors = load_file(folder / "student.safetensors")
    names = sorted(tensors)
    halves = {f"student-0000{n + 1}-of-00002.safetensors": names[n::2] for n in range(2)}
    for file, part in halves.items():
        save_file({key: tensors[key] for key in part}, folder / file)
    index = {"weight_map": {key: file for file, part in halves.items() for key in part}}
    (folder / "student.safetensors.index.json").write_text(json.dumps(index))
    (folder / "student.safetensors").unlink()
    one, other = (
        load_engine(*a, device="cpu", dtype="float32", **k) for a, k in (((whole,), {}), ((folder,), {"encoders": whole}))
    )
    videos = []
    for engine in (one, other):
        with engine.start(picture_for(engine), "a cup") as session:
            videos.append(session.step().frames)
    assert np.array_equal(*videos)


# ---- what can be missing or wrong ------------------------------------------------------------------------------------

MISSING = {
    "student.safetensors": "has no student.safetensors: make it from a checkpoint with `motionstream convert",
    "config.json": "has no config.json",
    "vae": "no vae folder and no Wan2.1_VAE.pth, and Wan's autoencoder reads the picture.*Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "tokenizer": "has no tokenizer beside text_encoder: download text_encoder and tokenizer",
    "text_encoder": "has no text_encoder: download text_encoder and tokenizer of Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "image_encoder": "has no image_encoder.*download image_encoder of Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
}


def refused(words: str, *args, **options) -> None:
    with pytest.raises(ValueError, match=words) as error:
        load_engine(*args, **({"device": "cpu", "dtype": "float32"} | options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", MISSING)
def test_a_missing_part_is_named_with_what_to_download(folders, tmp_path, part: str):
    folder = tmp_path / "weights"
    shutil.copytree(folders["wan2.1-1.3b"], folder)
    gone = folder / part
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    refused(MISSING[part], folder)


def test_which_decoder_is_taken(folders, tmp_path):
    folder = tmp_path / "weights"
    shutil.copytree(folders["wan2.1-1.3b-t2v"], folder)
    assert load_engine(folder, device="cpu").decoder == "tiny"
    shutil.rmtree(folder / "vae")  # no picture to read: the tiny one is enough
    assert load_engine(folder, device="cpu").decoder == "tiny"
    refused("and Wan's autoencoder decodes: download vae of", folder, vae="full")
    (folder / "taew2_1.safetensors").unlink()
    refused("and Wan's autoencoder decodes: download vae of", folder)
    refused("no tiny decoder: download taew2_1.pth from github.com/madebyollin/taehv", folder, vae="tiny")
    refused("vae='small' is unknown: use auto, tiny, full", folder, vae="small")
    refused("tiny-debug has only the decoder that it was trained with", "tiny-debug", vae="full")
    refused("tiny-debug needs no encoders", "tiny-debug", encoders=folder)
    refused("encoders 'nowhere' is not a folder", folder, encoders="nowhere")


def test_parts_of_another_family_are_refused(folders, tmp_path):
    folder, other = tmp_path / "weights", folders["wan2.2-5b"]
    shutil.copytree(folders["wan2.1-1.3b-t2v"], folder)
    shutil.copy(other / "taew2_2.safetensors", folder / "tiny_vae.safetensors")
    refused("makes latents of 48 channels for 16x16 pixels, wan2.1-1.3b-t2v reads 16 for 8x8", folder)
    shutil.rmtree(folder / "vae")
    shutil.copytree(other / "vae", folder / "vae")
    refused("makes latents of 48 channels .*take the autoencoder of wan2.1", folder, vae="full")
    shutil.copy(other / "student.safetensors", folder / "student.safetensors")
    (folder / "tiny_vae.safetensors").unlink()
    refused("student.safetensors does not fit wan2.1-1.3b-t2v: ", folder)


def test_a_preset_beside_the_folder_must_agree(folders):
    folder = folders["wan2.1-1.3b"]
    refused(
        r"config.json is of wan2.1-1.3b, which is not wan2.2-5b \(model.latent_channels is 16, not 48\)",
        folder,
        preset="wan2.2-5b",
    )
    refused("unknown preset 'mega'", folder, preset="mega")
    assert load_engine("tiny-debug", preset="tiny-debug", device="cpu").preset.name == "tiny-debug"
    refused("tiny-debug is of tiny-debug, which is not nano", "tiny-debug", preset="nano")


@pytest.mark.parametrize("name", FORMS)
def test_without_weights_one_sentence_says_how_to_get_them(name: str):
    refused(rf"preset '{name}' has no weights here: download .*--preset {name} .*load DIR .*random_weights=True", name)


# ---- random weights and memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_random_weights_need_no_file_and_stamp_every_frame(tmp_path, name: str):
    from motionstream.config import to_json

    (tmp_path / "config.json").write_text(to_json(small(name)))
    engine = load_engine(tmp_path, device="cpu", dtype="float32", random_weights=True)
    assert engine.random_weights
    mask = engine.stamp_mask
    assert mask[..., 0].sum() > 50 < (mask[..., 1] & ~mask[..., 0]).sum()
    with engine.start(picture_for(engine), "a cup") as session:
        if engine.takes_tracks:
            session.push([Point(0, 20, 30)])
        for _ in range(2):
            frames = session.step().frames
            assert (frames[:, mask[..., 0]] == 255).all()
            assert (frames[:, mask[..., 1] & ~mask[..., 0]] == 0).all()
            assert frames[:, ~mask[..., 1]].std() > 1
    assert not load_engine("tiny-debug", device="cpu").random_weights
    assert load_engine("tiny-debug", device="cpu", random_weights=True).stamp_mask is not None


def test_a_warm_up_asks_no_encoder(load, monkeypatch):
    """They may be gigabytes that are loaded for each question."""
    engine = load("wan2.1-1.3b")
    for encoder in ("text", "picture_rows"):
        monkeypatch.setattr(engine, encoder, lambda *_: pytest.fail("asked"))
    engine.warmup()


def test_too_little_memory_is_said_before_anything_is_loaded(folders, monkeypatch):
    from motionstream.stream import memory_check

    words = r"wan2.1-1.3b needs \S+ [GM]B to stream \(predicted\), {} MB are free on cpu: take dtype bfloat16"
    with monkeypatch.context() as little:
        little.setattr("motionstream.stream.engine.load_model", lambda *a, **k: pytest.fail("loaded"))
        little.setattr(memory_check, "free_bytes", lambda device: 600 * 10**6)
        ways = r" or the tiny decoder \(\S+ [GM]B in all\) or a smaller size than 64x64 \(ignore_memory=True"
        refused(words.format("600.0") + ways, folders["wan2.1-1.3b"], vae="full")
        little.setattr(memory_check, "free_bytes", lambda device: 10**8)
        refused(
            words.format("100.0") + r" \(ignore_memory=True", folders["wan2.1-1.3b"], vae="full"
        )  # nothing smaller would do
        refused(r"the smallest video takes \S+ [GM]B, so free memory first", folders["wan2.2-5b"], dtype="bfloat16")
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: 10**7)
    with pytest.warns(RuntimeWarning, match="10.0 MB are free"):
        load_engine(folders["wan2.1-1.3b-t2v"], device="cpu", ignore_memory=True)


def test_encoders_are_counted_in_the_type_they_run_in(folders, tmp_path):
    shutil.copytree(folders["wan2.1-1.3b-t2v"], tmp_path / "weights")
    found = find_wan(small("wan2.1-1.3b-t2v"), tmp_path / "weights", "student", None, "auto")
    file = tmp_path / "weights" / "text_encoder" / "model.safetensors"
    numbers = sum(value.numel() for value in load_file(file).values())
    assert file.stat().st_size > 4 * numbers  # float32, as Wan 2.1's public files are
    assert found.encoder_bytes() == 2 * numbers
    file.write_bytes(b"damaged")
    assert found.encoder_bytes() == 0


def test_encoders_run_on_the_gpu_only_with_room_for_them(monkeypatch):
    from motionstream.device import Compute
    from motionstream.presets import preset
    from motionstream.stream import memory_check

    config, compute = preset("wan2.1-1.3b"), Compute(torch.device("cuda"), torch.bfloat16, "")
    free = {"cuda": 80 * 10**9, "cpu": 64 * 10**9}
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: free[device.type])

    def place() -> str:
        return memory_check.place_encoders(config, compute, "tiny", 11 * 10**9).type

    assert place() == "cuda"
    free["cuda"] = 16 * 10**9
    assert place() == "cpu"
    free["cpu"] = 10**9
    with pytest.raises(ValueError, match=r"the text encoder needs 11.0 GB of the processor's memory, 1.0 GB are free"):
        place()
    free["cuda"] = 12 * 10**9
    with pytest.raises(ValueError, match=r"needs 12.7 GB .* take no fp8, which holds most weights twice or a smaller size"):
        memory_check.place_encoders(config, compute, "tiny", 0, fp8=True)
    free["cuda"] = 8 * 10**9
    with pytest.raises(ValueError, match=r"wan2.1-1.3b needs 11.6 GB .* 8.0 GB are free on cuda: take a smaller size"):
        place()
