"""Hard negatives for 10,000 pairs, embeddings given, against sentence-transformers' `mine_hard_negatives`.

Both search the same vectors for five negatives of each query with a relative margin of 0.05, and must come to the same
triplets. The work is that after encoding; time is the least CPU time of several turns, memory the highest of one.

    python -m benchmarks.mining [PAIRS]
"""

import os
import sys

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import sentence_transformers
import torch
from datasets import Dataset
from sentence_transformers.util import mine_hard_negatives as theirs

import finetuner
from benchmarks.measure import cpu_seconds, peak_megabytes, save

DIM, NEGATIVES, MARGIN, TARGET = 384, 5, 0.05, 2.0


class Encoded:
    """What theirs asks of a model, with the vectors at hand."""

    device = torch.device('cpu')

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors

    def encode_document(self, texts: list[str], **_: object) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.vectors[text] for text in texts]))

    encode_query = encode_document

    def similarity(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b.T

    def similarity_pairwise(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(1)


def main(pairs: int) -> int:
    """Measure both; 1 if ours misses the target."""
    torch.set_num_threads(1)
    chance = np.random.default_rng(0)
    topics = chance.standard_normal((pairs // 20, DIM))

    def unit(x: np.ndarray) -> np.ndarray:
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    of = topics[chance.integers(0, len(topics), pairs)]
    documents = unit(of + 0.7 * chance.standard_normal((pairs, DIM)))
    queries = unit(documents + 0.03 * chance.standard_normal((pairs, DIM)))
    rows = [(f'query {i}', f'document {i}') for i in range(pairs)]
    vectors = {text: v for i, row in enumerate(rows) for text, v in zip(row, (queries[i], documents[i]), strict=True)}
    data = Dataset.from_dict({'query': [q for q, _ in rows], 'document': [d for _, d in rows]})

    def ours() -> list[tuple]:
        return finetuner.mine_hard_negatives(
            None,
            rows,
            query_embeddings=queries,
            corpus_embeddings=documents,
            num_negatives=NEGATIVES,
            relative_margin=MARGIN,
            show_progress=False,
        )

    def peer() -> Dataset:
        return theirs(
            data,
            Encoded(vectors),
            num_negatives=NEGATIVES,
            relative_margin=MARGIN,
            output_format='triplet',
            verbose=False,
        )

    found = {(row[0], negative) for row in ours() for negative in row[2:]}
    right = {(row['query'], row['negative']) for row in peer()}
    agreement = len(found & right) / max(len(found | right), 1)
    assert agreement > 0.999, f'{len(found)} negatives, theirs {len(right)}, {len(found & right)} in common'
    memory = {'ours': peak_megabytes(ours), 'theirs': peak_megabytes(peer)}
    cpu = cpu_seconds({'ours': ours, 'theirs': peer}, rounds=3)
    ratio = cpu['theirs'] / cpu['ours']
    result = {
        'pairs': pairs,
        'negatives': len(found),
        'agreement': round(agreement, 5),
        'cpu_s': {side: round(seconds, 3) for side, seconds in cpu.items()},
        'ratio': round(ratio, 2),
        'target': TARGET,
        'peak_mb': {side: round(mb, 1) for side, mb in memory.items()},
        'sentence-transformers': sentence_transformers.__version__,
    }
    print(result)
    save('mining', result)
    return int(ratio < TARGET)


if __name__ == '__main__':
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
