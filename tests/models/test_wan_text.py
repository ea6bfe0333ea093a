"""The text path with a tiny random UMT5 and a word tokenizer, both written to disk as diffusers lays them out."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from motionstream.models import wan_text
from motionstream.models.text import HashedWords
from motionstream.models.wan_text import WanText, clean_prompt, default_cache

transformers = pytest.importorskip("transformers")

WORDS = ["<pad>", "</s>", "<unk>", "a", "cup", "ball", "moves", "left", "right", "red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model folder: text_encoder/ and tokenizer/."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    made = tmp_path_factory.mktemp("wan")
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(made / "tokenizer")
    torch.manual_seed(0)
    config = transformers.UMT5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    transformers.UMT5EncoderModel(config).save_pretrained(made / "text_encoder")
    return made


@pytest.fixture
def text(folder: Path, tmp_path: Path) -> WanText:
    return WanText(folder, text_len=12, dtype=torch.float32, cache=tmp_path / "prompts")


def padded_reference(folder: Path, prompts: list[str], text_len: int) -> torch.Tensor:
    """Wan's way: pad to full length, mask the padding, cut at the length, fill with zeros."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    encoder = transformers.UMT5EncoderModel.from_pretrained(folder / "text_encoder").eval()
    batch = tokenizer(prompts, padding="max_length", max_length=text_len, truncation=True, return_tensors="pt")
    with torch.no_grad():
        rows = encoder(batch.input_ids, batch.attention_mask).last_hidden_state
    return rows * batch.attention_mask[..., None]


def test_rows_equal_the_padded_encoder(text: WanText, folder: Path):
    prompts = ["a red cup moves left", "ball", "", "a " * 40]
    rows = text(prompts)
    assert (rows.shape, rows.dtype) == ((4, 12, 16), torch.float32)
    torch.testing.assert_close(rows, padded_reference(folder, prompts, 12), atol=1e-5, rtol=1e-5)
    lengths = (rows != 0).any(-1).sum(1).tolist()
    assert lengths == [6, 2, 1, 12]  # words and the end mark; "" is the end mark alone; long prompts are cut
    for row, length in zip(rows, lengths, strict=True):
        assert torch.equal(row[length:], torch.zeros(12 - length, 16))
    assert not torch.allclose(rows[0], rows[1])


def test_same_interface_as_hashed_words(text: WanText):
    words = HashedWords(text.text_dim, text.text_len)
    for encode in (words, text):
        rows = encode(["a cup", ""])
        assert (rows.shape, rows.dtype, rows.device.type) == ((2, 12, 16), torch.float32, "cpu")


def test_remembered_prompts_do_not_load_the_model(text: WanText, folder: Path, monkeypatch):
    loads = []
    honest = transformers.UMT5EncoderModel.from_pretrained
    monkeypatch.setattr(transformers.UMT5EncoderModel, "from_pretrained", lambda *a, **k: loads.append(1) or honest(*a, **k))
    first = text(["a cup", "a cup", "a ball"])
    assert loads == [1]
    assert text._loaded is None  # freed
    assert torch.equal(first[0], first[1])
    again = WanText(folder, text_len=12, dtype=torch.float32, cache=text.cache)
    assert torch.equal(again([" a  cup\n", "a ball"]), first[[0, 2]])
    assert loads == [1]
    again(["a red ball"])
    assert loads == [1, 1]


def test_the_key_tells_models_apart(text: WanText, folder: Path, tmp_path: Path):
    rows = text(["a cup"])
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = other / "text_encoder" / "model.safetensors"
    save_file({name: 2 * value for name, value in load_file(weights).items()}, weights, metadata={"format": "pt"})
    twin = WanText(other, text_len=12, dtype=torch.float32, cache=text.cache)
    assert not torch.allclose(twin(["a cup"]), rows)
    assert len(list(text.cache.iterdir())) == 2
    shorter = WanText(folder, text_len=3, dtype=torch.float32, cache=text.cache)
    assert shorter(["a cup"]).shape == (1, 3, 16)
    assert len(list(text.cache.iterdir())) == 3


def test_bounded_and_mended(text: WanText):
    text.max_cached = 3
    for n, prompt in enumerate(["a", "cup", "ball", "left"]):
        text([prompt])
        os.utime(text._file(prompt), (n, n))
    assert len(list(text.cache.glob("*.safetensors"))) == 3
    assert not text._file("a").exists()
    assert text._recall("cup") is not None  # used just now, so "ball" is the oldest
    text(["right"])
    assert text._file("cup").exists()
    assert not text._file("ball").exists()
    expected = text(["right"])
    text._file("right").write_bytes(b"rubbish")
    assert torch.equal(text(["right"]), expected)
    assert not list(text.cache.glob("*.partial"))


def test_a_cache_that_cannot_be_written_costs_only_time(text: WanText, tmp_path: Path):
    (tmp_path / "file").touch()
    text.cache = tmp_path / "file" / "below"
    with pytest.warns(RuntimeWarning, match="prompt not remembered"):
        assert text(["a cup"]).shape == (1, 12, 16)


def test_default_cache(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("MOTIONSTREAM_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "prompts"
    monkeypatch.delenv("MOTIONSTREAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "motionstream" / "prompts"


def test_clean_prompt():
    assert clean_prompt("\tone &amp;lt;two&gt;  three\n") == "one <two> three"
    with pytest.raises(ValueError, match="4001 characters"):
        clean_prompt("a" * 4001)
    with pytest.raises(ValueError, match="must be text"):
        clean_prompt(None)  # type: ignore[arg-type]


def test_an_embedding_that_transformers_left_untied_is_mended(text: WanText, folder: Path, monkeypatch):
    expected = text(["a red cup"])
    honest = transformers.UMT5EncoderModel.from_pretrained

    def untied(*args, **options):
        encoder, report = honest(*args, **options)
        encoder.encoder.embed_tokens = torch.nn.Embedding(len(WORDS), 16)
        return encoder, report | {"missing_keys": {"encoder.embed_tokens.weight"}}

    monkeypatch.setattr(transformers.UMT5EncoderModel, "from_pretrained", untied)
    again = WanText(folder, text_len=12, dtype=torch.float32, cache=text.cache.parent / "other")
    assert torch.equal(again(["a red cup"]), expected)


def test_bad_folders(text: WanText, folder: Path, tmp_path: Path, monkeypatch):
    with pytest.raises(ValueError, match=r"has no config\.json"):
        WanText(tmp_path)
    bad = tmp_path / "bad"
    shutil.copytree(folder, bad)
    weights = bad / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("encoder.block.1.layer.1.DenseReluDense.wo.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 tensors \(encoder\.block\.1"):
        WanText(bad, text_len=12, cache=tmp_path / "p")(["a"])
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be loaded"):
        WanText(bad, text_len=12, cache=tmp_path / "p")(["a"])
    (bad / "text_encoder" / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no settings but a list"):
        WanText(bad)
    (bad / "text_encoder" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="describes 'bert'"):
        WanText(bad)
    shutil.rmtree(bad / "tokenizer")
    shutil.copy(folder / "text_encoder" / "config.json", bad / "text_encoder" / "config.json")
    with pytest.raises(ValueError, match="has no tokenizer"):
        WanText(bad)

    def without(name: str):
        raise ValueError(f"the package {name} is not installed: pip install 'motionstream[wan]'")

    text(["a cup"])
    monkeypatch.setattr(wan_text, "wan_library", without)
    text(["a cup"])  # remembered: the library is not needed
    with pytest.raises(ValueError, match="pip install"):
        text(["a ball"])
