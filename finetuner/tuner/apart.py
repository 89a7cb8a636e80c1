"""One update by several processes: each embeds its own rows of the batch, and all compute the loss of the whole.

It is GradCache with processes around the chunks, see `finetuner.tuner.step`: the embeddings of all are gathered, every
process has the loss of the whole batch and its slopes at all embeddings, pulls its own rows by their part of them, and
the slopes of the weights are added up. What the loss learns, and the memory of earlier batches, have in every process
all that they need; and the sampler is a function of (seed, epoch), so nobody needs to be told what others read.
"""

import hashlib
import json
import re
from typing import Any

import numpy as np

from finetuner.errors import ArgumentError, CheckpointError
from finetuner.tuner import settings
from finetuner.tuner.chunks import chunks
from finetuner.tuner.meeting import ended_elsewhere
from finetuner.typing import Codes, Inputs


def step(tuner: Any, inputs: Inputs, codes: Codes) -> Any:
    """What `train_step` does in one process; gives the loss of the whole batch.

    Args:
        tuner: set up.
        inputs: of the rows of this process.
        codes: of the whole batch.
    """
    world, state, items = tuner.world, tuner.state, tuner.loader.layout.items
    own = world.place(items)
    parts = list(chunks(inputs, tuner.here, tuner.mini_batch_size))
    if state.pending and world.rank:
        tuner.forget()  # the sum of the batches before is complete in every process: the first one brings it
    if len(parts) == 1:
        rows = tuner.attached(inputs)
        found = [tuner.ops.stop_gradient(rows)]
    else:
        found = []
        with tuner.statistics_kept():
            for number, (_, part) in enumerate(parts):
                tuner.reseed_chunk(number)
                found.append(tuner.forward(part))
    with ended_elsewhere():
        embeddings = world.gather(tuner.ops.concatenate(found), items)
    loss, slopes = tuner.derivative(embeddings, codes)
    if len(parts) == 1:
        tuner.draw(rows, slopes[own])
    else:
        for number, (place, part) in enumerate(parts):
            tuner.reseed_chunk(number)
            tuner.pull(part, slopes[own][place], update=False)
    with ended_elsewhere():
        tuner.unite()
    if state.completes:
        tuner.update()
    return loss


def check(tuner: Any) -> None:
    """Refuse processes that do not train the same, and give all of them the weights of the first.

    Args:
        tuner: set up, in every process.

    Raises:
        ArgumentError: the data, the settings or the models differ.
    """
    world, dataset = tuner.world, tuner.loader.dataset
    known = settings.facts(tuner)
    weights = {name: value.shape for name, value in tuner.encoder.weights().items()}
    sides = {
        'the arguments of fit': _written(known),
        'train_data': [
            [str(name) for name in dataset.records.names],
            [str(label) for label in dataset.classes],
            *(None if kept is None else np.asarray(kept).tolist() for kept in (
                dataset.label, dataset.records.session, dataset.records.grade, dataset.records.rows,
                dataset.records.scores,
            )),
        ],
        'the models': weights,
    }  # fmt: skip
    with ended_elsewhere():
        other = [what for what, value in sides.items() if not world.alike(_digest(value))]
        # All processes know of the same differences, so all ask on, and as often.
        if 'the arguments of fit' in other and world.alike(_digest(sorted(known))):
            names = [name for name in sorted(known) if not world.alike(_digest(_written(known[name])))]
            other[0] += f' ({", ".join(names)})'
    if other:
        raise ArgumentError(
            f'Processes that train together must be given the same, and {" and ".join(other)} are not the same in all '
            f'of them. Draw and shuffle with a seed, and read the same files. To train a model of its own in each '
            f'process, give fit devices=1, num_nodes=1.'
        )
    with ended_elsewhere():
        tuner.unify()


def check_resumed(tuner: Any) -> None:
    """Refuse processes that resumed from checkpoints of different contents.

    Args:
        tuner: resumed, in every process.

    Raises:
        CheckpointError: they are not the same.
    """
    weights = hashlib.sha256()
    for name, value in tuner.encoder.weights().items():
        weights.update(name.encode() + np.ascontiguousarray(value).tobytes())
    with ended_elsewhere():
        alike = tuner.world.alike(_digest([tuner.state.step, weights.hexdigest()]))
    if not alike:
        raise CheckpointError(
            'Processes that train together resumed from different checkpoints: all of them must see the folder that '
            'the first one wrote. Share it, or copy it to every machine.'
        )


def agree(tuner: Any) -> None:
    """Have all processes end with what the first one ended with.

    On unlike machines a metric may differ in its last digit, and with it the epoch that was best.
    """
    state, kept = tuner.state, tuner.state.finished
    with ended_elsewhere():
        tuner.unify()
        state.finished = bool(tuner.world.most(int(kept)))


def _written(value: Any) -> str:
    return re.sub(r' at 0x[0-9a-f]+', '', json.dumps(value, default=str, sort_keys=True))


def _digest(value: Any) -> int:
    # 31 bits: every backend has int32.
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:4], 'big') >> 1
