"""The vectors that documents carry, and what vectors must be; errors name the items and not rows of an array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.data.records import Records
from finetuner.data.views import listed
from finetuner.dispatch import get_namespace
from finetuner.errors import DataError

# Numbers looked at at a time.
_HELD = 1 << 20


def carried(records: Records, items: np.ndarray) -> np.ndarray:
    """The embeddings that documents carry, (N, D).

    Args:
        records: documents.
        items: (N,) which of them.

    Raises:
        DataError: an item has none, or not of the shape of the others; names it.
    """
    contents = records.contents
    if not np.array_equal(items, np.arange(len(contents))):
        contents = [records.contents[item] for item in items.tolist()]
    known: list[Any] = [getattr(content, 'embedding', None) for content in contents]
    if set(map(type, known)) == {np.ndarray} and len({vector.shape for vector in known}) == 1:
        return np.concatenate([vector.reshape(1, -1) for vector in known])
    found: list[np.ndarray] = []
    for item in items.tolist():
        content = records.contents[item]
        vector = getattr(content, 'embedding', None)
        if vector is None:
            what = 'has no embedding' if hasattr(content, 'embedding') else 'is no document and carries no embedding'
            raise DataError(
                f'Without a model every document must carry its embedding; {records.names[item]} {what}. '
                f'Pass model=, or embed the documents first: finetuner.embed(model, documents).'
            )
        if hasattr(vector, 'toarray'):
            vector = vector.toarray()  # of scipy, sparse
        if not isinstance(vector, np.ndarray | list | tuple):
            vector = get_namespace(vector).to_numpy(vector)
        row = np.asarray(vector).reshape(-1)
        if found and row.shape != found[0].shape:
            raise DataError(
                f'All embeddings must have one length; that of {records.names[item]} has {len(row)} numbers, '
                f'that of {records.names[int(items[0])]} {len(found[0])}.'
            )
        found.append(row)
    return np.stack(found)


def check_vectors(vectors: np.ndarray, names: Sequence[str], items: np.ndarray, role: str) -> None:
    """Refuse vectors that are not finite.

    Args:
        vectors: (N, D).
        names: of all items of a data set.
        items: (N,) which of them these are.
        role: what the data set is called.

    Raises:
        DataError: names the items.
    """
    if vectors.dtype.kind != 'f' or vectors.ndim != 2:
        return
    step = max(_HELD // max(vectors.shape[1], 1), 1)
    bad = [a + np.flatnonzero(~np.isfinite(vectors[a : a + step]).all(axis=1)) for a in range(0, len(vectors), step)]
    wrong = np.concatenate([np.empty(0, np.int64), *bad])
    if wrong.size:
        raise DataError(
            f'Vectors must be finite; NaN or infinite {"are those" if wrong.size > 1 else "is that"} of '
            f'{listed(names, items[wrong])} in {role}. Check the model, or leave these items out.'
        )
