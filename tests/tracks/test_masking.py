import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionstream.tracks.masking import drop_tracks, mask_mid_chunks

FAST = settings(max_examples=20, deadline=None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def everything(B: int = 2, T: int = 24, N: int = 5) -> torch.Tensor:
    return torch.ones(B, T, N, dtype=torch.bool)


def test_drop_takes_whole_samples():
    dropped = drop_tracks(everything(B=2000, T=2), 0.3, seeded())
    shown = dropped.flatten(1).float().mean(dim=1)
    assert set(shown.tolist()) == {0.0, 1.0}
    assert 0.65 < shown.mean() < 0.75
    assert drop_tracks(everything(), 0.0, seeded()).all()
    assert not drop_tracks(everything(), 1.0, seeded()).any()


@pytest.mark.parametrize(("plan", "first"), [(12, 12), ([9, 12, 3], 9), (7, 7), (24, 24), (100, 24)])
def test_mid_chunks_leave_the_first_one(plan, first):
    masked = mask_mid_chunks(everything(), plan, 1.0, seeded())
    assert masked[:, :first].all()
    assert not masked[:, first:].any()
    assert mask_mid_chunks(everything(), plan, 0.0, seeded()).all()


def test_mid_chunks_are_whole_and_as_frequent_as_asked():
    masked = mask_mid_chunks(everything(B=1000, T=21), [5, 4, 4, 4, 4], 0.2, seeded())
    assert (masked == masked[:, :, :1]).all()
    later = masked[:, 5:, 0].unflatten(1, (4, 4))  # (B, chunk, frame)
    assert (later == later[..., :1]).all()
    assert 0.17 < 1 - later.float().mean() < 0.23


@pytest.mark.parametrize(("plan", "message"), [(0, "at least 1 frame"), ([12, 13], "have 25 frames, but T is 24")])
def test_bad_chunk_plans(plan, message):
    with pytest.raises(ValueError, match=message):
        mask_mid_chunks(everything(), plan, 0.2, seeded())


@FAST
@given(st.integers(0, 999), st.integers(1, 30), st.floats(0, 1))
def test_nothing_hidden_is_ever_shown_and_nothing_is_changed_in_place(seed, T, p):
    visible = torch.rand(2, T, 4, generator=seeded(seed)) < 0.5
    before = visible.clone()
    results = [
        drop_tracks(visible, p, seeded(seed)),
        mask_mid_chunks(visible, 4, p, seeded(seed)),
    ]
    assert torch.equal(visible, before)
    assert all((result & ~visible).sum() == 0 and result.shape == visible.shape for result in results)


def test_bad_arguments():
    with pytest.raises(ValueError, match="probability"):
        drop_tracks(everything(), 1.5, seeded())
    with pytest.raises(ValueError, match="bool"):
        drop_tracks(everything().float(), 0.5, seeded())
