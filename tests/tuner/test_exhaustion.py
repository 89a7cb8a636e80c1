"""Out of memory, under a real limit: what would fit is tried and said, and the weights come back."""

import pytest

from finetuner.memory import is_out_of_memory
from tests.fresh import run

LIMITED = """
import re, resource, sys
import numpy as np
import finetuner
from finetuner.callback import Callback
from finetuner.errors import TrainingError
from finetuner.inference import encoder
from finetuner.memory import is_out_of_memory
from tests.models import cnn

backend, spare, channels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = np.random.default_rng(0).standard_normal((128, 64, 64)).astype(np.float32), np.arange(128) % 8

class Limit(Callback):
    def on_train_epoch_begin(self, tuner):
        with open('/proc/self/statm') as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        limits.append(taken + spare * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limits[0], -1))

    def on_fit_end(self, tuner):
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

    def on_exception(self, tuner, exception):
        self.on_fit_end(tuner)

def trained(**arguments):
    model = cnn(backend, (1, channels), dim=8, side=64)
    before = encoder(model).weights()
    try:
        finetuner.fit(model, data, epochs=1, batch_size=128, callbacks=[Limit()], **arguments)
    finally:
        after = encoder(model).weights()
        unchanged.append(all(np.array_equal(value, after[name]) for name, value in before.items()))

unchanged, limits = [], []
try:
    trained()
except TrainingError as error:
    said = str(error)
    assert is_out_of_memory(error.__cause__)
print(said)
assert said.startswith('A batch of 128 items does not fit into memory. With ')
size = int(re.search(r'as was tried with this batch: mini_batch_size=(\\d+) learns', said)[1])
assert 1 <= size <= 64
trained(mini_batch_size=max(size // 4, 1))  # what memory is left lies in pieces
assert unchanged == [True, False], unchanged
"""
# Megabytes that there are, and channels of the model. TensorFlow keeps what it had, and what XLA compiles takes some.
SIZES = {'keras-tensorflow': ('200', '64'), 'keras-jax': ('200', '16')}


def test_the_size_that_fits_is_named_and_fits(backend):
    # Without memory oneDNN in TensorFlow 2.21 crashes: that it is told needs its other kernels.
    run(LIMITED, backend, *SIZES.get(backend, ('100', '32')), TF_ENABLE_ONEDNN_OPTS='0')


class OutOfMemoryError(RuntimeError):
    """As torch.cuda has it."""


class XlaRuntimeError(RuntimeError):
    """As jaxlib has it."""


@pytest.mark.parametrize(
    ('error', 'is_it'),
    [
        (MemoryError(), True),
        (OutOfMemoryError('CUDA'), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)'), True),
        (XlaRuntimeError('INTERNAL: Error dispatching computation: Out of memory allocating 594551976 bytes.'), True),
        (RuntimeError('could not create a primitive'), True),
        (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), False),
        (ValueError('out of memory'), False),
    ],
)
def test_what_is_out_of_memory(error, is_it):
    assert is_out_of_memory(error) is is_it
