"""What the columns of a table say: `text` and `label`, `anchor`, `positive` and `negative`, `text1`, `text2`, `score`.

| columns | kind |
|---|---|
| one of text, image, uri, content, …, and a label | class |
| one of them alone | instance |
| text and image | pair |
| anchor, positive, any number of negatives | pair |
| the same with one or more scores | score |
| token ids and the like, with or without a label | class, instance |
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetuner.data.labels import is_missing
from finetuner.data.readers.items import rows_of
from finetuner.data.readers.sequences import normal_labels
from finetuner.data.records import Records
from finetuner.data.uri import Uris, loaded
from finetuner.data.views import Parts, listed
from finetuner.errors import DataError, enumerated

FETCHED = ('http', 'https', 'file', 'data')
_PICTURES = ('image', 'uri', 'url', 'path')
_CONTENTS = ('text', 'content', 'sentence', 'tensor', 'blob', 'mesh', 'audio', *_PICTURES)
_LABELS = ('label', 'labels', 'finetuner_label', 'category', 'class')
_ANCHORS = ('anchor', 'query', 'question', 'text1', 'text_1', 'sentence1', 'sentence_1')
_POSITIVES = ('positive', 'document', 'answer', 'text2', 'text_2', 'sentence2', 'sentence_2')
_SCORES = re.compile(r'(finetuner_)?score_?\d*|similarity(_score)?|margin')
_NEGATIVES = re.compile(r'negative_?\d*')
_TENSORS = ('input_ids', 'attention_mask', 'token_type_ids', 'pixel_values', 'input_features')


def is_known(name: str) -> bool:
    """Whether a column of this name says what it is."""
    name = name.strip().lower()
    exact = (*_CONTENTS, *_LABELS, *_ANCHORS, *_POSITIVES, *_TENSORS)
    return name in exact or bool(_SCORES.fullmatch(name) or _NEGATIVES.fullmatch(name))


def read_table(
    columns: Mapping[str, Sequence[Any]],
    names: Sequence[str],
    supervision: str | None = None,
    schemes: tuple[str, ...] = FETCHED,
) -> Records:
    """Records of a table by what its columns are called; capitals do not count.

    Args:
        columns: the cells by the name of the column, in order.
        names: how errors call each row.
        supervision: what to read it as; None sees for itself.
        schemes: which URLs may be fetched.

    Raises:
        DataError: the columns do not say what they are; lists them.
    """
    table = {name.strip().lower(): column for name, column in columns.items()}
    for name in _PICTURES:
        if name in table and not isinstance(table[name], Uris):
            table[name] = Uris(table[name], schemes)
    anchors, positives, contents, labels = (
        [name for name in table if name in known] for known in (_ANCHORS, _POSITIVES, _CONTENTS, _LABELS)
    )
    scores = [name for name in table if _SCORES.fullmatch(name)]
    compared = [*anchors[:1], *positives[:1], *(name for name in table if _NEGATIVES.fullmatch(name))]
    if not compared and not labels and len(contents) == 2 and 'text' in contents:
        compared = sorted(contents, key=lambda name: name != 'text')
    elif anchors or positives:
        if (len(anchors), len(positives)) != (1, 1):
            raise _unclear(columns, 'Pairs need one anchor and one positive')
        if labels and not scores and supervision != 'pair':
            raise _unclear(columns, f'Call {labels[0]!r} score if it is a grade, or drop it')
    if len(compared) > 1:
        return _rows(table, compared, names, scores if supervision != 'pair' else [], supervision)
    tensors = {name: table[name] for name in _TENSORS if name in table}
    if len(contents) != 1 and not tensors:
        raise _unclear(columns, 'Keep one of these contents' if contents else 'Call one text, image, uri or content')
    items: Any = Parts(tensors) if tensors else table[contents[0]]
    if supervision == 'instance' or (not labels and len(table) == max(len(tensors), 1)):
        return Records('instance', items, names, default_content=loaded)
    if len(labels) != 1:
        raise _unclear(columns, 'Call one of them label, or keep the content alone to learn without labels')
    return Records('class', items, names, normal_labels(list(table[labels[0]]), names), default_content=loaded)


def _rows(
    table: Mapping[str, Sequence[Any]],
    compared: list[str],
    names: Sequence[str],
    scores: list[str],
    supervision: str | None,
) -> Records:
    values = np.stack([_numbers(table[name], name, names) for name in scores], axis=1) if scores else None
    columns = [table[name] for name in compared]
    records = rows_of(columns, names, values, ragged=values is None, headers=compared)
    records = Records(**{**vars(records), 'default_content': loaded})
    return records.alone() if supervision == 'instance' else records


def _numbers(column: Sequence[Any], header: str, names: Sequence[str]) -> np.ndarray:
    values = np.full(len(names), np.nan, np.float32)
    for place, cell in enumerate(column):
        try:
            values[place] = np.nan if is_missing(cell) else float(cell)
        except (TypeError, ValueError):
            pass
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(f'The {header} is no finite number in {listed(names, bad)}.')
    return values


def _unclear(columns: Mapping[str, Any], hint: str) -> DataError:
    return DataError(
        f'The columns {enumerated(list(columns), most=12)} do not say what is to be learned. {hint}. '
        f'Understood are: text, image, uri or content, with label; anchor, positive, negative; text1, text2, score.'
    )
