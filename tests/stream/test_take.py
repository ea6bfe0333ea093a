"""A take as a file: all of it comes back, and what is not a whole, sound take is refused with a sentence."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from motionstream.stream.gestures import Begin, CameraSpeed, ChunkInput, Motion
from motionstream.stream.swarm import Swarm
from motionstream.stream.take import MAX_FRAMES, VERSION, ComputedWith, Take

WIDTH, HEIGHT = 24, 16
PATH = Begin("path", 2, ((1.5, 2.0), (3.0, 4.0)), 3, ((1.5, 2.0), (9.0, 8.0)), 1.5, "smooth", "loop", snap=True)
INPUTS = [
    ChunkInput(begins=(Begin("drag", 1, ((5.0, 6.0),), 0, snap=True), PATH), prompt=""),
    ChunkInput(),
    ChunkInput(
        begins=(Begin("pin", 2**20 - 1, ((7.0, 8.0),), 9),),
        motions=(Motion(1, 2, ((1.0, 2.0, 0.5, 1.25), (2.0, 3.0, 0.25, 0.75))),),
        ends=((1, 3),),
        camera=CameraSpeed((4.0, 6.0), 0.5, -0.25),
        swarms=(Swarm.of("camera", [3, 7], np.full((4, 2, 2), 12.0), np.ones((4, 2), bool), (WIDTH, HEIGHT)),),
    ),
]
KNOWN = ComputedWith("cpu", "bfloat16", "products", "plain", "reference", "outlines")


def take(**other: Any) -> Take:
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    given = {"seed": 2**31 - 1, "steps": 2, "inputs": list(INPUTS), "chunk_frames": (1, 4), "computed_with": KNOWN} | other
    return Take("nano", WIDTH, HEIGHT, 24.0, "a cup", picture=picture, **given)


def packed(mode: str = "RGB", form: str = "PNG", size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    file = io.BytesIO()
    Image.new(mode, size).save(file, form)
    return base64.b64encode(file.getvalue()).decode()


def test_all_of_a_take_comes_back():
    made = take()
    again = Take.from_json(made.to_json())
    assert np.array_equal(again.picture, made.picture)
    assert {**vars(again), "picture": None} == {**vars(made), "picture": None}
    assert again.gesture_ids() == {1, 2, 2**20 - 1}
    assert [row["chunk"] for row in json.loads(made.to_json())["inputs"]] == [0, 2], "chunks without input are left out"


def test_old_takes_can_be_read():
    values = json.loads(take().to_json())
    del values["computed_with"]
    for version, frames in ((1, (9, 12)), (2, (9, 12)), (3, (1, 4))):
        old = Take.from_json(json.dumps({**values, "version": version}))
        assert (old.chunk_frames, old.computed_with, old.version) == (frames, None, VERSION)
    older = {"device": "cuda", "dtype": "float16", "attention": "flash"}
    assert Take.from_json(json.dumps({**values, "computed_with": older})).computed_with == ComputedWith(*older.values())


def test_a_picture_of_one_channel_is_a_picture():
    values = json.loads(take().to_json()) | {"picture": packed("L")}
    assert Take.from_json(json.dumps(values)).picture.shape == (HEIGHT, WIDTH, 3)


def test_what_is_not_known_does_not_differ():
    assert KNOWN.agrees(KNOWN)
    assert KNOWN.agrees(KNOWN._replace(things=""))
    assert KNOWN._replace(rows="").agrees(KNOWN)
    assert not KNOWN.agrees(KNOWN._replace(device="cuda"))


def test_a_take_on_another_canvas():
    made = take().scaled(2 * WIDTH, 3 * HEIGHT)
    assert (made.width, made.height, made.picture.shape) == (48, 48, (48, 48, 3))
    begins, last = made.inputs[0].begins, made.inputs[2]
    assert begins[0].points == ((10.0, 18.0),)
    assert begins[1].points == ((3.0, 6.0), (6.0, 12.0))
    assert begins[1].path == ((3.0, 6.0), (18.0, 24.0))
    assert last.motions[0].poses[0] == (2.0, 6.0, 0.5, 1.25)
    assert last.camera == CameraSpeed((8.0, 18.0), 0.5, -0.25)
    assert last.swarms[0].at(0) == [(3, 24.0, 36.0), (7, 24.0, 36.0)]


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


BEGIN, LAST = ("inputs", 0, "begins"), ("inputs", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("format", value="x"), 'its "format"'),
        (put("version", value=6), "version 6: this release reads versions 1 and 2"),
        (put("sede", value=3), "take has the unknown key 'sede'"),
        (put("seed", value=True), "seed=True must be a whole number"),
        (put("seed", value=2**31), "seed=2147483648 must be a whole number from 0"),
        (put("steps", value=0), "steps=0"),
        (put("fps", value=0.5), "fps=0.5 must be a number from 1 to 240"),
        (put("fps", value=True), "fps=True"),
        (put("prompt", value="x" * 1001), "prompt must be text of at most 1000"),
        (put("preset", value=3), "preset must be text"),
        (put("chunk_frames", value=[1, 4, 4]), "two whole numbers"),
        (put("chunk_frames", value=[1, 4.5]), "chunk_frames=4.5 must be a whole number"),
        (put("num_chunks", value=MAX_FRAMES // 4 + 1), "num_chunks"),
        (put("chunk_frames", value=[1, 4096]), None),
        (put("inputs", value={}), "inputs must be a list"),
        (put("inputs", value=[3]), r"inputs\[0\] must be an object, not int"),
        (put(*LAST, "chunk", value=3), "chunk=3 must be a whole number from 0 to 2"),
        (put(*LAST, "chunk", value=0), "chunk 0 appears twice"),
        (put(*LAST, "began", value=[]), "unknown key 'began'"),
        (put(*LAST, "begins", 0, "id", value=2), "gesture id 2 begins twice"),
        (put(*LAST, "begins", 0, "snap", value=True), "unknown key 'snap'"),
        (put(*BEGIN, 0, "id", value=0), "id=0"),
        (put(*BEGIN, 0, "kind", value="push"), "kind='push' must be one of drag, pin, path"),
        (put(*BEGIN, 0, "points", value=[]), "points must be a list of 1 to 256 rows"),
        (put(*BEGIN, 0, "points", value=[[1.0, 2.0]] * 257), "points must be a list of 1 to 256 rows"),
        (put(*BEGIN, 0, "points", value=[[1.0, 2.0, 3.0]]), "each must hold 2 finite numbers"),
        (put(*BEGIN, 0, "points", value=[[1.0, 1e9]]), "each must hold 2 finite numbers"),
        (put(*BEGIN, 1, "path", value=[[1.0, 2.0]]), "path must be a list of 2 to 1000 rows"),
        (put(*BEGIN, 1, "seconds", value=0), "seconds=0 must be a number from 0.001"),
        (put(*BEGIN, 1, "ease", value="bouncy"), "ease='bouncy'"),
        (put(*LAST, "motions", 0, "poses", 0, value=[0, 0, 0, 0]), "a pose's scale must lie between 0.01 and 100"),
        (put(*LAST, "motions", 0, "pose", value=[]), "unknown key 'pose'"),
        (put(*LAST, "ends", value=[[1]]), "each must hold 2 finite numbers"),
        (put(*LAST, "camera", value=[]), "camera must be an object"),
        (put(*LAST, "camera", "speed", value=1), "camera has the unknown key 'speed'"),
        (put(*LAST, "camera", "pan", value=[1]), "must be two finite numbers"),
        (put(*LAST, "camera", "pan", value=[1, None]), "must be two finite numbers"),
        (put(*LAST, "camera", "zoom", value=5), "zoom=5 must be a number from -4 to 4"),
        (put(*LAST, "camera", "roll", value=-8), "roll=-8"),
        (put(*LAST, "swarms", 0, "ids", value=[True, 7]), "ids must be a list of whole numbers"),
        (put(*LAST, "swarms", 0, "places", value="AAA"), r"swarms\[0\]: "),
        (put("computed_with", "gpu", value="x"), "computed_with has the unknown key 'gpu'"),
        (put("computed_with", "device", value=None), "device must be text"),
        (put("picture", value=packed(size=(HEIGHT, WIDTH))), "its picture is 16x24, its canvas 24x16"),
        (put("picture", value=packed(form="BMP")), "its picture cannot be read"),
        (put("picture", value="*" + packed()), "its picture cannot be read"),
    ],
)
def test_what_is_no_sound_take_is_refused(change, said):
    values = json.loads(take().to_json())
    change(values)
    if said is None:  # just within the limits
        assert Take.from_json(json.dumps(values)).num_chunks == 3
        return
    with pytest.raises(ValueError, match=said):
        Take.from_json(json.dumps(values))


def test_a_picture_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 3)
    with pytest.raises(ValueError, match="its picture cannot be read"):
        Take.from_json(take().to_json())


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000, '{"format": NaN}'])
def test_what_is_no_take_at_all(text):
    with pytest.raises(ValueError, match="not a take"):
        Take.from_json(text)


def test_a_small_file_asks_for_no_more_than_can_be_held():
    values = json.loads(take(inputs=[]).to_json())
    Take.from_json(json.dumps({**values, "num_chunks": MAX_FRAMES // 4}))
    with pytest.raises(ValueError, match=f"are over {MAX_FRAMES} frames; cut it into parts"):
        Take.from_json(json.dumps({**values, "num_chunks": MAX_FRAMES // 8 + 1, "chunk_frames": [1, 8]}))


def test_what_is_no_number_is_not_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        take(inputs=[ChunkInput(camera=CameraSpeed((float("nan"), 0.0)))]).to_json()
