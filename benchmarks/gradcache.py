"""A large batch in chunks: its memory against that of a small batch, its time against accumulated slopes.

Accumulation does as many forward and backward passes, but each chunk meets only itself: it learns less. Chunks with
`mini_batch_size` meet the whole batch for one more forward pass, a third of the work in theory, and the N x N arrays of
the loss. Each part runs in a process of its own, on one thread; times are CPU seconds of the last step, memory is what
the training needs above the model with its data.

    python -m benchmarks.gradcache          # 1,024 items through a small transformer; also against the whole batch
    python -m benchmarks.gradcache --full   # 4,096 items of 32 tokens through MiniLM, half an hour
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.measure import RESULTS, peak_megabytes, save
from finetuner.api import fit
from finetuner.callback import Callback
from finetuner.inference import encoder
from finetuner.losses import InfoNCELoss
from finetuner.losses.relation import same_class
from finetuner.tuner.chunks import chunks
from finetuner.tuner.schedule import Optimization

CHUNK, LENGTH, WORDS = 64, 32, 20_000
CASES = {
    'quick': (1024, 3, ('small', 'chunked', 'accumulated', 'whole')),
    'full': (4096, 2, ('small', 'chunked', 'accumulated')),
}
MEMORY, ARRAYS, TIME = 1.3, 8, 1.5  # times that of a batch of CHUNK, plus so many N x N arrays; times accumulation


class Sentences:
    """Made-up sentences, two of each class, as token ids."""

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.ids = rng.integers(1000, WORDS, (n, LENGTH))
        self.labels = np.arange(n) // 2

    @staticmethod
    def tokens(items: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {'input_ids': np.stack(items), 'attention_mask': np.ones((len(items), LENGTH), np.int64)}


class Clock(Callback):
    """CPU seconds of every step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_begin(self, tuner: Any) -> None:
        self.begun = process_time()

    def on_train_batch_end(self, tuner: Any) -> None:
        self.seconds.append(process_time() - self.begun)


def small_transformer() -> Any:
    """Two layers of 128 dimensions without dropout, so that chunks and the whole batch must agree."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {'hidden_size': 128, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'intermediate_size': 512}
    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes
    )

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, **tokens: Any) -> Any:
            return self.bert(**tokens).last_hidden_state.mean(1)

    return Pooled()


def accumulated(model: Any, data: Sentences, steps: int) -> list[float]:
    """Slopes of chunks that know nothing of each other, added up; CPU seconds of every step."""
    import torch

    numbers, formula, seconds = Optimization(), InfoNCELoss(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=numbers.weight_decay)
    inputs = {name: torch.from_numpy(array) for name, array in data.tokens(list(data.ids)).items()}
    labels = torch.from_numpy(data.labels)
    model.train()
    for _ in range(steps):
        begun = process_time()
        optimizer.zero_grad()
        for place, part in chunks(inputs, len(labels), CHUNK):
            embeddings = model(**part)
            loss = formula(embeddings, embeddings, same_class(labels[place], like=embeddings))
            (loss * len(embeddings) / len(labels)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), numbers.clip)
        optimizer.step()
        seconds.append(process_time() - begun)
    return seconds


def load_everything() -> None:
    """Train something tiny, so that libraries are not counted as memory of the training."""
    import torch

    fit(torch.nn.Linear(4, 2), (np.eye(4, dtype=np.float32), [0, 0, 1, 1]), epochs=1)


def child(case: str, part: str, path: str) -> None:
    n, steps, _ = CASES[case]
    n = CHUNK if part == 'small' else n
    model = small_transformer() if case == 'quick' else models.minilm()[0]
    data, clock = Sentences(n), Clock()

    def train() -> None:
        if part == 'accumulated':
            clock.seconds = accumulated(model, data, steps)
            return
        fit(
            model, (data.ids, data.labels), batch_size=n, mini_batch_size=CHUNK if part == 'chunked' else None,
            epochs=steps, loss='InfoNCELoss', learning_rate=1e-4, collate_fn=data.tokens, callbacks=[clock], seed=0,
            precision='32',
            guard=False,
        )  # fmt: skip

    load_everything()
    megabytes = peak_megabytes(train)
    np.savez(Path(path).with_suffix('.npz'), **encoder(model).weights())
    Path(path).write_text(json.dumps({'megabytes': round(megabytes, 1), 'seconds': round(clock.seconds[-1], 3)}))


def measure(case: str) -> dict[str, Any]:
    n, _, parts = CASES[case]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'}
    with tempfile.TemporaryDirectory() as folder:
        environment['FINETUNER_HOME'] = folder
        found: dict[str, Any] = {}
        for part in parts:
            path = Path(folder) / f'{part}.json'
            command = [sys.executable, '-m', 'benchmarks.gradcache', '--child', case, part, str(path)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f'{case}, {part}:\n{done.stdout}\n{done.stderr}')
            found[part] = json.loads(path.read_text())
            print(f'{case} {part}: {found[part]["megabytes"]:.0f} MB, {found[part]["seconds"]:.2f} s', flush=True)
        if 'whole' in parts:
            chunked, whole = (np.load(Path(folder) / f'{part}.npz') for part in ('chunked', 'whole'))
            found['weights_differ'] = max(float(np.abs(chunked[name] - whole[name]).max()) for name in whole.files)
    found['megabytes_allowed'] = round(MEMORY * found['small']['megabytes'] + ARRAYS * n**2 * 4 / 2**20, 1)
    found['times_accumulation'] = round(found['chunked']['seconds'] / found['accumulated']['seconds'], 3)
    return {'items': n, 'chunk': CHUNK, 'tokens': LENGTH, **found}


def main(arguments: list[str]) -> None:
    case = 'full' if '--full' in arguments else 'quick'
    known = RESULTS / 'gradcache.json'
    results = json.loads(known.read_text()) if known.exists() else {}
    results[case] = found = measure(case)
    save('gradcache', results)
    used, allowed = found['chunked']['megabytes'], found['megabytes_allowed']
    print(f'memory {used:.0f} of {allowed:.0f} MB allowed, time {found["times_accumulation"]:.2f} x accumulation')
    if used > allowed or found['times_accumulation'] > TIME or found.get('weights_differ', 0) > 1e-5:
        raise SystemExit(f'More memory or time than the target, or other weights: {found}')


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
