"""Whole conversions: every form there and back is the identity, shard by shard, typed as asked."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from motionstream.config import to_json
from motionstream.models.convert.forms import FORMS
from motionstream.models.convert.keys import to_diffusers
from motionstream.models.convert.source import open_checkpoint
from motionstream.models.convert.transfer import Conversion, convert, read_preset
from motionstream.models.load import load_model
from motionstream.models.tiny_vae import TinyVAE, load_tiny_vae


def our_folder(path, preset, model, role="teacher"):
    path.mkdir()
    save_file(model.state_dict(), path / f"{role}.safetensors")
    (path / "config.json").write_text(to_json(preset))
    return path


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("form", ["t2v", "i2v", "ti2v"])
@pytest.mark.parametrize("tracks", [0, 3])
def test_there_and_back_is_the_identity(tmp_path, make_preset, make_model, to, form, tracks):
    preset = make_preset(form, tracks=tracks)
    model = make_model(preset)
    ours = our_folder(tmp_path / "ours", preset, model)
    away = convert(Conversion(source=ours, target=tmp_path / "away", to=to))
    role = None if to in ("ours", "self-forcing") else "student"
    back = convert(Conversion(source=tmp_path / "away", target=tmp_path / "back", preset=preset, role=role))
    assert away.files
    wanted = model.state_dict()
    name = {"ours": "teacher"}.get(to, "student")
    got = load_file(tmp_path / "back" / f"{name}.safetensors")
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[key], value) for key, value in wanted.items())
    assert read_preset(str(tmp_path / "back")) == preset
    assert back.role == name


def test_names_and_configs_of_other_forms(tmp_path, make_preset, make_model, wan_transformer):
    preset = make_preset("i2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset))
    for to in ("wan", "comfy", "self-forcing", "diffusers"):
        convert(Conversion(source=ours, target=tmp_path / to, to=to))
    names = set(make_model(preset).state_dict())
    assert set(load_file(tmp_path / "wan" / "diffusion_pytorch_model.safetensors")) == names
    assert set(open_checkpoint(tmp_path / "comfy").entries) == {f"model.diffusion_model.{name}" for name in names}
    assert set(torch.load(tmp_path / "self-forcing" / "model.pt", weights_only=True)["generator"]) == {
        f"model.{n}" for n in names
    }
    theirs = json.loads((tmp_path / "wan" / "config.json").read_text())
    assert (theirs["model_type"], theirs["dim"], theirs["in_dim"], theirs["out_dim"]) == ("i2v", 32, 12, 4)
    loaded = wan_transformer.from_pretrained(tmp_path / "diffusers")
    weights = make_model(preset).state_dict()
    assert all(torch.equal(loaded.state_dict()[to_diffusers(name)], value) for name, value in weights.items())


@pytest.mark.parametrize("to", ["ours", "wan", "diffusers"])
def test_shards_in_and_out(tmp_path, make_preset, make_model, to):
    preset = make_preset("t2v")
    model = make_model(preset)
    ours = our_folder(tmp_path / "ours", preset, model)
    report = convert(Conversion(source=ours, target=tmp_path / "away", to=to, shard_bytes=40_000))
    files = sorted((tmp_path / "away").glob("*.safetensors"))
    assert len(files) > 3
    assert set(files) < set(report.files)
    largest = max(value.nbytes for value in model.state_dict().values())
    assert all(sum(v.nbytes for v in load_file(file).values()) <= max(40_000, largest) for file in files)
    index = json.loads(next((tmp_path / "away").glob("*.index.json")).read_text())
    assert index["metadata"]["total_size"] == sum(v.nbytes for v in model.state_dict().values()) == report.nbytes
    if to == "ours":
        loaded = load_model(preset, tmp_path / "away" / "teacher.safetensors").state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())
    convert(
        Conversion(
            source=tmp_path / "away", target=tmp_path / "back", preset=preset, role="teacher" if to == "ours" else None
        )
    )
    got = load_file(tmp_path / "back" / "teacher.safetensors")
    assert all(torch.equal(got[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16, torch.float32])
def test_types_are_kept_or_as_asked_and_mixed_ones_lie_aligned(tmp_path, make_preset, make_model, dtype):
    preset = make_preset("t2v")
    state = {k: v.bfloat16() if "self_attn" in k or v.numel() % 2 else v for k, v in make_model(preset).state_dict().items()}
    state["blocks.0.norm3.bias"] = state["blocks.0.norm3.bias"].half()
    save_file(state, tmp_path / "mixed.safetensors")
    convert(Conversion(source=tmp_path / "mixed.safetensors", target=tmp_path / "ours", preset=preset, dtype=dtype))
    path = tmp_path / "ours" / "teacher.safetensors"
    got = load_file(path)
    assert all(torch.equal(got[key], value.to(dtype or value.dtype)) for key, value in state.items())
    header = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    for key, entry in json.loads(header).items():
        if key != "__metadata__":
            assert entry["data_offsets"][0] % got[key].element_size() == 0
    with safe_open(path, framework="pt") as stored:
        assert stored.metadata() == {"format": "pt"}


def test_a_dry_run_writes_nothing_and_a_failure_leaves_nothing_half(tmp_path, make_preset, make_model, monkeypatch):
    preset = make_preset("t2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset))
    report = convert(Conversion(source=ours, target=tmp_path / "away", to="wan"), dry_run=True)
    assert report.files == []
    assert report.nbytes == sum(v.nbytes for v in make_model(preset).state_dict().values())
    assert not (tmp_path / "away").exists()

    def breaks_off(plan, *_):
        yield from ((name, torch.zeros(shape)) for name, (shape, _) in list(plan.items())[:5])
        raise RuntimeError("the power went out")

    monkeypatch.setattr("motionstream.models.convert.transfer._values", breaks_off)
    with pytest.raises(RuntimeError, match="power"):
        convert(Conversion(source=ours, target=tmp_path / "away", to="wan"))
    assert list((tmp_path / "away").iterdir()) == []


def test_jobs_that_cannot_be(tmp_path, make_preset, make_model, monkeypatch):
    preset, other = make_preset("t2v"), make_preset("i2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset))
    away = tmp_path / "away"

    def refused(words: str, **job) -> None:
        with pytest.raises(ValueError, match=words) as error:
            convert(Conversion(**({"source": ours, "target": away} | job)))
        assert "\n" not in str(error.value)
        assert not away.exists()

    refused("to='onnx' is unknown: use ours, wan", to="onnx")
    refused("role='critic' is unknown: use student or teacher", role="critic")
    refused("is where the source lies", target=ours)
    refused("cannot hold --to ours: give a folder", target=tmp_path / "x.safetensors")
    refused(
        "cannot hold --to self-forcing: give a folder or a name that ends in .pt",
        to="self-forcing",
        target=tmp_path / "x.safetensors",
    )
    held = our_folder(tmp_path / "held", other, make_model(other))
    refused(r"holds weights of another configuration \(small-i2v\)", target=held)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(ValueError, match=r"needs 0\.\d+ GB and has 0\.00 GB free"):
        convert(Conversion(source=ours, target=away))


def test_presets_by_name_and_by_folder(tmp_path, make_preset, make_model):
    preset = make_preset("t2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset))
    assert read_preset(str(ours)) == read_preset(str(ours / "config.json")) == preset
    assert read_preset("wan2.1-1.3b").name == "wan2.1-1.3b"
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a configuration of ours"):
        read_preset(str(tmp_path))
    with pytest.raises(ValueError, match="unknown preset 'wan9'"):
        read_preset("wan9")
    for odd in (b"{", b"\xff"):
        (tmp_path / "config.json").write_bytes(odd)
        with pytest.raises(ValueError, match="is not valid JSON"):
            read_preset(str(tmp_path))


@pytest.mark.parametrize(("channels", "patch", "total"), [(16, 1, 11_315_539), (48, 2, 11_418_108)])
@pytest.mark.parametrize("target", ["folder", "vae.safetensors", "vae.pth"])
def test_taehv_files_change_their_container_alone(tmp_path, channels, patch, total, target):
    state = {key: value.half() for key, value in TinyVAE(channels, patch).state_dict().items()}
    assert sum(value.numel() for value in state.values()) == total
    torch.save(state, tmp_path / "any.pth")
    report = convert(Conversion(source=tmp_path / "any.pth", target=tmp_path / "out" / target))
    assert report.kind == f"TAEHV autoencoder of {channels} latent channels, patch {patch}"
    path = report.files[0]
    assert path == (tmp_path / "out" / target / "tiny_vae.safetensors" if target == "folder" else tmp_path / "out" / target)
    opened = open_checkpoint(path)
    assert opened.entries.keys() == state.keys()
    assert all(torch.equal(opened.read(key), value) for key, value in state.items())
    loaded = load_tiny_vae(path).state_dict()
    assert all(torch.equal(loaded[key], value.float()) for key, value in state.items())
    with pytest.raises(ValueError, match="is a TAEHV autoencoder, which has one form"):
        convert(Conversion(source=path, target=tmp_path / "x", to="diffusers"))


def test_a_role_is_kept_through_shards(tmp_path, make_preset, make_model):
    preset = make_preset("t2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset), role="student")
    sharded = tmp_path / "sharded"
    convert(Conversion(source=ours, target=sharded, shard_bytes=40_000))
    for n, source in enumerate((sharded, sharded / "student-00001-of-00005.safetensors")):
        report = convert(Conversion(source=source, target=tmp_path / f"back{n}"))
        assert (report.role, report.files[0].name) == ("student", "student.safetensors")


def test_our_own_weights_come_before_a_transformer_downloaded_beside_them(tmp_path, make_preset, make_model):
    preset = make_preset("t2v")
    student, downloaded = make_model(preset, seed=1), make_model(preset, seed=2)
    ours = our_folder(tmp_path / "ours", preset, student, role="student")
    (ours / "transformer").mkdir()
    save_file(downloaded.state_dict(), ours / "transformer" / "diffusion_pytorch_model.safetensors")
    report = convert(Conversion(source=ours, target=tmp_path / "out", to="wan"))
    assert torch.equal(load_file(report.files[0])["head.head.weight"], student.head.head.weight)


@pytest.mark.parametrize("to", ["ours", "wan"])
@pytest.mark.parametrize("shard_bytes", [(None, 40_000), (40_000, None)])
def test_older_weights_are_never_left_to_be_read_instead(tmp_path, make_preset, make_model, to, shard_bytes):
    preset = make_preset("t2v")
    for seed, size in enumerate(shard_bytes):
        save_file(make_model(preset, seed).state_dict(), tmp_path / f"{seed}.safetensors")
        job = Conversion(
            source=tmp_path / f"{seed}.safetensors", target=tmp_path / "out", to=to, preset=preset, shard_bytes=size
        )
        if seed == 0:
            convert(job)
    before = sorted((tmp_path / "out").iterdir())
    with pytest.raises(ValueError, match="is there already, and readers take one of the two without asking"):
        convert(job)
    assert sorted((tmp_path / "out").iterdir()) == before


def test_a_source_is_not_written_over(tmp_path, make_preset, make_model):
    preset = make_preset("t2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset))
    convert(Conversion(source=ours, target=tmp_path / "pipeline" / "transformer", to="diffusers"))
    file = tmp_path / "pipeline" / "transformer" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()
    for target in (file, file.parent):
        for source in (tmp_path / "pipeline", file.parent):
            with pytest.raises(ValueError, match="is where the source lies"):
                convert(Conversion(source=source, target=target, to="diffusers", preset=preset, dtype=torch.bfloat16))
    assert file.read_bytes() == content


def test_a_pickle_that_could_not_be_written_leaves_the_older_one(tmp_path, make_preset, make_model, monkeypatch):
    preset = make_preset("t2v")
    ours = our_folder(tmp_path / "ours", preset, make_model(preset))
    torch.save(TinyVAE().state_dict(), tmp_path / "tae.pth")

    def breaks_off(values, path) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", breaks_off)
    out = tmp_path / "out"
    out.mkdir()
    for source, name, to in ((ours, "model.pt", "self-forcing"), (tmp_path / "tae.pth", "tae.pth", "ours")):
        (out / name).write_bytes(b"precious")
        with pytest.raises(OSError, match="full"):
            convert(Conversion(source=source, target=out / name, to=to))
        assert (out / name).read_bytes() == b"precious"
    assert {path.name for path in out.iterdir()} == {"model.pt", "tae.pth"}


def test_the_size_told_of_a_taehv_file_is_that_of_what_is_written(tmp_path):
    torch.save({key: value.half() for key, value in TinyVAE().state_dict().items()}, tmp_path / "tae.pth")
    report = convert(Conversion(source=tmp_path / "tae.pth", target=tmp_path / "out", dtype=torch.float32))
    assert report.nbytes == 4 * 11_315_539
