import pytest
import torch

from motionstream.device import choose_compute
from motionstream.nn import attention_choice
from motionstream.nn.attention import attention, attention_products
from motionstream.nn.attention_choice import SCORES, choose_attention

SHAPES = {"queries": 12, "keys": 36, "heads": 2, "head_dim": 16}
CPU = choose_compute("cpu", "float32")


def with_ways(monkeypatch, **ways):
    monkeypatch.setattr(attention_choice, "ways", lambda device: {name: (lambda way=way: way) for name, way in ways.items()})


def wrong(q, k, v):
    return attention(q, k, v) * 1.01


def slow(q, k, v):
    for _ in range(60):
        out = attention(q, k, v)
    return out


def absent(q, k, v):
    raise RuntimeError("no kernel image is available")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_here_it_is_torchs_own_and_right(dtype):
    choice = choose_attention("auto", **SHAPES, compute=choose_compute("cpu", dtype))
    assert choice.name == "sdpa"
    assert choice.kernel is attention
    assert "only way on cpu" in choice.reason


LARGE = {"queries": 432, "keys": 1728, "heads": 4, "head_dim": 64}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_scores_are_many_products_are_tried_too(dtype):
    choice = choose_attention("auto", **LARGE, compute=choose_compute("cpu", dtype))
    assert set(choice.found) == {"sdpa", "products"}
    assert all(isinstance(ms, float) for ms in choice.found.values()), choice.found
    assert choice.kernel in (attention, attention_products)


@pytest.mark.parametrize(("delay", "chosen"), [(0.85, "sdpa"), (0.5, "products")])
def test_products_must_be_faster_by_a_quarter(monkeypatch, delay, chosen):
    """What is chosen must not hang on the noise of a clock: the last bits of a replayed take do."""
    monkeypatch.setattr(attention_choice, "milliseconds", lambda kernel, *_: 10.0 if kernel is attention else 10.0 * delay)
    choice = choose_attention("auto", **LARGE, compute=CPU)
    assert choice.name == chosen
    assert ("nothing tested is clearly faster" in choice.reason) == (chosen == "sdpa")


def test_cuts_are_left_out_where_keys_are_few(monkeypatch):
    monkeypatch.setattr(attention_choice, "ways", lambda device: {"sdpa": lambda: attention, "cudnn-2": lambda: attention})
    assert set(choose_attention("auto", **SHAPES, compute=CPU).found) == {"sdpa", "cudnn-2"}
    assert set(choose_attention("auto", **SHAPES, compute=CPU, whole=True).found) == {"sdpa"}


def test_so_many_scores_are_not_held_at_once():
    assert 4680 * 14040 * 12 not in SCORES
    choice = choose_attention("auto", queries=4096, keys=8193, heads=2, head_dim=8, compute=CPU)
    assert choice.name == "sdpa"


def test_the_fastest_that_is_right_is_chosen(monkeypatch):
    with_ways(monkeypatch, slow=slow, wrong=wrong, absent=absent, sdpa=attention)
    choice = choose_attention("auto", **SHAPES, compute=CPU)
    assert choice.kernel is attention
    assert choice.reason.startswith("sdpa: fastest of those tested")
    assert choice.found["slow"] > choice.found["sdpa"]
    assert "numerically wrong" in choice.found["wrong"]
    assert choice.found["absent"] == "no kernel image is available"


@pytest.mark.parametrize(
    ("name", "why"), [("flash", "numerically wrong"), ("cudnn", "no kernel image"), ("fa3", "none for cpu")]
)
def test_one_that_cannot_be_used_falls_back_and_says_so(monkeypatch, name, why):
    with_ways(monkeypatch, sdpa=attention, flash=wrong, cudnn=absent)
    with pytest.warns(RuntimeWarning, match=f"attention '{name}' cannot be used here .*{why}"):
        choice = choose_attention(name, **SHAPES, compute=CPU)
    assert choice.kernel is attention
    assert why in choice.reason


def test_one_that_is_asked_for_and_works_is_used(monkeypatch):
    with_ways(monkeypatch, sdpa=attention, flash=slow)
    choice = choose_attention("flash", **SHAPES, compute=CPU)
    assert choice.kernel is slow
    assert "you asked for it" in choice.reason


def test_if_all_are_wrong_the_plain_one_is_used(monkeypatch):
    with_ways(monkeypatch, sdpa=wrong, flash=absent)
    with pytest.warns(RuntimeWarning, match="no attention passed its test"):
        choice = choose_attention("auto", **SHAPES, compute=CPU)
    q, k, v = (torch.randn(1, 5, 2, 8) for _ in range(3))
    torch.testing.assert_close(choice.kernel(q, k, v), attention(q, k, v))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="attention 'magic' is unknown: use one of auto, sdpa"):
        choose_attention("magic", **SHAPES, compute=CPU)


@pytest.mark.gpu
@pytest.mark.parametrize("name", attention_choice.NAMES)
def test_every_way_on_a_gpu_is_right_or_says_why_not(name):
    compute = choose_compute("cuda", "bfloat16")
    missing = name == "products" or (name == "fa3" and not _has_kernels())
    with pytest.warns(RuntimeWarning) if missing else _quiet():
        choice = choose_attention(name, queries=4680, keys=14040, heads=12, head_dim=128, compute=compute)
    assert choice.reason


def _has_kernels() -> bool:
    import importlib.util

    return importlib.util.find_spec("kernels") is not None


def _quiet():
    import contextlib

    return contextlib.nullcontext()


def test_a_way_that_is_wrong_at_its_end_alone_is_found(monkeypatch):
    def wrong(q, k, v):
        out = attention(q, k, v)
        out[:, -1] *= 2
        return out

    monkeypatch.setattr(attention_choice, "ways", lambda device: {"sdpa": lambda: attention, "cudnn-tail": lambda: wrong})
    choice = choose_attention("auto", **{**SHAPES, "queries": 400}, compute=CPU)
    assert choice.name == "sdpa"
    assert "numerically wrong" in choice.found["cudnn-tail"]
