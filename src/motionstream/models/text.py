"""Prompts as rows of numbers.

``HashedWords`` needs no weights and no download: a word is a fixed random vector, seeded by its spelling. Where it stands is
not told, so a prompt is a set of words: "red left, blue right" says what "blue left, red right" says. nano's own
cross-attention learns what the words mean. Large models use umT5 instead (Wan).
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

MAX_PROMPT_CHARACTERS = 4000


class HashedWords:
    """Text encoder of nano: ``(B, text_len, text_dim)`` float32, unused rows zero.

    Args:
        text_dim, text_len: as in ``ModelConfig``.
    """

    def __init__(self, text_dim: int, text_len: int) -> None:
        self.text_dim, self.text_len = text_dim, text_len

    def __call__(self, prompts: list[str]) -> Tensor:
        out = torch.zeros(len(prompts), self.text_len, self.text_dim, dtype=torch.float32)
        for row, prompt in enumerate(prompts):
            for place, word in enumerate(words(prompt)[: self.text_len]):
                out[row, place] = torch.from_numpy(_word_vector(word, self.text_dim))
        return out


def prompt_rows(text: Tensor) -> int:
    """How many rows of ``text (1, text_len, text_dim)`` are a prompt's: all after these are zero."""
    filled = text[0].any(dim=-1).nonzero()
    return int(filled[-1]) + 1 if len(filled) else 0


def words(prompt: str) -> list[str]:
    """Lower-case words without filler.

    >>> words("A red ball, moves LEFT!")
    ['red', 'ball', 'moves', 'left']
    """
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"prompt has {len(prompt)} characters: shorten it to {MAX_PROMPT_CHARACTERS}")
    return [w for w in re.findall(r"[a-z0-9]+", prompt.lower()) if w not in {"a", "an", "the", "of", "and", "in", "on"}]


@lru_cache(maxsize=4096)
def _word_vector(word: str, dim: int) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(dim).astype(np.float32)


def check_prompt(prompt: object) -> str:
    """``prompt``, if it is text (ValueError)."""
    if not isinstance(prompt, str):
        raise ValueError(f'prompt={prompt!r:.60} must be text; use "" for none')
    return prompt
