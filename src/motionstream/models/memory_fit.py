"""What to give up so that a preset fits into a given memory, in words.

plan, words = fit_memory(preset("wan2.1-1.3b"), "stream", 24 * 10**9)
"""

from __future__ import annotations

from dataclasses import replace

from motionstream.config import PresetConfig
from motionstream.models.memory_plan import MemoryOptions, MemoryPlan, plan_memory

BF16_WEIGHTS = "weights in bfloat16 (products are taken in it anyway)"
BF16_REAL = "the frozen real score and the VAE in bfloat16 (`motionstream train` keeps them in float32 yet)"
ON_PROCESSOR = "text and picture encoders on the processor (seconds for a new prompt; known ones are remembered)"
TINY = "the tiny decoder in place of Wan's (less sharp: paper, table A1)"
SHARDED = "weights, gradients and optimiser split over the GPUs (FSDP; `motionstream train` does not do this yet)"
CHECKPOINTED = "blocks recomputed in the backward pass (about a third more time; `motionstream train` does not do this yet)"
MOST_GPUS = 64


def fit_memory(
    config: PresetConfig, purpose: str, budget: int, *, gpus: int = 1, options: MemoryOptions | None = None
) -> tuple[MemoryPlan, str]:
    """The first of the ways below, from what costs nothing to what costs most, that fits ``budget`` bytes a GPU.

    Args:
        options: compute type and batch to keep; the rest is chosen here.

    Returns:
        The plan, and a sentence that says what was chosen and why.

    Raises:
        ValueError: none fits; the sentence says what would.
    """
    options = options or MemoryOptions()
    plans = []
    for chosen, words in _ways(config, purpose, gpus, options):
        plan = plan_memory(config, purpose, gpus=gpus, options=chosen)
        plans.append(plan)
        if plan.total <= budget:
            return plan, _sentence(plans, words, budget)
    raise ValueError(_nothing_fits(config, purpose, budget, gpus, options, min(plan.total for plan in plans)))


def _ways(config: PresetConfig, purpose: str, gpus: int, options: MemoryOptions) -> list[tuple[MemoryOptions, list[str]]]:
    """Settings in order of preference, each with what it gives up."""
    wan = config.vae_kind != "nano"
    if purpose == "stream":
        whole = replace(options, weights="float32", encoders="gpu", decoder="full")
        ways: list[tuple[MemoryOptions, list[str]]] = [(whole, [])]
        words: list[str] = []
        if wan and options.compute == "bfloat16":
            whole, words = replace(whole, weights="bfloat16"), [BF16_WEIGHTS]
            ways.append((whole, words))
        if wan:
            whole, words = replace(whole, encoders="cpu"), [*words, ON_PROCESSOR]
            ways += [(whole, words), (replace(whole, decoder="tiny"), [*words, TINY])]
        return ways
    whole = replace(options, weights="float32", checkpointing=False, sharded=False)
    ways = [(whole, [])]
    words = []
    if purpose == "distill" and options.compute == "bfloat16":
        whole, words = replace(whole, weights="bfloat16"), [BF16_REAL]
        ways.append((whole, words))
    if gpus > 1:
        ways.append((replace(whole, sharded=True), [*words, SHARDED]))
    ways.append((replace(whole, checkpointing=True), [*words, CHECKPOINTED]))
    if gpus > 1:
        ways.append((replace(whole, sharded=True, checkpointing=True), [*words, SHARDED, CHECKPOINTED]))
    return ways


def _sentence(plans: list[MemoryPlan], words: list[str], budget: int) -> str:
    plan = plans[-1]
    where = f"{plan.preset} {plan.purpose}: predicted {gigabytes(plan.total)} of {gigabytes(budget)}{_each(plan.gpus)}"
    if len(plans) == 1:
        return f"{where}, nothing given up"
    return f"{where}, with {'; '.join(words)}. As it is it would need {gigabytes(plans[0].total)}"


def _nothing_fits(config: PresetConfig, purpose: str, budget: int, gpus: int, options: MemoryOptions, least: int) -> str:
    needed = f"{gigabytes(least)}{_each(gpus)} (predicted)"
    found = f"{config.name} {purpose} needs at least {needed}, {gigabytes(budget)} is too little"
    if purpose == "stream":
        smaller = ", or take a smaller preset (nano)" if config.vae_kind != "nano" else ""
        return f"{found}: give --fit {_rounded_up(least)}{smaller}"
    more = gpus
    while (more := 2 * more) <= MOST_GPUS:
        least_of_more = _ways(config, purpose, more, options)[-1][0]
        if plan_memory(config, purpose, gpus=more, options=least_of_more).total <= budget:
            return f"{found}: {more} such GPUs would do (--gpus {more}), or one GPU size with --fit {_rounded_up(least)}"
    return f"{found}: more GPUs do not help, give --fit {_rounded_up(least)} or train on shorter clips"


def _each(gpus: int) -> str:
    return "" if gpus == 1 else f" on each of {gpus} GPUs"


def _rounded_up(size: int) -> str:
    return f"{-(-size // 10**9)}GB"


def gigabytes(size: int) -> str:
    """Bytes in units of 10**9 (as memory is sold) or 10**6.

    >>> gigabytes(24_000_000_000), gigabytes(5_100_000)
    ('24.0 GB', '5.1 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
