"""The picture's latents, and those of the grey frames after it."""

import pytest
import torch

from motionstream.config import ModelConfig
from motionstream.models.picture import encode_picture


def causal_mean(video: torch.Tensor) -> torch.Tensor:
    """A causal stand-in for an encoder: latent k is the mean of all pixels up to its last frame."""
    T = video.shape[1]
    ends = [1, *range(5, T + 1, 4)]
    return torch.stack([video[:, :end].mean((1, 3, 4))[:, :, None, None].expand(-1, -1, 2, 2) for end in ends], 1)


PICTURE = torch.full((2, 3, 16, 16), 0.9)


@pytest.mark.parametrize("first_frame", ["repeat", "clean", "concat"])
def test_the_picture_alone(first_frame):
    first, rest = encode_picture(ModelConfig(first_frame=first_frame), causal_mean, PICTURE, 4, 5)
    assert rest is None
    torch.testing.assert_close(first, PICTURE[:, None, :, :2, :2])


@pytest.mark.parametrize("num_latents", [1, 4])
def test_grey_frames_follow(num_latents):
    config = ModelConfig(first_frame="concat", after_picture="grey")
    first, latents = encode_picture(config, causal_mean, PICTURE, 4, num_latents)
    assert latents.shape == (2, num_latents, 3, 2, 2)
    assert torch.equal(first, latents[:, :1])
    frames = torch.arange(num_latents) * 4 + 1
    torch.testing.assert_close(latents[0, :, 0, 0, 0], (0.9 + 0.5 * (frames - 1)) / frames)
    with pytest.raises(ValueError, match="num_latents=0"):
        encode_picture(config, causal_mean, PICTURE, 4, 0)


def test_a_model_from_text_alone_reads_no_picture():
    assert encode_picture(ModelConfig(first_frame="none"), causal_mean, PICTURE, 4, 5) == (None, None)
