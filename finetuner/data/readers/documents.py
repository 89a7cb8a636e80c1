"""Reads docarray 0.21: a DocumentArray, in memory or on disk, or a list of Documents."""

import os
import pickle
from collections.abc import Sequence
from typing import Any

from finetuner.data.readers.tree import SCORE, TAG, Asks, read_tree
from finetuner.data.records import Records
from finetuner.data.uri import Uri, decoded, is_image, load
from finetuner.data.views import View


def content(document: Any) -> Any:
    """The content of a document; what stands at its `uri` where it has none."""
    found = document.content
    if found is None and document.uri:
        return load(Uri(document.uri))
    return decoded(found, '') if isinstance(found, bytes) and is_image(found) else found


def _label(document: Any) -> Any:
    return document.tags.get(TAG)


def _score(document: Any) -> Any:
    return document.tags.get(SCORE)


def _matches(document: Any) -> Sequence[Any]:
    return document.matches  # type: ignore[no-any-return]


def _chunks(document: Any) -> Sequence[Any]:
    return document.chunks  # type: ignore[no-any-return]


def _id(document: Any) -> Any:
    return document.id


ASKS = Asks(_label, _score, _matches, _chunks, content, _id)


class Stored(View):
    """A DocumentArray on disk. A forked process opens it anew, because a connection must not be shared.

    Attributes:
        documents: as given.
    """

    def __init__(self, documents: Any) -> None:
        self.n, self.documents, self.process = len(documents), documents, os.getpid()

    def get(self, i: int) -> Any:
        """Document i, read from disk."""
        if os.getpid() != self.process:
            self.documents, self.process = pickle.loads(pickle.dumps(self.documents)), os.getpid()
        return self.documents[i]


def read(data: Any, supervision: str | None = None) -> Records:
    """Records of documents: `tags['finetuner_label']`, labelled `matches`, or two `chunks`.

    Raises:
        DataError: documents differ in what they teach, or a match is labelled neither 1 nor -1.
    """
    on_disk = hasattr(data, 'summary') and not type(data).__module__.startswith('docarray.array.memory')
    records = read_tree(Stored(data) if on_disk else data, ASKS, supervision)
    if on_disk and records.documents is not None:
        return Records(**{**vars(records), 'documents': data})
    return records
