"""PSNR and SSIM agree with scikit-image and torchmetrics; drift reads what was done to the picture."""

import numpy as np
import pytest
import torch

from motionstream.eval.quality import (
    MAX_PSNR_DB,
    lpips,
    measure_drift,
    measure_quality,
    psnr,
    resize_frames,
    ssim,
    to_frames,
    to_tensor,
)
from motionstream.models.lpips import LPIPS


@pytest.fixture
def pair(texture) -> tuple[np.ndarray, np.ndarray]:
    truth = np.stack([texture[:40, :56], texture[40:80, 60:116]])
    noise = np.random.default_rng(0).normal(0, 12, truth.shape)
    return (truth + noise).clip(0, 255).astype(np.uint8), truth


def test_against_scikit_image(pair):
    metrics = pytest.importorskip("skimage.metrics")
    frames, truth = pair
    for k in range(2):
        assert psnr(frames, truth)[k] == pytest.approx(metrics.peak_signal_noise_ratio(truth[k], frames[k]), abs=1e-6)
        wanted = metrics.structural_similarity(
            truth[k] / 255, frames[k] / 255, channel_axis=2, data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert ssim(frames, truth)[k] == pytest.approx(wanted, abs=1e-5)


def test_against_torchmetrics(pair):
    image = pytest.importorskip("torchmetrics.functional.image")
    frames, truth = to_tensor(pair[0]), to_tensor(pair[1])
    _, full = image.structural_similarity_index_measure(frames, truth, data_range=1.0, return_full_image=True)
    inner = full[..., 5:-5, 5:-5]  # torchmetrics also averages over the border, where it reflects the picture
    assert np.allclose(ssim(*pair), inner.mean(dim=(1, 2, 3)).numpy(), atol=1e-4)


def test_equal_and_opposite(pair):
    _, truth = pair
    assert (psnr(truth, truth) == MAX_PSNR_DB).all()
    assert np.allclose(ssim(truth, truth), 1)
    black, white = np.zeros_like(truth), np.full_like(truth, 255)
    assert np.allclose(psnr(black, white), 0)
    assert (ssim(black, white) < 1e-3).all()


def test_known_psnr():
    truth = np.full((1, 16, 16, 3), 100, np.uint8)
    assert psnr(truth + 1, truth)[0] == pytest.approx(20 * np.log10(255))


def test_means_over_frames(pair):
    frames, truth = pair
    found = measure_quality(frames, truth, None)
    assert found == {"psnr_db": psnr(frames, truth).mean(), "ssim": ssim(frames, truth).mean(), "lpips": None}
    torch.manual_seed(0)
    model = LPIPS().eval()
    assert lpips(model, frames, truth).shape == (2,)
    assert measure_quality(truth, truth, model)["lpips"] == 0


@pytest.mark.parametrize(
    ("frames", "truth", "complaint"),
    [
        (np.zeros((1, 16, 16, 3), np.uint8), np.zeros((2, 16, 16, 3), np.uint8), "one shape"),
        (np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 3)), "uint8"),
        (np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 16, 16, 3), np.uint8), "not empty"),
        (np.zeros((1, 8, 16, 3), np.uint8), np.zeros((1, 8, 16, 3), np.uint8), "at least 11x11"),
    ],
)
def test_bad_frames(frames, truth, complaint):
    with pytest.raises(ValueError, match=complaint):
        ssim(frames, truth)


def test_drift(pair):
    _, truth = pair
    kept = measure_drift(truth, truth)
    assert kept == {"colour_shift": 0.0, "contrast_ratio": pytest.approx(1), "detail_ratio": pytest.approx(1)}
    middle = truth.mean(axis=(1, 2), keepdims=True)
    washed = measure_drift((middle + 0.5 * (truth - middle)).round().astype(np.uint8), truth)
    assert washed["contrast_ratio"] == pytest.approx(0.5, abs=0.02)
    assert washed["detail_ratio"] == pytest.approx(0.5, abs=0.05)
    brighter = measure_drift((truth // 2 + 20).astype(np.uint8), (truth // 2).astype(np.uint8))
    assert brighter["colour_shift"] == pytest.approx(20 * 3**0.5, abs=1e-3)


def test_resizing_keeps_edges_on_edges(texture):
    half = resize_frames(texture[None], (48, 80))
    assert half.shape == (1, 48, 80, 3)
    area = texture.reshape(48, 2, 80, 2, 3).mean(axis=(1, 3))
    assert np.abs(half[0].astype(float) - area).mean() < 2
    assert resize_frames(texture[None], (96, 160)) is not None
    assert np.array_equal(to_frames(to_tensor(texture[None])), texture[None])
