"""Wan's text encoder: UMT5-XXL from a user's folder, run once a prompt and remembered on disk.

The encoder has 5.7 billion weights and is needed for a moment only: prompts not yet known are encoded together, the model
is let go, and the rows are kept as small safetensors files. Rows after the end of a prompt are exact zeros; the DiT
attends to all of them, as in Wan.

    text = WanText(Path("Wan2.1-T2V-1.3B-Diffusers"))
    text(["a cup moves left"])                      # (1, 512, 4096) float32, as HashedWords gives for nano
"""

from __future__ import annotations

import hashlib
import html
import os
import re
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from motionstream.models.extra import wan_library
from motionstream.models.tensor_files import read_settings
from motionstream.models.text import MAX_PROMPT_CHARACTERS, check_prompt

TEXT_LEN = 512
CACHE_FORMAT = "1"
SAMPLE_BYTES = 1 << 16
TWIN = "encoder.embed_tokens.weight"
"""Not in Wan's files: it is ``shared.weight`` once more."""


class WanText:
    """Text encoder with the same call as ``HashedWords``.

    Args:
        folder: a diffusers model folder with ``text_encoder/`` and ``tokenizer/``.
        text_len: rows given out; longer prompts are cut (Wan: 512).
        device, dtype: where and in which type the encoder runs.
        cache: folder of remembered prompts; None = ``default_cache()``.
        max_cached: remembered prompts; beyond that the least recently used are forgotten.
        keep_loaded: keep the encoder in memory after use (11 GB in bfloat16).

    Raises:
        ValueError: the folder has no text encoder, or transformers is not installed (when a prompt is not remembered).
    """

    def __init__(
        self,
        folder: Path,
        *,
        text_len: int = TEXT_LEN,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        cache: Path | None = None,
        max_cached: int = 1000,
        keep_loaded: bool = False,
    ) -> None:
        self.folder = Path(folder)
        config = _read_config(self.folder / "text_encoder" / "config.json")
        if not (self.folder / "tokenizer").is_dir():
            raise ValueError(f"{self.folder} has no tokenizer folder: download it beside text_encoder")
        self.text_dim, self.text_len = int(config["d_model"]), text_len
        self.device, self.dtype = torch.device(device), dtype
        self.cache = default_cache() if cache is None else Path(cache)
        self.max_cached, self.keep_loaded = max_cached, keep_loaded
        self._identity = f"{_identity(self.folder)} {dtype} {text_len} {CACHE_FORMAT}"
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, prompts: list[str]) -> Tensor:
        """Prompts -> ``(B, text_len, text_dim)`` float32 on the CPU; rows after each prompt's end are zero.

        Raises:
            ValueError: a prompt that is no text or too long, or an encoder that cannot be loaded.
        """
        cleaned = [clean_prompt(prompt) for prompt in prompts]
        rows: dict[str, Tensor] = {}
        with self._lock:
            for prompt in cleaned:
                if prompt not in rows and (found := self._recall(prompt)) is not None:
                    rows[prompt] = found
            if missing := [prompt for prompt in dict.fromkeys(cleaned) if prompt not in rows]:
                for prompt, made in zip(missing, self._encode(missing), strict=True):
                    rows[prompt] = made
                    self._remember(prompt, made)
        out = torch.zeros(len(prompts), self.text_len, self.text_dim, dtype=torch.float32)
        for row, prompt in enumerate(cleaned):
            out[row, : len(rows[prompt])] = rows[prompt].float()
        return out

    def free(self) -> None:
        """Let the encoder go."""
        self._loaded = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # ------------------------------------------------------------------ encode

    @torch.inference_mode()
    def _encode(self, prompts: list[str]) -> list[Tensor]:
        """Rows ``(length, text_dim)`` of each prompt, its end mark included."""
        tokenizer, encoder = self._load()
        try:
            made = []
            for prompt in prompts:  # one by one: no padding, so short prompts cost little even on a processor
                ids = tokenizer(prompt, truncation=True, max_length=self.text_len, return_tensors="pt").input_ids
                out = encoder(ids.to(self.device), attention_mask=torch.ones_like(ids).to(self.device))
                made.append(out.last_hidden_state[0].to("cpu"))
        finally:
            if not self.keep_loaded:
                del encoder
                self.free()
        return made

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            transformers = wan_library("transformers")
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(str(self.folder / "tokenizer"), local_files_only=True)
                encoder, report = transformers.UMT5EncoderModel.from_pretrained(
                    str(self.folder / "text_encoder"), dtype=self.dtype, local_files_only=True, output_loading_info=True
                )
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                raise ValueError(f"text encoder in {self.folder} cannot be loaded ({_first_line(error)})") from None
            missing = sorted(report["missing_keys"])
            if missing == [TWIN]:  # some releases of transformers leave it random, since Wan's config ties nothing
                encoder.set_input_embeddings(encoder.get_input_embeddings())
            elif missing:
                raise ValueError(
                    f"text encoder in {self.folder} lacks {len(missing)} tensors ({missing[0]}, ...): download it again"
                )
            self._loaded = tokenizer, encoder.to(self.device).eval().requires_grad_(False)
        return self._loaded

    # ------------------------------------------------------------------ remember

    def _file(self, prompt: str) -> Path:
        key = hashlib.sha256(f"{self._identity}\n{prompt}".encode()).hexdigest()
        return self.cache / f"{key[:40]}.safetensors"

    def _recall(self, prompt: str) -> Tensor | None:
        """Remembered rows; None if there are none, or the file is damaged."""
        file = self._file(prompt)
        try:
            rows = load_file(file)["rows"]
            os.utime(file)  # used just now
        except (OSError, KeyError, SafetensorError):
            return None
        return rows if rows.ndim == 2 and rows.shape[1] == self.text_dim and len(rows) <= self.text_len else None

    def _remember(self, prompt: str, rows: Tensor) -> None:
        """Write atomically, then forget the least recently used beyond ``max_cached``; a full disk only costs time."""
        partial = None
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=self.cache, suffix=".partial")
            os.close(handle)
            save_file({"rows": rows.contiguous()}, partial)
            os.replace(partial, self._file(prompt))
            partial = None
            kept = sorted(self.cache.glob("*.safetensors"), key=_last_use, reverse=True)
            for old in kept[self.max_cached :]:
                old.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"prompt not remembered in {self.cache}: {_first_line(error)}", RuntimeWarning)
        finally:
            if partial is not None:
                Path(partial).unlink(missing_ok=True)


def default_cache() -> Path:
    """Where prompts are remembered: ``$MOTIONSTREAM_CACHE``, else the user's cache folder, each with ``/prompts``."""
    if own := os.environ.get("MOTIONSTREAM_CACHE"):
        return Path(own) / "prompts"
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "motionstream" / "prompts"


def clean_prompt(prompt: str) -> str:
    """Wan's cleaning: mend broken unicode (where ftfy is installed), undo HTML escapes twice, join white space.

    >>> clean_prompt("  a cup &amp;amp; a\\n saucer ")
    'a cup & a saucer'

    Raises:
        ValueError: no text, or longer than 4,000 characters.
    """
    if len(check_prompt(prompt)) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"prompt has {len(prompt)} characters: shorten it to {MAX_PROMPT_CHARACTERS}")
    try:
        import ftfy

        prompt = ftfy.fix_text(prompt)
    except ModuleNotFoundError:
        pass
    return re.sub(r"\s+", " ", html.unescape(html.unescape(prompt))).strip()


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(
            f"{path.parent} has no config.json: give a diffusers folder of Wan with text_encoder and tokenizer "
            "(models_t5_umt5-xxl-enc-bf16.pth has other names and is not read)"
        )
    config = read_settings(path)
    if config.get("model_type") != "umt5" or not isinstance(config.get("d_model"), int):
        raise ValueError(f"{path} describes {config.get('model_type')!r}: Wan's text encoder is of type 'umt5'")
    return config


def _identity(folder: Path) -> str:
    """A hash that tells models apart without reading gigabytes: every file's size, its head and its middle."""
    digest = hashlib.sha256()
    for file in sorted([*(folder / "text_encoder").glob("*"), *(folder / "tokenizer").glob("*")]):
        if file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.parent.name}/{file.name} {size}\n".encode())
            with file.open("rb") as opened:
                digest.update(opened.read(SAMPLE_BYTES))
                opened.seek(size // 2)
                digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _last_use(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # another process forgot it first
        return 0.0


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
