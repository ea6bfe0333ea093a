import json
from importlib import resources

import pytest
import torch

from motionstream.data import pictures


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def prints(images: torch.Tensor) -> set[bytes]:
    """Fingerprints that survive small edits: an 8 x 8 thumbnail in 16 steps."""
    small = torch.nn.functional.interpolate(images, (8, 8), mode="area")
    return {(row * 15).round().to(torch.uint8).numpy().tobytes() for row in small}


def test_splits_share_no_picture():
    train, eval_ = pictures.load_bank("train"), pictures.load_bank("eval")
    for bank in (train, eval_):
        assert len(bank.sprites) == len(bank.sprite_names)
        assert len(bank.photos) == len(bank.photo_names)
        assert bank.sprites.shape[1:] == (4, 96, 96)
        assert bank.photos.shape[1:] == (3, 240, 320)
        assert 0 <= bank.sprites.min() <= bank.sprites.max() <= 1
    assert prints(train.sprites).isdisjoint(prints(eval_.sprites))
    assert prints(train.photos).isdisjoint(prints(eval_.photos))
    share = len(eval_.sprites) / (len(train.sprites) + len(eval_.sprites))
    assert 0.05 < share < 0.2


def test_photos_of_evaluation_come_from_pictures_that_training_never_saw():
    root = resources.files("motionstream") / "assets" / "photos"
    entries = json.loads((root / "photos.json").read_text())
    sources = {split: {e["file"].rsplit("_", 1)[0] for e in entries if e["split"] == split} for split in ("train", "eval")}
    assert len(sources["train"]) >= 10
    assert len(sources["eval"]) >= 4
    assert sources["train"].isdisjoint(sources["eval"])


@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_splits_cover_everything_once(count):
    train, eval_ = pictures._split_ids(count, "train"), pictures._split_ids(count, "eval")
    assert sorted(train + eval_) == list(range(count))


@pytest.mark.parametrize("size", [(20, 30), (48, 32)])
def test_generated_pictures_are_in_range_and_follow_the_generator(size):
    bank = pictures.load_bank("train")
    makers = {
        "crops": lambda g: pictures.photo_crops(bank.photos, 3, size, g, zoom=(0.3, 0.9)),
        "fields": lambda g: pictures.smooth_fields(3, 3, size, g),
        "patterns": lambda g: pictures.two_colour_patterns(3, 20, g),
        "shapes": lambda g: pictures.shape_masks(3, 20, g),
    }
    for name, make in makers.items():
        one, same, other = make(seeded()), make(seeded()), make(seeded(1))
        assert torch.equal(one, same), name
        assert not torch.equal(one, other), name
        assert one.min() >= 0
        assert one.max() <= 1
        assert one.flatten(1).std(1).min() > 1e-3, name
        assert len(one) == 3


def test_whole_crops_keep_the_picture():
    photo = torch.rand(1, 3, 24, 32, generator=seeded())
    crops = pictures.photo_crops(photo, 16, (24, 32), seeded(1), zoom=(1.0, 1.0))
    # Colours are jittered by gain and bias only; flipped or not, a line through them explains every pixel.
    for crop in crops:
        fits = []
        for wanted in (photo[0], photo[0].flip(-1)):
            inner = (crop > 0.02) & (crop < 0.98)
            fits.append(
                min(float(torch.corrcoef(torch.stack([crop[c][inner[c]], wanted[c][inner[c]]]))[0, 1]) for c in range(3))
            )
        assert max(fits) > 0.999
