"""Opening what people have: files, folders, shards, pickles; and one sentence for what cannot be opened."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motionstream.models.convert.source import open_checkpoint

TENSORS = {f"t{i}": torch.full((3, i + 1), float(i)) for i in range(6)}


def shards(folder: Path, names: list[str] | None = None) -> dict[str, str]:
    """Two shards and their index."""
    folder.mkdir(exist_ok=True)
    where = {}
    for shard, part in enumerate((["t0", "t1", "t2"], ["t3", "t4", "t5"]), start=1):
        file = f"model-{shard:05d}-of-00002.safetensors"
        save_file({name: TENSORS[name] for name in part}, folder / file)
        where |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return where


def check(path: Path, taken: str = "", **options) -> None:
    opened = open_checkpoint(path, **options)
    assert opened.part == taken
    assert {name: entry.shape for name, entry in opened.entries.items()} == {k: tuple(v.shape) for k, v in TENSORS.items()}
    assert all(entry.dtype == torch.float32 for entry in opened.entries.values())
    assert opened.nbytes == sum(value.nbytes for value in TENSORS.values())
    assert all(torch.equal(opened.read(name), value) for name, value in TENSORS.items())


def test_a_safetensors_file_and_the_folder_it_is_alone_in(tmp_path):
    save_file(TENSORS, tmp_path / "any-name.safetensors")
    check(tmp_path / "any-name.safetensors")
    check(tmp_path)
    pipeline = tmp_path / "pipeline"
    (pipeline / "transformer").mkdir(parents=True)
    save_file(TENSORS, pipeline / "transformer" / "x.safetensors")
    check(pipeline)


def test_shards_by_index_by_folder_by_any_of_them_and_without_an_index(tmp_path):
    shards(tmp_path)
    for path in (tmp_path, tmp_path / "model.safetensors.index.json", tmp_path / "model-00002-of-00002.safetensors"):
        check(path)
    (tmp_path / "model.safetensors.index.json").unlink()
    check(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("wrap", "taken", "options"),
    [
        (lambda t: t, "", {}),
        (lambda t: {"generator": t}, "generator", {}),
        (
            lambda t: {"critic": {"x": torch.ones(1)}, "generator": {"x": torch.ones(1)}, "generator_ema": t},
            "generator_ema",
            {},
        ),
        (lambda t: {"generator": t, "generator_ema": {"x": torch.ones(1)}}, "generator", {"part": "generator"}),
        (lambda t: {"step": 3, "model": t}, "model", {}),
        (lambda t: {"critic": t}, "critic", {"part": "critic"}),
    ],
)
def test_pickles_and_their_parts(tmp_path, wrap, taken, options, zipped):
    path = tmp_path / "model.pt"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=zipped)
    check(path, taken, **options)


def test_types_that_are_not_plain_floats_are_marked(tmp_path):
    save_file(
        {"a": torch.zeros(2, dtype=torch.float8_e4m3fn), "b": torch.zeros(2, dtype=torch.bfloat16)},
        tmp_path / "m.safetensors",
    )
    entries = open_checkpoint(tmp_path).entries
    assert (entries["a"].dtype, entries["a"].stored_as) == (None, "F8_E4M3")
    assert entries["b"].dtype == torch.bfloat16


def cut(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


class Surprise:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("ran",))


def test_what_cannot_be_opened_is_said_in_one_sentence(tmp_path, capsys):
    def refused(words: str, path: Path, **options) -> None:
        with pytest.raises(ValueError, match=words) as error:
            open_checkpoint(path, **options)
        assert "\n" not in str(error.value)

    refused("does not exist: give a checkpoint file", tmp_path / "none.safetensors")
    refused("holds no checkpoint", tmp_path)
    one = tmp_path / "one.safetensors"
    save_file(TENSORS, one)
    refused("has no parts", one, part="generator")
    for keep in (0.9, 0.1, 0):
        save_file(TENSORS, one)
        cut(one, keep)
        refused("one.safetensors is damaged or cut short .*download it again", one)
    save_file(TENSORS, one)
    save_file(TENSORS, tmp_path / "two.safetensors")
    refused(r"holds several checkpoints \(one.safetensors, two.safetensors\)", tmp_path)
    (tmp_path / "q.gguf").write_bytes(b"GGUF" + b"\0" * 20)
    refused("GGUF file, which is not read", tmp_path / "q.gguf")
    (tmp_path / "notes.txt").write_text("hello")
    refused("neither .safetensors nor one of", tmp_path / "notes.txt")

    sharded = tmp_path / "sharded"
    where = shards(sharded)
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where | {"t9": "model-00001-of-00002.safetensors"}}))
    refused(r"1 tensors are not in the shards it names \(t9\)", sharded)
    index.write_text(json.dumps({"weight_map": where | {"t0": "../one.safetensors"}}))
    refused("names files outside its folder", index)
    for odd in ("{}", '{"weight_map": {"t0": 3}}'):
        index.write_text(odd)
        refused("is not an index of safetensors shards", sharded)
    shards(sharded)
    cut(sharded / "model-00002-of-00002.safetensors", 0.8)
    refused("00002-of-00002.safetensors is damaged or cut short", sharded)
    (sharded / "model-00002-of-00002.safetensors").unlink()
    refused(r"1 of 2 shards are missing \(model-00002-of-00002.safetensors\)", sharded)

    pickled = tmp_path / "p.pt"
    torch.save({"generator": TENSORS}, pickled)
    refused("has no part 'critic': it holds generator", pickled, part="critic")
    cut(pickled, 0.5)
    refused("p.pt is damaged or cut short", pickled)
    torch.save({"other": TENSORS, "more": TENSORS}, pickled)
    refused(r"holds the parts other, more: say which is the model \(--part\)", pickled)
    torch.save([1, 2], pickled)
    refused("holds a list, not a dictionary of tensors", pickled)
    torch.save({"a": 1}, pickled)
    refused("holds no tensors", pickled)
    torch.save({"a": Surprise()}, pickled)
    refused("holds more than tensors, or is damaged", pickled)
    assert capsys.readouterr().out == ""
