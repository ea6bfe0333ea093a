"""Loading and starting: what does not fit is refused in one sentence."""

import json

import numpy as np
import pytest
import torch

from motionstream.config import to_dict, to_json
from motionstream.models.load import save_weights
from motionstream.stream.engine import generate, load_engine
from motionstream.stream.points import Point
from motionstream.tracks.tracks import Tracks


def save(engine, folder):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(to_json(engine.preset))
    save_weights(folder / "student.safetensors", engine.model)
    save_weights(folder / "vae.safetensors", engine.vae)
    return folder


def refused(words: str, call) -> None:
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_tiny_debug_needs_no_weights_and_is_the_same_every_time():
    one, other = (load_engine("tiny-debug", device="cpu", dtype="float32") for _ in range(2))
    assert one.num_parameters().keys() == {"dit", "vae"}
    for (name, ours), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert ours.isfinite().all()
        assert torch.equal(ours, theirs), name
    one.warmup()


def test_a_saved_engine_streams_the_same_frames(engine, picture, tmp_path):
    loaded = load_engine(save(engine, tmp_path / "mine"), device="cpu", dtype="float32")
    assert loaded.preset == engine.preset
    videos = []
    for each in (engine, loaded):
        with each.start(picture, "cup", seed=2) as session:
            session.push([Point(0, 9.0, 9.0)])
            videos.append(np.concatenate([session.step().frames, session.step().frames]))
    assert np.array_equal(*videos)
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_weights_that_do_not_fit_are_refused(engine, tmp_path):
    folder = save(engine, tmp_path / "mine")

    def load():
        return load_engine(folder, device="cpu", dtype="float32")

    student = (folder / "student.safetensors").read_bytes()
    (folder / "student.safetensors").write_bytes(student[: len(student) // 2])
    refused(r"student\.safetensors is damaged", load)
    (folder / "student.safetensors").unlink()
    refused(r"student\.safetensors does not exist", load)
    save(engine, folder)
    values = to_dict(engine.preset)
    values["model"]["num_layers"] = 3
    (folder / "config.json").write_text(json.dumps(values))
    refused(r"student\.safetensors holds another architecture", load)
    (folder / "config.json").write_text(json.dumps({**to_dict(engine.preset), "colour": 1}))
    refused("unknown key 'colour'", load)
    (folder / "config.json").write_text("[1, 2]")
    refused("holds no settings but a list", load)
    (folder / "config.json").write_text("{not json")
    refused(r"config\.json is not valid JSON", load)
    (folder / "config.json").unlink()
    refused(r"no config\.json", load)


@pytest.mark.parametrize("layout", ["wan", "pipeline", "transformer"])
def test_weights_as_they_are_published_are_pointed_to_convert(tmp_path, layout: str):
    if layout == "transformer":
        (tmp_path / "transformer").mkdir()
    else:
        name, settings = {"wan": ("config.json", '{"_class_name": "WanModel"}'), "pipeline": ("model_index.json", "{}")}[
            layout
        ]
        (tmp_path / name).write_text(settings)
    refused(
        r"holds weights as others publish them: run motionstream convert .* --role student", lambda: load_engine(tmp_path)
    )


def test_unknown_names_and_devices_are_refused(tmp_path):
    refused("'huge' is neither a preset .*nor a folder", lambda: load_engine("huge"))
    refused("neither a preset", lambda: load_engine(tmp_path / "nowhere"))
    refused("device 'warp' is unknown", lambda: load_engine("tiny-debug", device="warp"))
    refused("dtype 'int3' is unknown", lambda: load_engine("tiny-debug", dtype="int3"))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((32, 47, 3), np.uint8), np.zeros((1, 1, 3), np.uint8), np.zeros((32, 48, 4), np.uint8),
     np.zeros((32, 48), np.uint8), np.zeros((32, 48, 3), np.float32), [[1, 2, 3]], None],
)  # fmt: skip
def test_wrong_pictures_are_refused(engine, wrong):
    refused(r"first_frame is .*give uint8 of shape \(32, 48, 3\)", lambda: engine.start(wrong))


@pytest.mark.parametrize("steps", [0, -3, 9, 1000])
def test_wrong_numbers_of_steps_are_refused(engine, picture, steps):
    refused(f"steps={steps} must be between 1 and 8", lambda: engine.start(picture, steps=steps))


def test_seeds_and_sizes_of_numpy_and_json_are_what_they_say(engine, picture):
    made = [engine.start(picture, seed=seed).step().frames for seed in (7, np.int64(7))]
    assert (made[0] == made[1]).all()
    assert load_engine("nano", size=[96, 128], device="cpu").preset.geometry.width == 128
    for size in (96, [96], [96, 128, 3], [96.0, 128.0], "96x128"):
        refused(r"size=.* must be \(height, width\) in pixels", lambda size=size: load_engine("nano", size=size))


@pytest.mark.parametrize("seed", [-1, 2**31, 10**30, 1.5])
def test_wrong_seeds_are_refused(engine, picture, seed):
    refused(f"seed={seed} must be a whole number in", lambda: engine.start(picture, seed=seed))
    assert engine.start(picture, seed=2**31 - 1).step().frames.shape == (9, 32, 48, 3)


def test_endless_prompts_are_refused(engine, picture):
    refused("prompt has 100000 characters: shorten it", lambda: engine.start(picture, "x" * 100_000))
    with engine.start(picture, "cup") as session:
        refused("shorten it", lambda: session.set_prompt("y" * 5000))
        session.step()


def test_generate_is_the_stream(engine, picture):
    xy = torch.linspace(8, 40, 22)[:, None, None].expand(22, 1, 2) * torch.tensor([1.0, 0.5])
    tracks = Tracks.from_points(xy, size=(32, 48), fps=16)
    video = generate(engine, picture, "cup", tracks, seed=4)
    assert video.shape == (22, 32, 48, 3)
    with engine.start(picture, "cup", seed=4) as session:
        chunks = np.concatenate([c.frames for c in session.stream(tracks)])
    assert np.array_equal(video, chunks[:22])
    assert generate(engine, picture, "cup", tracks, num_frames=5).shape[0] == 5
    # Tracks that end early leave the rest without motion; empty ones never move anything.
    assert generate(engine, picture, "cup", Tracks.empty(num_frames=3, size=(32, 48), fps=16), num_frames=12).shape[0] == 12


def test_steps_per_chunk_can_be_chosen(engine, picture):
    videos = []
    for steps in (None, 1, 2, 8):
        with engine.start(picture, steps=steps) as session:
            assert len(session.sigmas) == (steps or 3)
            session.step()
            videos.append(session.step().frames)
    assert all(not np.array_equal(videos[0], v) for v in videos[1:])


@pytest.mark.weights
@pytest.mark.parametrize(("size", "hand_px"), [(None, 3.0), ((144, 192), 3.0), ((96, 128), 2.0), ((192, 256), 4.0)])
def test_nano_streams_at_the_sizes_it_was_judged_at(size, hand_px):
    nano = load_engine("nano", device="cpu", dtype="float32", size=size)
    H, W = size or (144, 192)
    assert nano.preset.sample.hand_px == pytest.approx(hand_px)
    with nano.start(np.full((H, W, 3), 90, np.uint8)) as session:
        session.push([Point(0, W / 2, H / 2)])
        assert session.step().frames.shape == (1, H, W, 3)
        assert session.step().frames.shape == (4, H, W, 3)


@pytest.mark.weights
def test_other_sizes_of_nano_are_refused():
    refused(
        "nano makes 192x144, 128x96 or 256x192 pixels, not 160x120: take such a size",
        lambda: load_engine("nano", size=(120, 160)),
    )
