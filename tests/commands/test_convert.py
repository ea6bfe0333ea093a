from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from motionstream import cli
from motionstream.config import to_json
from motionstream.models.dit import WanDiT
from motionstream.models.load import load_model
from motionstream.presets import preset


def weights() -> dict[str, torch.Tensor]:
    config = preset("tiny-debug")
    torch.manual_seed(0)
    return {name: torch.randn(value.shape) for name, value in WanDiT(config.model).state_dict().items()}


def test_convert_there_and_back(folder: Path, capsys):
    state = weights()
    torch.save({"generator_ema": {f"model._fsdp_wrapped_module.{k}": v for k, v in state.items()}, "step": 7}, "found.pt")
    assert cli.main(["convert", "found.pt", "ours", "--dry-run"]) == 0
    assert not Path("ours").exists()
    said = capsys.readouterr().out
    assert "wan names after 'model.', part 'generator_ema'" in said
    assert "preset   tiny-debug, as the student" in said
    assert "wrote    nothing (--dry-run)" in said
    assert cli.main(["convert", "found.pt", "ours", "--dtype", "bfloat16", "--shard-gb", "0.00005"]) == 0
    assert len(list(Path("ours").glob("student-*.safetensors"))) > 2
    loaded = load_model(preset("tiny-debug"), Path("ours/student.safetensors")).state_dict()
    assert all(torch.equal(loaded[k], v.bfloat16()) for k, v in state.items())
    assert Path("ours/config.json").read_text() == to_json(preset("tiny-debug"))
    for to, written in (("diffusers", "away/diffusion_pytorch_model.safetensors"), ("comfy", "comfy.safetensors")):
        assert cli.main(["convert", "ours", written if to == "comfy" else "away", "--to", to]) == 0
        assert len(load_file(written)) == len(state)
        assert f"wrote    {written}" in capsys.readouterr().out


def test_a_lora_is_merged(folder: Path, capsys):
    save_file(weights(), "base.safetensors")
    name = "base_model.model.blocks.0.self_attn.q"
    save_file({f"{name}.lora_A.weight": torch.ones(2, 48), f"{name}.lora_B.weight": torch.ones(48, 2)}, "lora.safetensors")
    assert cli.main(["convert", "base.safetensors", "ours", "--lora", "lora.safetensors", "--lora-alpha", "1"]) == 0
    assert "merged   1 LoRA modules" in capsys.readouterr().out
    got, before = load_file("ours/student.safetensors"), weights()
    torch.testing.assert_close(got["blocks.0.self_attn.q.weight"], before["blocks.0.self_attn.q.weight"] + 1.0)


def test_what_was_dropped_made_anew_or_added_is_listed(folder: Path, capsys):
    state = weights()
    del state["blocks.0.norm3.bias"], state["track_head.conv.weight"]
    state |= {"more.weight": torch.ones(1), "blocks.1.ffn.0.bias": torch.ones(3)}
    save_file(state, "odd.safetensors")
    convert = ["convert", "odd.safetensors", "ours", "--preset", "tiny-debug"]
    assert cli.main([*convert, "--allow-partial"]) == 0
    said = capsys.readouterr().out
    assert "missing  2 (blocks.0.norm3.bias, track_head.conv.weight): made anew" in said
    assert "dropped  1 (more.weight)" in said
    assert "reshaped 1 (blocks.1.ffn.0.bias)" in said
    del state["more.weight"], state["blocks.1.ffn.0.bias"]
    state |= {name: value for name, value in weights().items() if name in ("blocks.0.norm3.bias", "blocks.1.ffn.0.bias")}
    state["patch_embedding.weight"] = state["patch_embedding.weight"][:, :13].clone()
    save_file(state, "base.safetensors")
    assert cli.main(["convert", "base.safetensors", "wider", "--preset", "tiny-debug"]) == 0
    said = capsys.readouterr().out
    assert "added    2 (patch_embedding.weight, track_head.conv.weight): the output stays what it was" in said


def test_mistakes_are_one_sentence(folder: Path, check_sentence):
    def refused(words: str, *arguments: str) -> None:
        assert cli.main(["convert", *arguments]) == 2
        check_sentence(words)

    save_file({k: v for k, v in weights().items() if k != "blocks.0.norm3.bias"}, "base.safetensors")
    refused("1 tensors missing (blocks.0.norm3.bias)", "base.safetensors", "ours")
    refused("unknown preset 'wan3'", "base.safetensors", "ours", "--preset", "wan3")
    refused("does not fit wan2.1-1.3b-t2v", "base.safetensors", "ours", "--preset", "wan2.1-1.3b-t2v")
    refused("none.pt does not exist", "none.pt", "ours")
    refused("invalid choice: 'onnx'", "base.safetensors", "ours", "--to", "onnx")
    refused("photo.png is neither .safetensors nor", "photo.png", "ours")
    refused("--to self-forcing writes one .pt", "base.safetensors", "o.pt", "--to", "self-forcing", "--shard-gb", "1",
            "--allow-partial")  # fmt: skip
    refused("--lora-alpha is of a --lora, and none is given", "base.safetensors", "ours", "--lora-alpha", "4")
    assert not Path("ours").exists()
