import pytest
import torch

from motionstream.models.text import HashedWords, words


def test_words_are_lower_case_without_filler():
    assert words("The CAT, and a dog's toy of 3 balls!") == ["cat", "dog", "s", "toy", "3", "balls"]
    assert words("") == words("   ...") == words("the of and") == []


def test_the_same_word_is_the_same_row_at_any_time():
    encode = HashedWords(text_dim=6, text_len=4)
    out = encode(["red ball", "ball red ball", ""])
    assert out.shape == (3, 4, 6)
    assert torch.equal(out[0, 1], out[1, 0])
    assert torch.equal(out[1, 0], out[1, 2])
    assert not torch.allclose(out[0, 0], out[0, 1])
    assert out[2].abs().max() == 0
    assert out[0, 2:].abs().max() == 0
    assert torch.equal(out, HashedWords(6, 4)(["Red BALL", "ball, red. ball", "the"]))


def test_vectors_are_spread_like_normals():
    out = HashedWords(64, 16)([" ".join(f"word{i}" for i in range(16))])[0]
    assert abs(out.mean()) < 0.1
    assert abs(out.std() - 1) < 0.1


def test_long_prompts_are_cut_and_endless_ones_refused():
    encode = HashedWords(6, 2)
    assert torch.equal(encode(["one two three"]), encode(["one two four"]))
    assert encode(["w" * 4000]).isfinite().all()
    with pytest.raises(ValueError, match="4001 characters: shorten it to 4000"):
        encode(["w" * 4001])
