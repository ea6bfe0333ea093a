"""The parallel, chunked decoder against the frame-by-frame definition; names, sizes and files of the public TAEHV."""

import pytest
import torch
from safetensors.torch import save_file

from motionstream.models.tiny_vae import TinyVAE, load_tiny_vae

FORMS = {"taew2_1": (16, 1), "taew2_2": (48, 2)}


@pytest.fixture(params=FORMS, scope="module")
def vae(request) -> TinyVAE:
    torch.manual_seed(0)
    return TinyVAE(*FORMS[request.param]).eval().requires_grad_(False)


def latents_for(vae: TinyVAE, F: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, F, vae.latent_channels, 2, 3, generator=torch.Generator().manual_seed(F))


@pytest.mark.parametrize(
    ("form", "encoder", "decoder"), [("taew2_1", 1_470_928, 9_844_611), ("taew2_2", 1_494_576, 9_923_532)]
)
def test_parameter_counts(form: str, encoder: int, decoder: int):
    with torch.device("meta"):
        vae = TinyVAE(*FORMS[form])
    counted = [sum(p.numel() for p in part.parameters()) for part in (vae.encoder, vae.decoder)]
    assert counted == [encoder, decoder]
    assert sum(counted) == {"taew2_1": 11_315_539, "taew2_2": 11_418_108}[form]


def test_names():
    """Indices of the public files (wan_facts): where convolutions, memory blocks and time layers stand."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in TinyVAE(16, 1).state_dict().items()}
    assert shapes.pop("encoder.0.weight") == (64, 3, 3, 3)
    assert shapes.pop("encoder.17.weight") == (16, 64, 3, 3)
    assert [shapes.pop(f"encoder.{n}.conv.weight") for n in (2, 7, 12)] == [(64, 128, 1, 1), (64, 128, 1, 1), (64, 64, 1, 1)]
    assert shapes.pop("decoder.1.weight") == (256, 16, 3, 3)
    assert shapes.pop("decoder.22.weight") == (3, 64, 3, 3)
    grow = [shapes.pop(f"decoder.{n}.conv.weight") for n in (7, 13, 19)]
    assert grow == [(256, 256, 1, 1), (256, 128, 1, 1), (128, 64, 1, 1)]
    narrow = [shapes.pop(f"decoder.{n}.weight") for n in (8, 14, 20)]
    assert narrow == [(128, 256, 3, 3), (64, 128, 3, 3), (64, 64, 3, 3)]
    assert [shapes.pop(f"encoder.{n}.weight") for n in (3, 8, 13)] == [(64, 64, 3, 3)] * 3
    blocks = {f"encoder.{n}": 64 for n in (4, 5, 6, 9, 10, 11, 14, 15, 16)}
    blocks |= {f"decoder.{n}": w for w, first in ((256, 3), (128, 9), (64, 15)) for n in range(first, first + 3)}
    for block, width in blocks.items():
        assert shapes.pop(f"{block}.conv.0.weight") == (width, 2 * width, 3, 3)
        for n in (2, 4):
            assert shapes.pop(f"{block}.conv.{n}.weight") == (width, width, 3, 3)
        for n in (0, 2, 4):
            assert shapes.pop(f"{block}.conv.{n}.bias") == (width,)
    assert sorted(shapes) == ["decoder.1.bias", "decoder.22.bias", "encoder.0.bias", "encoder.17.bias"]


@pytest.mark.parametrize("plan", [[5], [1] * 5, [3, 2], [1, 4], [2, 1, 2]])
def test_chunked_decode_equals_frame_by_frame(vae: TinyVAE, plan: list[int]):
    latents = latents_for(vae, 5, batch=2)
    expected = vae.decode_reference(latents)
    assert expected.shape == (2, 17, 3, 2 * vae.stride, 3 * vae.stride)
    assert (expected[:, 1:] - expected[:, :-1]).abs().mean() > 0
    made, state = [], None
    for part in latents.split(plan, dim=1):
        video, state = vae.decode(part, state)
        assert video.shape[1] == 4 * part.shape[1] - (3 if not made else 0)
        made.append(video)
    torch.testing.assert_close(torch.cat(made, dim=1), expected, atol=2e-6, rtol=1e-5)


def test_state(vae: TinyVAE):
    latents = latents_for(vae, 4)
    _, state = vae.decode(latents[:, :3])
    assert [tuple(part.shape) for part in state] == [(1, 256, 2, 3)] * 3 + [(1, 128, 4, 6)] * 3 + [(1, 64, 8, 12)] * 3
    # A state of views would keep a whole chunk's features alive.
    assert all(part.untyped_storage().nbytes() == part.numel() * part.element_size() for part in state)
    assert torch.equal(vae.decode(latents[:, 3:], state)[0], vae.decode(latents[:, 3:], state)[0])
    assert not torch.allclose(vae.decode(latents[:, 3:], state)[0], vae.decode(latents[:, 2:])[0][:, -4:])


def test_encode(vae: TinyVAE):
    video = torch.rand(2, 9, 3, 2 * vae.stride, vae.stride, generator=torch.Generator().manual_seed(0))
    latents = vae.encode(video)
    assert latents.shape == (2, 3, vae.latent_channels, 2, 1)
    torch.testing.assert_close(latents, vae.encode_reference(video), atol=2e-6, rtol=1e-5)
    # Latent 0 is made from frames 0 .. 3, latent 1 knows frame 0 only by memory.
    changed = video.clone()
    changed[:, 4] = 0
    assert torch.equal(vae.encode(changed)[:, 0], latents[:, 0])
    assert not torch.allclose(vae.encode(changed)[:, 1], latents[:, 1])
    with pytest.raises(ValueError, match=r"4 k \+ 1"):
        vae.encode(video[:, :8])


def test_clamps(vae: TinyVAE):
    latents = 30 * latents_for(vae, 2)
    bent, _ = vae.decode(latents)
    hard, _ = vae.decode(3 * latents)  # beyond 3 standard deviations more changes next to nothing
    torch.testing.assert_close(bent, hard, atol=0.02, rtol=0)
    assert 0 <= bent.min() <= bent.max() <= 1


def test_load(vae: TinyVAE, tmp_path):
    state = {name: value.half() for name, value in vae.state_dict().items()}
    # A file whose first TimeGrow makes two frames, as TAEHV's own later models do: the last of them is kept.
    larger = dict(state)
    larger["decoder.7.conv.weight"] = torch.cat(
        [torch.zeros_like(state["decoder.7.conv.weight"]), state["decoder.7.conv.weight"]]
    )
    torch.save(state, tmp_path / "taew.pth")
    save_file(larger, tmp_path / "taew.safetensors")
    latents = latents_for(vae, 2)
    expected, _ = vae.decode(latents)
    for name in ("taew.pth", "taew.safetensors"):
        loaded = load_tiny_vae(tmp_path / name)
        assert (loaded.patch, loaded.latent_channels) == (vae.patch, vae.latent_channels)
        video, _ = loaded.decode(latents)
        assert (video - expected).abs().max() < 5e-3
        assert (video - 0.5).abs().max() > 0.01


def test_bad_files(vae: TinyVAE, tmp_path):
    state = vae.state_dict()

    def refuses(tensors: dict, sentence: str) -> None:
        save_file(tensors, tmp_path / "taew.safetensors")
        with pytest.raises(ValueError, match=sentence):
            load_tiny_vae(tmp_path / "taew.safetensors")

    refuses({"blocks.0.weight": torch.zeros(3)}, "no TAEHV tensors")
    hunyuan = dict(state) | {"decoder.1.weight": torch.zeros(256, 32, 3, 3)}
    refuses(hunyuan, "32 latent channels")
    wide = dict(state) | {"decoder.8.weight": torch.zeros(512, 256, 3, 3)}
    refuses(wide, r"decoder\.8\.weight has shape \(512, 256, 3, 3\), a plain TAEHV for Wan needs \(128, 256, 3, 3\)")
    more = dict(state) | {"decoder.3.skip.weight": torch.zeros(3)}
    refuses(more, r"\+decoder\.3\.skip\.weight")
    refuses({name: value for name, value in state.items() if name != "encoder.17.bias"}, r"-encoder\.17\.bias")
    (tmp_path / "taew.safetensors").write_bytes(b"{}" * 50)
    with pytest.raises(ValueError, match="is damaged"):
        load_tiny_vae(tmp_path / "taew.safetensors")
    torch.save({"encoder.0.weight": print}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        load_tiny_vae(tmp_path / "code.pth")
