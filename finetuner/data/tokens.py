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
        return self.filled(self.ragged(texts), np.arange(len(texts)))

    def ragged(self, texts: list[str], keep: bool = True) -> 'Ragged':
        """The tokens of some texts, none filled up.

        Args:
            texts: the texts.
            keep: whether they are remembered.

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
                if keep and len(self.kept) < MOST:
                    self.kept[text] = found[text]
        rows = [found[text] for text in texts]
        lengths = np.array([len(next(iter(row.values()))) for row in rows], np.int64)
        return Ragged({name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, lengths)

    def filled(self, tokens: 'Ragged', rows: np.ndarray, width: int | None = None) -> dict[str, np.ndarray]:
        """Some of the texts, filled up to one length: a dict of arrays (B, T), int64.

        Args:
            tokens: of all of them.
            rows: (B,) which.
            width: T; that of the longest by default.
        """
        lengths, starts = tokens.lengths[rows], tokens.starts[rows]
        width = int(lengths.max(initial=0)) if width is None else width
        shift = 0 if self.from_left else width - lengths[:, None]
        place = np.arange(width) - shift
        there = (place >= 0) & (place < lengths[:, None])
        source = np.where(there, starts[:, None] + place, 0)
        return {
            name: np.where(there, flat[source] if len(flat) else 0, self.fillers.get(name, 0)).astype(np.int64)
            for name, flat in tokens.arrays.items()
        }


class Ragged:
    """The tokens of n texts, one after the other.

    Args:
        arrays: by name the numbers of all tokens.
        lengths: (n,) how many tokens each text has.
    """

    def __init__(self, arrays: dict[str, np.ndarray], lengths: np.ndarray) -> None:
        self.arrays, self.lengths = arrays, lengths
        self.starts = np.cumsum(lengths) - lengths

    @classmethod
    def joined(cls, parts: 'list[Ragged]') -> 'Ragged':
        """One after the other."""
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        return cls(arrays, np.concatenate([part.lengths for part in parts]))


class Unpadded:
    """A tokenizer as a `collate_fn` that gives `Ragged`, and remembers nothing more; it may go to another process.

    Args:
        tokenizer: of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str]) -> Ragged:
        """The tokens of some texts."""
        return tokens(self.tokenizer).ragged(texts, keep=False)


# By tokenizer, and by what it was set to when it was asked.
_KEPT: WeakKeyDictionary[Any, dict[tuple[Any, ...], Kept]] = WeakKeyDictionary()


def is_tokenizer(collate_fn: Any) -> bool:
    """Whether it is a tokenizer of transformers."""
    return any((kind.__module__, kind.__name__) == KIND for kind in type(collate_fn).__mro__)


def reader(collate_fn: Callable[..., Any]) -> Callable[..., Any]:
    """A `collate_fn` as it is, or `Tokens` where it is a tokenizer."""
    return tokens(collate_fn) if is_tokenizer(collate_fn) else collate_fn


def tokens(tokenizer: Any) -> Tokens:
    """What makes inputs of texts with a tokenizer, as it is set at present; it remembers them."""
    present = tokenizer.model_max_length, len(tokenizer), tokenizer.truncation_side
    return Tokens(tokenizer, _KEPT.setdefault(tokenizer, {}).setdefault(present, {}))
