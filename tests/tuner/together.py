"""A program for processes that train together: python -m tests.tuner.together BACKEND FOLDER [EVERYTHING].

Each writes what came of it to FOLDER/<rank>.npz and FOLDER/<rank>.json.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import finetuner
from finetuner import inference
from finetuner.callback import Callback, HistoryLogger, TrainingCheckpoint
from finetuner.errors import FinetunerError
from finetuner.losses import CrossBatchMemory
from finetuner.world import launched
from tests.models import clusters, mlp

# Of 13 and 15 items no process has as many as the other; chunks are of 3 or 4.
CASES = {
    'infonce': {'loss': 'InfoNCELoss', 'batch_size': 15},
    'proxies': {'loss': 'ProxyAnchorLoss', 'batch_size': 13, 'accumulate': 2, 'mini_batch_size': 4},
    'memory': {'loss': CrossBatchMemory('InfoNCELoss', memory_size=30), 'batch_size': 13},
}


def trained(backend, noisy=False, seed=0, data=None, **options):
    """Weights, statistics and losses of a training, and what of it are weights of the framework."""
    model = mlp(backend, noisy=noisy, seed=seed)
    options = {'loss': 'InfoNCELoss', 'epochs': 2, 'batch_size': 13, 'device': 'cpu', 'val_split': 0} | options
    model, history = finetuner.fit(model, clusters() if data is None else data, return_history=True, **options)
    found = dict(inference.encoder(model).weights())
    return found | {'losses': np.array([record['train_loss'] for record in history.epochs])}


class At(Callback):
    """Does something once so many batches are trained."""

    def __init__(self, step, does):
        self.step, self.does = step, does

    def on_train_batch_end(self, tuner):
        if tuner.state.step == self.step:
            self.does(tuner)


class Masks(Callback):
    """Notes what the model gives for the same items in training mode, before the first batch."""

    def on_fit_begin(self, tuner):
        with tuner.statistics_kept():
            tuner.reseed_chunk()
            self.found = np.array(tuner.ops.to_numpy(tuner.forward(clusters()[0])))


def everything(backend, folder, rank):
    """What only processes that train together can do, and what they must not; arrays and facts."""
    arrays, facts = {}, {'quiet': finetuner.console.live_console.quiet}
    second = rank == 1

    # The weights of the first, whatever the others begin with; statistics and chance.
    masks = Masks()
    own = {'noisy': True, 'seed': 5 if second else 0}
    arrays['noisy'] = trained(backend, **own, callbacks=[masks, HistoryLogger(path=folder / f'history_{rank}.csv')])
    arrays['masks'] = {'': masks.found}

    # Ctrl-C in one ends all, at the same batch; the first saves.
    def pressed(tuner):
        os.kill(os.getpid(), signal.SIGINT)

    stop = [At(3, pressed)] if second else [At(3, lambda tuner: None)]
    saves = TrainingCheckpoint(save_dir=folder / 'saved')
    half = trained(backend, **own, callbacks=[*stop, saves])
    facts['interrupted'] = len(half['losses'])
    facts['saved'] = sorted(path.name for path in (folder / 'saved').glob('*'))
    arrays['resumed'] = trained(backend, **own, callbacks=[*stop, saves], resume=folder / 'saved')

    def stopped(tuner):
        tuner.stop_training = True

    facts['stopped'] = len(trained(backend, callbacks=[At(2, stopped)] if second else [])['losses'])

    # What goes wrong in one, and what is not the same in all.
    x, labels = clusters()

    def broken(item):
        if second and np.array_equal(item, x[7]):
            raise ValueError('torn')
        return item

    wrong = {
        'failed': {'preprocess_fn': broken},
        'data': {'data': (x, labels[::-1] if second else labels)},
        'arguments': {'learning_rate': 0.1 if second else 0.2},
        'few': {'batch_size': 1, 'loss': 'ArcFaceLoss'},
    }
    for name, options in wrong.items():
        try:
            trained(backend, **options)
            facts[name] = 'nothing'
        except FinetunerError as error:
            facts[name] = f'{type(error).__name__}: {error}'
    return arrays, facts


class Dies(Callback):
    """Ends the second process without a word, and notes what the first one makes of it."""

    def __init__(self, folder, rank):
        self.folder, self.rank = folder, rank

    def on_train_batch_end(self, tuner):
        if self.rank == 1:
            os._exit(3)

    def on_exception(self, tuner, exception):
        (self.folder / 'died').write_text(f'{type(exception).__name__}: {exception}')


def main(backend, folder, *more):
    """Train, and write."""
    rank, folder = launched().rank, Path(folder)
    found = {name: trained(backend, **options) for name, options in CASES.items() if more or name == 'infonce'}
    facts = {'size': finetuner.world.current().size, 'rank': finetuner.world.current().rank}
    if more:
        arrays, told = everything(backend, folder, rank)
        found, facts = found | arrays, facts | told
    np.savez(folder / f'{rank}.npz', **{f'{case}/{name}': a for case, one in found.items() for name, a in one.items()})
    (folder / f'{rank}.json').write_text(json.dumps(facts))
    if more:
        trained(backend, callbacks=[Dies(folder, rank)])


if __name__ == '__main__':
    main(*sys.argv[1:])
