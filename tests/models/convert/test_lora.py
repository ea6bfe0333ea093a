"""LoRA merge: in every naming the merged weight is ``W + (alpha / r) B A``; a LoRA of another base is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from motionstream.models.convert.keys import to_diffusers
from motionstream.models.convert.transfer import Conversion, convert
from motionstream.models.load import load_model

MODULES = ["blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.1.ffn.0"]
SHAPES = {"blocks.0.self_attn.q": (32, 32), "blocks.1.cross_attn.o": (32, 32), "blocks.1.ffn.0": (48, 32)}


def diffusers_module(module: str) -> str:
    name = to_diffusers(f"{module}.weight")
    assert name is not None
    return name.removesuffix(".weight")


def matrices(rank: int = 3, width: int = 32) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return {
        module: (torch.randn(rank, width, generator=generator), torch.randn(SHAPES[module][0], rank, generator=generator))
        for module in MODULES
    }


NAMES: dict[str, Callable[[str], tuple[str, str]]] = {
    "peft": lambda m: (f"base_model.model.{m}.lora_A.weight", f"base_model.model.{m}.lora_B.weight"),
    "peft, adapter": lambda m: (
        f"base_model.model.{m}.lora_A.default.weight",
        f"base_model.model.{m}.lora_B.default.weight",
    ),
    "peft, fsdp": lambda m: (
        f"base_model.model._fsdp_wrapped_module.{m}.lora_A.weight",
        f"base_model.model.{m}.lora_B.weight",
    ),
    "peft, wrapper": lambda m: (f"base_model.model.model.{m}.lora_A.weight", f"base_model.model.model.{m}.lora_B.weight"),
    "comfy": lambda m: (f"diffusion_model.{m}.lora_down.weight", f"diffusion_model.{m}.lora_up.weight"),
    "diffusers": lambda m: (
        f"transformer.{diffusers_module(m)}.lora_A.weight",
        f"transformer.{diffusers_module(m)}.lora_B.weight",
    ),
    "kohya": lambda m: (
        f"lora_unet_{m.replace('.', '_')}.lora_down.weight",
        f"lora_unet_{m.replace('.', '_')}.lora_up.weight",
    ),
}


def merge(folder: Path, make_preset, make_model, lora: dict[str, Tensor], **options):
    """The weights before and after a merge."""
    preset = make_preset("t2v")
    base = make_model(preset)
    save_file(base.state_dict(), folder / "base.safetensors")
    torch.save({"generator_lora": lora, "critic_lora": {"x": torch.ones(1)}}, folder / "lora.pt")
    job = Conversion(
        source=folder / "base.safetensors", target=folder / "ours", preset=preset, lora=folder / "lora.pt", **options
    )
    report = convert(job)
    return base.state_dict(), load_model(preset, folder / "ours" / "student.safetensors").state_dict(), report


@pytest.mark.parametrize("naming", NAMES)
@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (6.0, 2.0)])
def test_merged_in_every_naming(tmp_path, make_preset, make_model, naming, alpha, scale):
    pairs = matrices()
    lora = {}
    for module, (down, up) in pairs.items():
        down_name, up_name = NAMES[naming](module)
        lora |= {down_name: down, up_name: up}
    before, after, report = merge(tmp_path, make_preset, make_model, lora, lora_alpha=alpha)
    assert report.merged == 3
    for name, weight in before.items():
        module = name.removesuffix(".weight")
        if module in pairs and name.endswith("weight"):
            down, up = pairs[module]
            torch.testing.assert_close(after[name], weight + scale * up @ down)
            assert (after[name] - weight).abs().max() > 0.1
        else:
            assert torch.equal(after[name], weight), name


def test_alpha_in_the_file_counts(tmp_path, make_preset, make_model):
    down, up = matrices()[MODULES[0]]
    names = NAMES["kohya"](MODULES[0])
    alpha_name = names[0].replace("lora_down.weight", "alpha")
    lora = {names[0]: down, names[1]: up, alpha_name: torch.tensor(1.5)}
    before, after, _ = merge(tmp_path, make_preset, make_model, lora, lora_alpha=99.0)
    name = f"{MODULES[0]}.weight"
    torch.testing.assert_close(after[name], before[name] + 0.5 * up @ down)


def test_loras_that_do_not_belong(tmp_path, make_preset, make_model):
    def refused(words: str, lora: dict[str, Tensor]) -> None:
        with pytest.raises(ValueError, match=words) as error:
            merge(tmp_path, make_preset, make_model, lora)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "ours").exists()

    down, up = matrices()[MODULES[0]]
    a, b = NAMES["peft"](MODULES[0])
    refused("LoRA of another base: blocks.0.self_attn.q has .3, 64. and .32, 3. there, the base's weight is .32, 32.",
            {a: torch.ones(3, 64), b: up})  # fmt: skip
    deep = {name.replace("blocks.0", "blocks.39"): value for name, value in ((a, down), (b, up))}
    refused(r"LoRA of another base: 1 of its 1 modules are not in this one \(blocks.39.self_attn.q\)", deep)
    flux = {
        "transformer.single_transformer_blocks.0.proj.lora_A.weight": down,
        "transformer.single_transformer_blocks.0.proj.lora_B.weight": up,
    }
    refused("LoRA of another base", flux)
    refused(r"lacks a half of 1 LoRA pairs \(blocks.0.self_attn.q\)", {a: down})
    refused("has no rows, a LoRA of rank 0", {a: torch.ones(0, 32), b: torch.ones(32, 0)})
    refused("holds no LoRA matrices", {"blocks.0.self_attn.q.weight": up})
    refused("1 tensors besides LoRA matrices", {a: down, b: up, "blocks.0.self_attn.q.dora_scale": up})
    for name, part in (("q.diff_b", up), ("gone.diff", up)):
        refused("LoRA of another base: blocks.0.self_attn", {a: down, b: up, f"blocks.0.self_attn.{name}": part})


def test_differences_of_biases_and_norms_are_added(tmp_path, make_preset, make_model):
    """As ComfyUI's files have them."""
    lora = {}
    for module, (down, up) in matrices().items():
        a, b = NAMES["comfy"](module)
        lora |= {a: down, b: up}
    shift = torch.linspace(-1, 1, 32)
    lora["diffusion_model.blocks.0.self_attn.q.diff_b"] = shift
    lora["diffusion_model.blocks.1.norm3.diff"] = 2 * shift
    before, after, _ = merge(tmp_path, make_preset, make_model, lora)
    torch.testing.assert_close(after["blocks.0.self_attn.q.bias"], before["blocks.0.self_attn.q.bias"] + shift)
    torch.testing.assert_close(after["blocks.1.norm3.weight"], before["blocks.1.norm3.weight"] + 2 * shift)
    down, up = matrices()["blocks.0.self_attn.q"]
    torch.testing.assert_close(after["blocks.0.self_attn.q.weight"], before["blocks.0.self_attn.q.weight"] + up @ down)


@pytest.mark.parametrize("keeper", ["peft", "diffusers"])
def test_alpha_of_the_training_counts(tmp_path, make_preset, make_model, keeper):
    preset, (down, up) = make_preset("t2v"), matrices()[MODULES[0]]
    base = make_model(preset)
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    lora = dict(zip(NAMES[keeper](MODULES[0]), (down, up), strict=True))
    (tmp_path / "lora").mkdir()

    def merged(settings: dict[str, object]) -> Tensor:
        if keeper == "peft":
            save_file(lora, tmp_path / "lora" / "adapter_model.safetensors")
            (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(settings))
        else:
            raw = json.dumps({f"transformer.{name}": value for name, value in settings.items()})
            save_file(lora, tmp_path / "lora" / "x.safetensors", metadata={"lora_adapter_metadata": raw})
        job = Conversion(
            source=tmp_path / "base.safetensors",
            target=tmp_path / "ours",
            preset=preset,
            lora=tmp_path / "lora",
            lora_alpha=99.0,
        )
        convert(job)
        return load_model(preset, tmp_path / "ours" / "student.safetensors").state_dict()[f"{MODULES[0]}.weight"]

    weight = base.state_dict()[f"{MODULES[0]}.weight"]
    torch.testing.assert_close(
        merged({"r": 3, "lora_alpha": 6, "use_rslora": False, "alpha_pattern": {}}), weight + 2 * up @ down
    )
    torch.testing.assert_close(merged({"r": 3}), weight + 33 * up @ down)
    for settings in ({"lora_alpha": 6, "use_rslora": True}, {"lora_alpha": 6, "alpha_pattern": {"ffn": 2}}):
        with pytest.raises(ValueError, match=r"sets (use_rslora|alpha_pattern), which is not merged here"):
            merged(settings)
    with pytest.raises(ValueError, match=r"LoRA settings in .* are damaged"):
        merged({"lora_alpha": [6]})
