"""New channels and branches change nothing at first, and learn; everything else that does not fit is listed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motionstream.config import PresetConfig
from motionstream.models.convert.transfer import Conversion, convert
from motionstream.models.dit import Condition, WanDiT
from motionstream.models.load import load_model


def brought_to(folder: Path, base: WanDiT, preset: PresetConfig) -> WanDiT:
    """``base`` through convert to a preset with more inputs."""
    folder.mkdir(exist_ok=True)
    save_file(base.state_dict(), folder / "base.safetensors")
    convert(Conversion(source=folder / "base.safetensors", target=folder / "ours", preset=preset))
    return load_model(preset, folder / "ours" / "teacher.safetensors")


def condition_for(model: WanDiT, preset: PresetConfig, seed: int = 0) -> Condition:
    generator, config = torch.Generator().manual_seed(seed), preset.model
    text = torch.randn(2, config.text_len, config.text_dim, generator=generator)
    known = torch.randn(2, 3, config.latent_channels, 4, 6, generator=generator)
    track_map = torch.randn(2, 9, config.tracks.code_dim, 4, 6, generator=generator)
    rows = torch.randn(2, 7, max(config.image_dim, 1), generator=generator)
    return Condition(
        first_latent=known[:, :1],
        track_latents=None if model.track_head is None else model.track_head(track_map),
        text=model.embed_text(text),
        image=model.embed_image(rows) if config.image_dim else None,
        picture_latents=known,
    )


def run(model: WanDiT, preset: PresetConfig, seed: int = 0) -> torch.Tensor:
    noisy = torch.randn(2, 3, preset.model.latent_channels, 4, 6, generator=torch.Generator().manual_seed(seed + 1))
    condition = condition_for(model, preset, seed)
    timestep = torch.full((2, 3), 900.0)
    return model(model.assemble(noisy, condition), timestep, condition.text, image=condition.image)


@torch.no_grad()
@pytest.mark.parametrize(("before", "after"), [("t2v", "t2v"), ("t2v", "i2v"), ("i2v", "i2v"), ("ti2v", "ti2v")])
@pytest.mark.parametrize("seed", [0, 1])
def test_new_channels_leave_the_output_bit_identical(tmp_path, make_preset, make_model, before, after, seed):
    base_preset, preset = make_preset(before), make_preset(after, tracks=3)
    base = make_model(base_preset, seed)
    model = brought_to(tmp_path, base, preset)
    wanted = run(base, base_preset, seed)
    assert torch.equal(run(model, preset, seed), wanted)
    assert wanted.std() > 0.1


@pytest.mark.parametrize(("before", "after"), [("t2v", "i2v"), ("i2v", "i2v"), ("ti2v", "ti2v")])
def test_nothing_new_is_dead(tmp_path, make_preset, make_model, before, after):
    """At first the zero weights get a gradient, and after one update everything before them does."""
    preset = make_preset(after, tracks=3)
    known = make_preset(before).model.in_channels
    model = brought_to(tmp_path, make_model(make_preset(before)), preset).requires_grad_(True)
    assert model.track_head is not None
    assert model.patch_embedding.weight[:, known:].abs().max() == 0
    assert model.track_head.conv.weight.abs().min() > 0
    run(model, preset).square().mean().backward()
    columns = model.patch_embedding.weight.grad[:, known:]
    assert (columns.abs().amax((0, 2, 3, 4)) > 0).all(), "every new input channel learns at once"
    new = {name: p for name, p in model.named_parameters() if "track_head" in name or (before == "t2v" and "img" in name)}
    zero = {name for name, p in new.items() if ".v_img.weight" in name}
    assert all(new[name].abs().max() == 0 and new[name].grad.abs().max() > 0 for name in zero)
    assert len(zero) == (2 if before == "t2v" and after == "i2v" else 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    run(model, preset).square().mean().backward()
    dead = [name for name, p in new.items() if p.grad.abs().max() == 0]
    assert dead == []


def test_both_at_zero_would_be_dead(tmp_path, make_preset, make_model):
    """The trap that the test above guards against."""
    preset = make_preset("t2v", tracks=3)
    model = brought_to(tmp_path, make_model(make_preset("t2v")), preset).requires_grad_(True)
    with torch.no_grad():
        model.track_head.conv.weight.zero_()
    run(model, preset).square().mean().backward()
    assert model.track_head.conv.weight.grad.abs().max() == 0
    assert model.patch_embedding.weight.grad[:, 4:].abs().max() == 0


def altered(make_preset, make_model, **changes) -> dict[str, torch.Tensor]:
    """Weights of the t2v form with some left out (None) or replaced."""
    state = dict(make_model(make_preset("t2v")).state_dict())
    for name, value in changes.items():
        key = name.replace("__", ".")
        state.pop(key, None) if value is None else state.update({key: value})
    return state


CASES = [
    ({"blocks__0__norm3__bias": None}, r"1 tensors missing \(blocks.0.norm3.bias\)"),
    ({"ref_conv__weight": torch.ones(2)}, r"1 unexpected \(ref_conv.weight\)"),
    ({"blocks__0__ffn__0__bias": torch.ones(7)}, r"1 of another shape \(blocks.0.ffn.0.bias is \(7,\), not \(48,\)\)"),
    ({"patch_embedding__weight": torch.ones(32, 9, 1, 2, 2)}, r"patch_embedding.weight is \(32, 9, 1, 2, 2\), not \(32, 4"),
    ({"blocks__5__norm3__bias": torch.ones(32)}, r"1 unexpected \(blocks.5.norm3.bias\)"),
    ({"cross": torch.ones(1), "blocks__1__modulation": None}, r"1 tensors missing .*, 1 unexpected"),
]


@pytest.mark.parametrize(("changes", "words"), CASES)
def test_what_does_not_fit_is_listed_refused_and_accepted_when_asked(tmp_path, make_preset, make_model, changes, words):
    preset, source = make_preset("t2v"), tmp_path / "base.safetensors"
    save_file(altered(make_preset, make_model, **changes), source)
    job = Conversion(source=source, target=tmp_path / "ours", preset=preset)
    with pytest.raises(ValueError, match=f"does not fit small-t2v: .*{words}.*--allow-partial") as error:
        convert(job)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()
    report = convert(Conversion(source=source, target=tmp_path / "ours", preset=preset, allow_partial=True))
    assert report.fit is not None
    assert not report.fit.complete
    model = load_model(preset, tmp_path / "ours" / "teacher.safetensors")
    assert torch.isfinite(run(model, preset)).all()


def test_many_names_are_counted_and_a_few_listed(tmp_path, make_preset, make_model):
    state = make_model(make_preset("t2v")).state_dict()
    save_file({k: v for k, v in state.items() if "blocks.1" not in k}, tmp_path / "base.safetensors")
    with pytest.raises(ValueError, match=r"27 tensors missing \((\S+ ){3}\.\.\.\)"):
        convert(Conversion(source=tmp_path / "base.safetensors", target=tmp_path / "ours", preset=make_preset("t2v")))
