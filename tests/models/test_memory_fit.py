"""The ladder from what costs nothing to what costs most, and advice that holds when it is followed."""

import re
from dataclasses import replace

import pytest

from motionstream.models.memory_fit import fit_memory
from motionstream.models.memory_plan import MemoryOptions, plan_memory
from motionstream.presets import preset

GB = 10**9


def test_a_large_gpu_gives_nothing_up():
    plan, words = fit_memory(preset("wan2.1-1.3b"), "stream", 80 * GB)
    assert words.endswith("nothing given up")
    assert (plan.options.weights, plan.options.encoders, plan.options.decoder) == ("float32", "gpu", "full")
    assert plan.total == plan_memory(preset("wan2.1-1.3b"), "stream", options=plan.options).total


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "nano"])
def test_less_memory_gives_more_up(name: str):
    config, budget, seen = preset(name), 200 * GB, []
    while True:
        try:
            plan, words = fit_memory(config, "stream", budget)
        except ValueError as error:
            sentence = str(error)
            break
        assert plan.total <= budget
        seen.append((plan.options, words))
        budget = plan.total - 1
    assert len(seen) == (4 if config.vae_kind != "nano" else 1)
    assert len({options for options, _ in seen}) == len(seen)
    if config.vae_kind != "nano":
        assert "tiny decoder" in seen[-1][1]
        assert "in bfloat16" in seen[1][1]
    # Follow the advice.
    advised = re.search(r"--fit (\d+)GB", sentence)
    assert advised is not None
    fit_memory(config, "stream", int(advised[1]) * GB)


def test_training_ladder():
    config = replace(preset("nano"), model=replace(preset("nano").model, num_layers=2), clip_frames=21)
    whole = plan_memory(config, "teacher").total
    plan, words = fit_memory(config, "teacher", whole)
    assert words.endswith("nothing given up")
    plan, words = fit_memory(config, "teacher", whole - 1)
    assert plan.options.checkpointing
    assert "does not do this yet" in words
    plan, words = fit_memory(config, "teacher", whole - 1, gpus=2)
    assert (plan.options.sharded, plan.options.checkpointing) == (True, False)
    with pytest.raises(ValueError, match=r"needs at least .* \(predicted\), 1\.0 MB is too little: more GPUs do not help"):
        fit_memory(config, "teacher", 10**6)
    options = MemoryOptions(batch=2)
    assert fit_memory(config, "teacher", 10 * whole, options=options)[0].options.batch == 2


def test_more_gpus_are_proposed():
    config = preset("wan2.2-5b")
    least = plan_memory(config, "teacher", options=MemoryOptions(checkpointing=True)).total
    with pytest.raises(ValueError, match=r"such GPUs would do") as caught:
        fit_memory(config, "teacher", int(0.7 * least))
    gpus = re.search(r"--gpus (\d+)", str(caught.value))
    assert gpus is not None
    plan, words = fit_memory(config, "teacher", int(0.7 * least), gpus=int(gpus[1]))
    assert plan.gpus == int(gpus[1]) > 1
    assert "FSDP" in words
