"""Reads docarray 0.4x: a DocList or DocVec of any schema, or a list of BaseDocs.

A document's label is its field `label` or `finetuner_label`, or `tags['finetuner_label']`; its content the first
field of `content`, `tensor`, `text`, `blob`, `bytes_`, `url` and `uri` that is filled. Two fields that are documents
themselves, or two `chunks`, are a pair.
"""

from collections.abc import Sequence
from typing import Any

from finetuner.data.readers.tree import SCORE, TAG, Asks, read_tree
from finetuner.data.records import Records
from finetuner.data.uri import Uri, decoded, is_image, load
from finetuner.errors import DataError

_CONTENTS = ('content', 'tensor', 'text', 'blob', 'bytes_')
_ADDRESSES = ('url', 'uri')


def content(document: Any) -> Any:
    """The content of a document; what stands at its `url` where it has none.

    Raises:
        DataError: no field is one that holds a content.
    """
    fields = _fields(document)
    for name in _CONTENTS:
        value = getattr(document, name, None) if name in fields else None
        if value is not None and not (name == 'text' and value == '' and _address(document)):
            if isinstance(value, bytes) and is_image(value):
                return decoded(bytes(value), '')
            return str(value) if isinstance(value, str) else value
    if _address(document):
        return load(Uri(_address(document)))
    raise DataError(
        f'a {type(document).__name__} has nothing in a field that is a content ({", ".join(_CONTENTS + _ADDRESSES)}); '
        f'name one so, or take it out in preprocess_fn'
    )


def _fields(document: Any) -> tuple[str, ...]:
    kind = type(document)
    # The names of pydantic 2, else of pydantic 1.
    return tuple(getattr(kind, 'model_fields', None) or getattr(kind, '__fields__', None) or ())


def _address(document: Any) -> str:
    for name in _ADDRESSES:
        if name in _fields(document) and getattr(document, name):
            return str(getattr(document, name))
    return ''


def _label(document: Any) -> Any:
    return _first(document, ('label', TAG), TAG)


def _score(document: Any) -> Any:
    return _first(document, ('score', SCORE), SCORE)


def _first(document: Any, names: tuple[str, ...], tag: str) -> Any:
    fields = _fields(document)
    for name in names:
        if name in fields and getattr(document, name) is not None:
            return getattr(document, name)
    return (getattr(document, 'tags', None) or {}).get(tag) if 'tags' in fields else None


def _matches(document: Any) -> Sequence[Any]:
    return (document.matches or ()) if 'matches' in _fields(document) else ()


def _parts(document: Any) -> Sequence[Any]:
    fields = _fields(document)
    if 'chunks' in fields:
        return document.chunks or ()
    values = (getattr(document, name) for name in fields)
    return [value for value in values if hasattr(type(value), 'to_protobuf') and _fields(value)]


def _id(document: Any) -> Any:
    return document.id


def read(data: Any, supervision: str | None = None) -> Records:
    """Records of documents of any schema.

    Raises:
        DataError: documents differ in what they teach, or a match is labelled neither 1 nor -1.
    """
    return read_tree(data, Asks(_label, _score, _matches, _parts, content, _id), supervision)
