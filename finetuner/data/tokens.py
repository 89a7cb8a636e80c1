"""A tokenizer of Hugging Face transformers as a `collate_fn`: every text is tokenized once."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from finetuner.errors import ArgumentError

KIND = 'transformers.tokenization_utils_base', 'PreTrainedTokenizerBase'
MOST = 200_000
"""Texts whose tokens are kept, about a kilobyte each; what comes after them is tokenized each time."""
Kept = dict[str, dict[str, np.ndarray]]


class Tokens:
    """From a list of texts to the model's input, filled up to the longest of them.

    Args:
        tokenizer: gives the tokens, cut at its `model_max_length`; filled up with its `pad_token`, on its side.
        kept: the tokens of texts; is filled.
    """

    def __init__(self, tokenizer: Any, kept: Kept) -> None:
        if tokenizer.pad_token_id is None:
            raise ArgumentError(
                f'collate_fn: {type(tokenizer).__name__} has no pad_token to make texts of one length with. '
                f'Give it one: tokenizer.pad_token = tokenizer.eos_token.'
            )
        self.tokenizer, self.kept = tokenizer, kept
        self.from_left = tokenizer.padding_side != 'left'
        self.fillers = {'input_ids': tokenizer.pad_token_id, 'token_type_ids': tokenizer.pad_token_type_id}

    def __call__(self, texts: list[str]) -> dict[str, np.ndarray]:
        """A dict of arrays (B, T), int64.

        Raises:
            TypeError: a content is no text.
        """
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f'a tokenizer takes texts, and one of these is a {type(text).__name__}')
        found = {text: self.kept[text] for text in texts if text in self.kept}
        if new := [text for text in dict.fromkeys(texts) if text not in found]:
            made = dict(self.tokenizer(new, truncation=True))
            for place, text in enumerate(new):
                found[text] = {name: np.array(rows[place], np.int32) for name, rows in made.items()}
                if len(self.kept) < MOST:
                    self.kept[text] = found[text]
        rows = [found[text] for text in texts]
        return {name: self._filled([row[name] for row in rows], self.fillers.get(name, 0)) for name in rows[0]}

    def _filled(self, rows: list[np.ndarray], filler: int) -> np.ndarray:
        batch = np.full((len(rows), max(map(len, rows))), filler, np.int64)
        for line, row in zip(batch, rows, strict=True):
            line[slice(len(row)) if self.from_left else slice(len(line) - len(row), None)] = row
        return batch


# By tokenizer, and by what it was set to when it was asked.
_KEPT: WeakKeyDictionary[Any, dict[tuple[Any, ...], Kept]] = WeakKeyDictionary()


def is_tokenizer(collate_fn: Any) -> bool:
    """Whether it is a tokenizer of transformers."""
    return any((kind.__module__, kind.__name__) == KIND for kind in type(collate_fn).__mro__)


def reader(collate_fn: Callable[..., Any]) -> Callable[..., Any]:
    """A `collate_fn` as it is, or `Tokens` where it is a tokenizer."""
    if not is_tokenizer(collate_fn):
        return collate_fn
    tokenizer: Any = collate_fn
    present = tokenizer.model_max_length, len(tokenizer), tokenizer.truncation_side
    return Tokens(tokenizer, _KEPT.setdefault(tokenizer, {}).setdefault(present, {}))
