"""What mining means, in loops over queries and documents: slow, obvious, and written without the library."""

import math


def similarity(a, b):
    length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0


def mined(
    queries,
    corpus,
    positives,
    vectors,
    k=3,
    query_labels=None,
    corpus_labels=None,
    range_min=0,
    range_max=None,
    absolute_margin=None,
    relative_margin=None,
    max_score=None,
    min_score=None,
    score=None,
):
    """Rows of (query, positive, [(negative, score), …], score of the positive), for texts."""
    query_vector = dict(zip(queries, vectors[0].astype(float).tolist(), strict=True))
    vector = {}
    for text, one in zip(corpus, vectors[1].astype(float).tolist(), strict=True):
        vector.setdefault(text, one)
    belongs, told = {}, {}
    for query, places in zip(queries, positives, strict=True):
        belongs.setdefault(query, set()).update(corpus[place] for place in places)
    if query_labels:
        for query, label in zip(queries, query_labels, strict=True):
            told.setdefault(query, set()).add(label)
    labels = {}
    for text, label in zip(corpus, corpus_labels or [], strict=False):
        labels.setdefault(text, set()).add(label)
    rows = []
    for query, places in zip(queries, positives, strict=True):
        near = {text: similarity(query_vector[query], one) for text, one in vector.items()}
        candidates = [
            text
            for text in vector
            if text not in belongs[query] and text != query and not told.get(query, set()) & labels.get(text, set())
        ]
        candidates.sort(key=lambda text: -near[text])
        candidates = candidates[range_min:range_max]
        judged = {text: score(query, text) for text in vector} if score else near
        lowest = min(judged[text] for text in belongs[query])
        kept = [
            text
            for text in candidates
            if (absolute_margin is None or judged[text] <= lowest - absolute_margin)
            and (relative_margin is None or judged[text] <= lowest - abs(lowest) * relative_margin)
            and (max_score is None or judged[text] <= max_score)
            and (min_score is None or judged[text] >= min_score)
        ]
        kept = sorted(kept, key=lambda text: -judged[text])[:k]
        for place in places:
            positive = corpus[place]
            rows.append((query, positive, [(text, judged[text]) for text in kept], judged[positive]))
    return rows
