"""One pass over a prompt and a picture is two calls and their sum. The kernel: on a GPU, or with ``TRITON_INTERPRET=1``."""

import importlib.util
import os

import pytest
import torch

from motionstream.device import choose_compute
from motionstream.models.text import HashedWords, prompt_rows
from motionstream.nn import cross_choice
from motionstream.nn.attention import attention, attention_reference
from motionstream.nn.cross_choice import choose_cross, in_calls

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
HALF = torch.float16 if INTERPRETED else torch.bfloat16  # the interpreter has no products in bfloat16
CPU = choose_compute("cpu", "float32")
SHAPES = {"queries": 6, "text_rows": 8, "image_rows": 5, "heads": 2, "head_dim": 16}
with_kernel = [pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")]
with_kernel += [] if INTERPRETED else [pytest.mark.gpu]


def random(*shape: int, seed: int = 0, device: str = "cpu") -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def test_without_triton_it_is_calls(monkeypatch):
    def absent(head_dim, several):
        raise ModuleNotFoundError("No module named 'triton'")

    monkeypatch.setattr(cross_choice, "_one_pass", absent)
    found = choose_cross("auto", **SHAPES, compute=CPU)
    assert found.name == "sdpa"
    assert found.reason == "sdpa: the kernel cannot be used (No module named 'triton'); sdpa: the only way on cpu, tested"
    cross = found.kernel
    q, text = random(1, 6, 2, 16), (random(1, 8, 2, 16), random(1, 8, 2, 16, seed=1))
    assert torch.equal(cross(q, text, None, None), attention(q, *text))
    image = random(1, 5, 2, 16, seed=2), random(1, 5, 2, 16, seed=3)
    assert torch.equal(cross(q, text, None, image), attention(q, *text) + attention(q, *image))


@pytest.mark.parametrize(
    ("kernel_ms", "error", "wanted", "said"),
    [
        (1.0, 0.0, "auto", "kernel: 1.000 ms, sdpa in calls 2.000 ms"),
        (3.0, 0.0, "auto", "sdpa: 2.000 ms, the kernel 3.000 ms; sdpa: "),
        (1.0, 0.1, "auto", "sdpa: the kernel cannot be used (numerically wrong: relative error 1.0e-01, more than 1e-04); "),
        (3.0, 0.0, "kernel", "kernel: you asked for it, and it computes the right numbers"),
        (1.0, 0.0, "sdpa", "sdpa: you asked for it"),
    ],
)
def test_the_kernel_must_be_right_and_faster(monkeypatch, kernel_ms, error, wanted, said):
    def kernel(q, text, rows, image):
        return in_calls(attention)(q, text, rows, image) * (1 + error)

    monkeypatch.setattr(cross_choice, "_one_pass", lambda head_dim, several: kernel)
    monkeypatch.setattr(cross_choice, "milliseconds", lambda way, *_: kernel_ms if way is kernel else 2.0)
    found = choose_cross(wanted, **SHAPES, compute=CPU)
    assert found.reason.startswith(said)
    assert found.name == said.split(":")[0]
    assert (found.kernel is kernel) == (found.name == "kernel")


@pytest.mark.parametrize(
    ("fault", "why"),
    [("wrong", "numerically wrong: relative error"), ("broken", "no such GPU"), ("type", "gives torch.float64")],
)
def test_a_kernel_that_was_asked_for_and_cannot_be_used_is_said(monkeypatch, fault, why):
    def kernel(q, text, rows, image):
        if fault == "broken":
            raise RuntimeError("no such GPU")
        seen = in_calls(attention)(q, text, rows, image)
        return seen * 1.1 if fault == "wrong" else seen.double()

    monkeypatch.setattr(cross_choice, "_one_pass", lambda head_dim, several: kernel)
    with pytest.warns(RuntimeWarning, match=f"cross 'kernel' cannot be used here .{why}.*: going on with sdpa"):
        found = choose_cross("kernel", **SHAPES, compute=CPU)
    assert found.name == "sdpa"
    assert found.reason.startswith(f"sdpa: the kernel cannot be used ({why}")


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="cross 'magic' is unknown: use one of auto, sdpa"):
        choose_cross("magic", **SHAPES, compute=CPU)


def test_rows_of_a_prompt():
    text = HashedWords(8, 5)
    assert [prompt_rows(text([prompt])) for prompt in ("", "red", "a red ball moves", "one two three four five six")] == [
        0, 1, 3, 5,
    ]  # fmt: skip


@pytest.mark.parametrize("case", ["several streams", "views", "rows not known"])
def test_what_the_kernel_does_not_take_is_left_to_calls(monkeypatch, case):
    pytest.importorskip("triton")
    from motionstream.nn import cross_kernel as kernel

    monkeypatch.setattr(kernel, "attend_to_both", lambda *_: pytest.fail("not for it"))
    q, k = random(2 if case == "several streams" else 1, 6, 2, 16), random(1, 16, 2, 16)[:, :: 2 if case == "views" else 1]
    text = (k.expand(len(q), -1, -1, -1), k.expand(len(q), -1, -1, -1))
    rows = None if case == "rows not known" else torch.tensor([3], dtype=torch.int32)
    one = cross_choice._one_pass(16, in_calls(attention))
    assert torch.equal(one(q, text, rows, None), attention(q, *text))


class TestKernel:
    pytestmark = with_kernel

    @pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (HALF, 1e-2)], ids=str)
    @pytest.mark.parametrize("prompt", [0, 1, 63, 64, 100, 149, 150])
    @pytest.mark.parametrize("image_rows", [0, 70])
    def test_it_is_the_definition(self, prompt, image_rows, dtype, limit):
        from motionstream.nn.cross_kernel import attend_to_both

        q = random(1, 200, 2, 32, device=DEVICE).to(dtype) * 2
        text = [random(1, 150, 2, 32, seed=n, device=DEVICE).to(dtype) for n in (1, 2)]
        for part in text:
            part[:, prompt:] = part[:, prompt : prompt + 1]
        image = [random(1, image_rows, 2, 32, seed=n, device=DEVICE).to(dtype) for n in (3, 4)] if image_rows else None
        rows = torch.tensor([prompt], dtype=torch.int32, device=DEVICE)
        got = attend_to_both(q, tuple(text), rows, image and tuple(image))
        wanted = in_calls(attention_reference)(q.double(), tuple(text), None, image and tuple(image))
        assert got.dtype == dtype
        assert float((got.double() - wanted).norm() / wanted.norm()) < limit

    def test_keys_in_float32_are_read_in_the_type_of_the_queries(self):
        from motionstream.nn.cross_kernel import attend_to_both

        q, k, v = (random(1, 40, 2, 16, seed=n, device=DEVICE) for n in range(3))
        rows = torch.tensor([40], dtype=torch.int32, device=DEVICE)
        got = attend_to_both(q.to(HALF), (k, v), rows)
        wanted = attention_reference(q.double(), k, v)
        assert float((got.double() - wanted).norm() / wanted.norm()) < 1e-2
