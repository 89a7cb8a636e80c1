"""A long encode that is killed goes on in another process, and comes to the same file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys, time
import numpy as np
import finetuner
from finetuner.encoding import batches, output
from tests.encoding.stand_ins import PreTrainedTokenizerBase, texts
from tests.tuner.test_group_by_length import reader

output.EVERY = 0
batches.WINDOW, batches.BLOCK, batches.BUDGET['cpu'] = 16, 200, 64
path, pause, processes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
seen, tokenizer = [], PreTrainedTokenizerBase()
model = reader('torch', seen)
original = model.forward

def forward(input_ids, attention_mask):
    time.sleep(pause)
    return original(input_ids, attention_mask)

model.forward = forward
options = {'collate_fn': tokenizer, 'normalize': True, 'processes': processes}
finetuner.encode(model, texts(300), output=path, **options)
print(sum(rows for rows, _, _ in seen), len(tokenizer.seen))
finetuner.encode(model, texts(300), output=path + '.whole.npy', **options)
"""


def start(path, pause=0.0, processes=1):
    return subprocess.Popen(
        [sys.executable, '-c', PROGRAM, str(path), str(pause), str(processes)],
        cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process):
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [int(number) for number in said.split()[-2:]]


@pytest.mark.backends('torch')
def test_an_encode_that_was_killed_goes_on(tmp_path):
    path, note = tmp_path / 'vectors.npy', tmp_path / 'vectors.npy.json'
    process = start(path, 0.05, processes=2)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if note.exists() and json.loads(note.read_text())['next'][0] >= 4:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not path.exists() and (tmp_path / 'vectors.npy.part').exists()
    computed, tokenized = finished(start(path))
    assert 0 < computed < 260 and 0 < tokenized < 260
    assert path.read_bytes() == (tmp_path / 'vectors.npy.whole.npy').read_bytes()
