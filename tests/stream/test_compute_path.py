"""Which form of the transformer is run, and what is said where one that was asked for cannot be had."""

import warnings

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.dit import WanDiT
from motionstream.nn.attention import attention
from motionstream.nn.cross_choice import CrossChoice
from motionstream.presets import tiny_debug
from motionstream.stream import compute_path
from motionstream.stream.compute_path import ComputePath

CPU = choose_compute("cpu", "float32")


def built(path: ComputePath):
    preset = tiny_debug()
    return path.build(WanDiT(preset.model, preset.geometry.t_stride), preset, CPU)[0]


def test_on_a_cpu_nothing_is_compiled_and_nothing_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert built(ComputePath()).form == "not compiled"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (ComputePath(rows="kernels"), "Triton cannot be used here (no Triton): going on without"),
        (ComputePath(fp8="early"), "FP8 cannot be used here (no Triton): going on without"),
        (ComputePath(fp8="all"), "FP8 cannot be used here (no Triton): going on without"),
    ],
)
def test_kernels_that_are_missing_are_done_without(monkeypatch, path, said):
    monkeypatch.setattr(compute_path, "kernels_missing", lambda config, compute: "no Triton")
    with pytest.warns(RuntimeWarning) as told:
        assert built(path).form == "not compiled"
    assert [str(warning.message) for warning in told] == [said]


def test_where_kernels_are_they_stay_though_fp8_cannot_be_had(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(compute_path, "kernels_missing", lambda config, compute: None)
    with pytest.warns(RuntimeWarning, match="FP8 cannot be used here .only beside bfloat16, not torch.float32.: going on"):
        assert built(ComputePath(fp8="early")).form == "Triton kernels, text by sdpa"


def test_kernels_attend_to_text_as_was_chosen_for_it(monkeypatch):
    pytest.importorskip("triton")
    asked, kernel = [], object()
    monkeypatch.setattr(compute_path, "kernels_missing", lambda config, compute: None)
    monkeypatch.setattr(
        compute_path,
        "choose_cross",
        lambda wanted, **shape: asked.append((wanted, shape)) or CrossChoice("kernel", kernel, "kernel: told"),
    )
    form = built(ComputePath(rows="kernels", attention="math", cross="kernel"))
    [(wanted, shape)] = asked
    assert (wanted, shape["text_rows"], shape["image_rows"]) == ("kernel", tiny_debug().model.text_len, 0)
    assert (form.cross_name, form.cross, form.cross_reason) == ("kernel", kernel, "kernel: told")
    assert form.form == "Triton kernels, text by kernel"
    assert form.attend is not attention


@pytest.mark.parametrize("way", ["kernel", "math"])
def test_a_way_of_the_kernels_is_missed_where_there_are_none(way):
    with pytest.warns(
        RuntimeWarning, match=f"cross '{way}' cannot be used here .it is of the Triton .*: going on with sdpa"
    ):
        assert built(ComputePath(cross=way)).cross_reason == "sdpa: others are of the Triton kernels"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built(ComputePath(cross="sdpa"))


def test_weights_in_fp8_are_counted_only_where_they_may_be_held():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    asked = ComputePath(fp8="early")
    assert asked.rounds(cuda)
    assert ComputePath(fp8="all").rounds(cuda)
    for path, device in ((asked, cpu), (ComputePath(), cuda), (ComputePath(fp8="all", fused=False), cuda)):
        assert not path.rounds(device)


@pytest.mark.parametrize("name", ["attention", "cross", "rows"])
def test_unknown_ways_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} 'magic' is unknown: use one of auto, "):
        ComputePath(**{name: "magic"})


@pytest.mark.parametrize("form", [True, False, "", "late"])
def test_unknown_forms_of_fp8_are_refused(form):
    with pytest.raises(ValueError, match=f"fp8 {form!r} is unknown: use one of early, all, or None"):
        ComputePath(fp8=form)
