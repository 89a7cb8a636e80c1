"""Views of texts: without some of their words."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.data.augmentation.ranges import part
from finetuner.errors import ArgumentError, DataError

_WORD = re.compile(r'\S+\s*')


@dataclass(frozen=True)
class WordDropout:
    """A text without some of its words; at least one stays.

    Words are what stands between spaces, so a text without spaces stays as it is. In a model with dropout the dropout
    comes on top.

    Args:
        rate: how often a word is left out.

    Raises:
        ArgumentError: `rate` is no number from 0 up to, and without, 1.

    Source: Wei and Zou, 2019 (EDA); Gao et al., 2021 (SimCSE) compare it with dropout.

    >>> np.random.seed(4)
    >>> WordDropout(0.4)('how do I send money to a friend')
    'how do I send money a'
    """

    rate: float = 0.2

    def __post_init__(self) -> None:
        part('rate', self.rate)
        if self.rate == 1:
            raise ArgumentError('rate=1 leaves no words: expected a number below 1.')

    def __call__(self, content: Any) -> str:
        """A view of a text.

        Raises:
            DataError: it is no text.
        """
        if not isinstance(content, str):
            raise DataError(f'expected a text, came a {type(content).__name__}')
        words = _WORD.findall(content)
        if not words:
            return content
        stays = np.random.random(len(words)) >= self.rate
        stays[np.random.randint(len(words))] |= not stays.any()
        return ''.join(word for word, stay in zip(words, stays, strict=True) if stay).rstrip()
