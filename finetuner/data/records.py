"""What every reader gives: items, how they are called, and what is known about them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from finetuner.data.views import Chosen

Kind = Literal['class', 'session', 'pair', 'score', 'instance']
KINDS: tuple[Kind, ...] = get_args(Kind)

Label = Hashable
"""One label, a tuple of several, or None where there is none."""


def unchanged(item: Any) -> Any:
    """The item is its own content."""
    return item


@dataclass(frozen=True, eq=False)
class Records:
    """Items and their supervision, whatever they were read from. Contents are read item by item, when needed.

    Attributes:
        kind: 'class', 'session', 'pair', 'score' or 'instance'.
        contents: the n items as `preprocess_fn` receives them: documents, or contents as they were given.
        names: how errors call each item: 'row 3', 'data.csv line 17', a document's id.
        labels: of 'class': for each item one label, a tuple of several, or None where it is missing.
        session: (n,) of 'session': the number of the item's session.
        grade: (n,) of 'session': 0 for the root, -1 for what does not belong to it, 1 for what does, and more for what
            belongs to it more.
        rows: (R, width) item numbers. Of 'pair': anchor, positive, negatives, and -1 where a row has fewer of them
            than others; of 'score': anchor and what it is compared with.
        scores: (R, S) of 'score': one similarity per compared item, or one margin.
        default_content: from an item to its content where there is no `preprocess_fn`.
        documents: the documents that `fill` gives their embedding, one an item; None where there are none.
    """

    kind: Kind
    contents: Sequence[Any]
    names: Sequence[str]
    labels: list[Label] | None = None
    session: np.ndarray | None = None
    grade: np.ndarray | None = None
    rows: np.ndarray | None = None
    scores: np.ndarray | None = None
    default_content: Callable[[Any], Any] = unchanged
    documents: Any = None

    def __len__(self) -> int:
        """The number of items."""
        return len(self.contents)

    @property
    def width(self) -> int:
        """The number of columns of pairs and scores; 1 for everything else."""
        return 1 if self.rows is None else int(self.rows.shape[1])

    def alone(self) -> 'Records':
        """The same items without their supervision."""
        return Records(
            'instance', self.contents, self.names, default_content=self.default_content, documents=self.documents
        )

    def chosen(self, items: Sequence[int] | np.ndarray) -> 'Records':
        """Some of the items, without their supervision."""
        contents, names = Chosen(self.contents, items), Chosen(self.names, items)
        return Records('instance', contents, names, default_content=self.default_content)

    def fill(self, vectors: np.ndarray) -> None:
        """Give every document its embedding, if these are documents.

        Args:
            vectors: (n, D), one an item; copied where they are only to be read.
        """
        documents = self.documents
        if documents is None or not len(documents):
            return
        if not vectors.flags.writeable:  # mapped from a file
            vectors = np.array(vectors)
        if hasattr(documents, 'summary') and hasattr(type(documents), 'embeddings'):
            documents.embeddings = vectors  # a DocumentArray, which may live on disk
            return
        for document, vector in zip(documents, vectors, strict=True):
            if hasattr(document, 'embedding'):
                document.embedding = vector

    def summary(self) -> str:
        """What is in them, in a few words.

        >>> Records('class', ['a', 'b'], ['row 0', 'row 1'], labels=[1, 2]).summary()
        '2 items of 2 classes'
        """
        items = f'{len(self):,} item{"s" * (len(self) != 1)}'
        if self.kind == 'class':
            assert self.labels is not None
            found: set[Label] = set()
            for label in self.labels:
                found.update(label if isinstance(label, tuple) else () if label is None else (label,))
            return f'{items} of {len(found):,} class{"es" * (len(found) != 1)}'
        if self.session is not None:
            return f'{items} in {len(np.unique(self.session)):,} sessions'
        if self.rows is not None:
            plain = {('pair', 2): 'pairs', ('score', 2): 'scored pairs', ('score', 3): 'scored triplets'}
            what = plain.get((self.kind, self.width), f'rows of {self.width}')
            return f'{len(self.rows):,} {what}'
        return f'{items} without labels'
