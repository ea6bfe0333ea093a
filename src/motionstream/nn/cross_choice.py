"""How to attend to a prompt and a picture's rows here: in one kernel, or in calls of an attention; tested and timed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from motionstream.device import Compute
from motionstream.nn.attention import Attention, attention_reference
from motionstream.nn.attention_choice import NAMES, TOLERANCE, choose_attention, milliseconds

Keys = tuple[Tensor, Tensor]
Cross = Callable[[Tensor, Keys, Tensor | None, Keys | None], Tensor]
"""q ``(B, L, A, E)``, keys and values of text, rows of the prompt (None: not known) and keys and values of the picture or
None -> ``(B, L, A, E)``."""
CROSS_NAMES = (*NAMES, "kernel")
PROMPT_SHARE = 4
"""A prompt of a quarter of the rows there are is what is timed."""


@dataclass(frozen=True)
class CrossChoice:
    """The way chosen, and why: milliseconds of a call, or why the kernel is not it."""

    name: str
    kernel: Cross
    reason: str


def in_calls(attend: Attention) -> Cross:
    """Calls of ``attend`` and their sum, which do not ask where the prompt ends."""

    def cross(q: Tensor, text: Keys, prompt_rows: Tensor | None, image: Keys | None) -> Tensor:
        seen = attend(q, *text)
        return seen if image is None else seen + attend(q, *image)

    return cross


def choose_cross(
    wanted: str, *, queries: int, text_rows: int, image_rows: int, heads: int, head_dim: int, compute: Compute
) -> CrossChoice:
    """The faster one of those that compute the right numbers.

    Args:
        wanted: "auto", or one of `CROSS_NAMES`, which is taken where it is present and right; else a warning says why not.
        image_rows: 0 for models that read none.

    Raises:
        ValueError: ``wanted`` is no way's name.
    """
    if wanted not in CROSS_NAMES:
        raise ValueError(f"cross {wanted!r} is unknown: use one of {', '.join(CROSS_NAMES)}")
    shape = {"heads": heads, "head_dim": head_dim}
    calls = "auto" if wanted == "kernel" else wanted
    found = choose_attention(calls, queries=queries, keys=text_rows, compute=compute, whole=True, **shape)
    several = in_calls(found.kernel)
    if wanted not in ("auto", "kernel"):
        return CrossChoice(found.name, several, found.reason)
    try:
        one = _one_pass(head_dim, several)
        inputs = _inputs(queries, text_rows, image_rows, heads, head_dim, compute)
        why = _error(one, inputs, compute.dtype)
        if why is None and wanted == "kernel":
            return CrossChoice("kernel", one, "kernel: you asked for it, and it computes the right numbers")
        if why is None:
            kernel, other = (milliseconds(way, inputs, compute.device) for way in (one, several))
            if kernel < other:
                return CrossChoice("kernel", one, f"kernel: {kernel:.3f} ms, {found.name} in calls {other:.3f} ms")
            return CrossChoice(
                found.name, several, f"{found.name}: {other:.3f} ms, the kernel {kernel:.3f} ms; {found.reason}"
            )
    except Exception as failure:  # no Triton, or a GPU that it does not know: the calls do the same
        why = " ".join(str(failure).split())[:160] or type(failure).__name__
    if wanted == "kernel":
        warnings.warn(f"cross 'kernel' cannot be used here ({why}): going on with {found.name}", RuntimeWarning)
    return CrossChoice(found.name, several, f"{found.name}: the kernel cannot be used ({why}); {found.reason}")


def _one_pass(head_dim: int, several: Cross) -> Cross:
    """The kernel, for one stream whose prompt's rows are known; ``several`` for all else."""
    from motionstream.nn import cross_kernel

    if head_dim not in cross_kernel.WIDTHS:
        raise ValueError(f"heads of {head_dim} numbers are not of {cross_kernel.WIDTHS}")

    def cross(q: Tensor, text: Keys, prompt_rows: Tensor | None, image: Keys | None) -> Tensor:
        given = (q, *text, *(image or ()))
        if prompt_rows is None or any(len(part) != 1 or not part.is_contiguous() for part in given):
            return several(q, text, prompt_rows, image)
        return cross_kernel.attend_to_both(q, text, prompt_rows, image)

    return cross


def _inputs(
    queries: int, text_rows: int, image_rows: int, heads: int, head_dim: int, compute: Compute
) -> tuple[Tensor, Keys, Tensor, Keys | None]:
    generator = torch.Generator(compute.device).manual_seed(0)

    def random(rows: int) -> Tensor:
        drawn = torch.randn(1, rows, heads, head_dim, generator=generator, device=compute.device, dtype=torch.float32)
        return drawn.to(compute.dtype)

    prompt = max(1, text_rows // PROMPT_SHARE)
    text = random(text_rows), random(text_rows)
    for part in text:
        part[:, prompt:] = part[:, prompt : prompt + 1]
    image = (random(image_rows), random(image_rows)) if image_rows else None
    return random(queries), text, torch.tensor([prompt], dtype=torch.int32, device=compute.device), image


@torch.inference_mode()
def _error(cross: Cross, inputs: tuple[Tensor, Keys, Tensor, Keys | None], dtype: torch.dtype) -> str | None:
    """What is wrong with the numbers of ``cross``; None if nothing is."""
    q, text, rows, image = inputs
    got, wanted = cross(q, text, rows, image), in_calls(attention_reference)(q.double(), text, rows, image)
    if got.dtype != dtype:
        return f"gives {got.dtype} for {dtype}"
    error, limit = float((got.double() - wanted).norm() / wanted.norm()), TOLERANCE[dtype]
    return None if error <= limit else f"numerically wrong: relative error {error:.1e}, more than {limit:.0e}"
