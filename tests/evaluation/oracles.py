"""Retrieval metrics of one query, as slow as their definitions read."""

import math


def hits(relevance: list, k: int | None) -> list:
    return [int(r > 0) for r in relevance[:k]]


def precision_at_k(relevance, n_relevant, k=None):
    return sum(hits(relevance, k)) / (k or len(relevance))


def recall_at_k(relevance, n_relevant, k=None):
    return sum(hits(relevance, k)) / n_relevant


def f1_score_at_k(relevance, n_relevant, k=None):
    p, r = precision_at_k(relevance, n_relevant, k), recall_at_k(relevance, n_relevant, k)
    return 2 * p * r / (p + r) if p + r else 0.0


def hit_at_k(relevance, n_relevant, k=None):
    return float(1 in hits(relevance, k))


def dcg_at_k(relevance, n_relevant, k=None):
    return sum(r / math.log2(rank + 1) for rank, r in enumerate(relevance[:k], start=1) if r > 0)


def ndcg_at_k(relevance, n_relevant, k=None):
    ideal = [1] * n_relevant + [0] * len(relevance)
    return dcg_at_k(relevance, n_relevant, k) / dcg_at_k(ideal, n_relevant, k or len(relevance))


def average_precision(relevance, n_relevant, k=None):
    found = hits(relevance, k)
    return sum(sum(found[:rank]) / rank for rank in range(1, len(found) + 1) if found[rank - 1]) / n_relevant


def reciprocal_rank(relevance, n_relevant, k=None):
    found = hits(relevance, k)
    return 1 / (found.index(1) + 1) if 1 in found else 0.0


def r_precision(relevance, n_relevant, k=None):
    return sum(hits(relevance, k)[:n_relevant]) / n_relevant


def map_at_r(relevance, n_relevant, k=None):
    return average_precision(hits(relevance, k)[:n_relevant], n_relevant)
