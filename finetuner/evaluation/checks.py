"""What vectors must be before they are compared, so that an error names the items and not rows of an array."""

from collections.abc import Sequence

import numpy as np

from finetuner.data.views import listed
from finetuner.errors import DataError

# Numbers looked at at a time.
_HELD = 1 << 20


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
