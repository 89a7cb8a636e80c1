"""A training on disk: weights, optimizer, what the loss learned, and the state; enough to go on as if nothing was."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.console import logger
from finetuner.errors import CheckpointError
from finetuner.tuner import settings

PREFIX, STEP = 'saved_model_epoch_', '_step_'


def save(tuner: Any, folder: str | Path) -> Path:
    """Write the training as it stands after a batch.

    Raises:
        StorageError: there is no room for it, say.
    """
    optimizer, numbers = tuner.optimizer_state()
    # First, for a callback may count while it gives them.
    kept = {
        f'{callback.key(tuner)}/{name}': value
        for callback in tuner.callbacks
        for name, value in callback.arrays(tuner).items()
    }
    facts = {
        'state': tuner.state.dict() | {'untold': tuner.tell.rest()},
        'training': {**settings.facts(tuner), 'optimizer': numbers},
    }
    arrays = {
        'weights': tuner.encoder.weights(),
        'learned': tuner.learned(),
        'memory': tuner.remembered(),
        'optimizer': optimizer,
        'callbacks': kept,
    }
    tuner.saved = written = artifact.write(folder, arrays, facts)
    return written


def place(home: str | Path, tuner: Any, within: bool = False) -> Path:
    """Where in a folder of checkpoints that of the present epoch is, or of the present step within it."""
    step = f'{STEP}{tuner.state.step:06d}' if within else ''
    return Path(home) / f'{PREFIX}{tuner.state.epoch + 1:02d}{step}'


def settle(tuner: Any, what: str, before: Path | None) -> None:
    """Save what was interrupted, where no callback did, and say how to go on.

    Args:
        tuner: interrupted, and all callbacks know.
        what: what happened, for the log.
        before: what its newest checkpoint was before they did.
    """
    if tuner.again:  # the second training of `refit`, which begins anew
        logger.info('%s.', what)
        return
    if tuner.saved is before and tuner.whole and tuner.state.step > tuner.begun:
        with artifact.forgiving('What was trained since the last checkpoint is in the model alone.'):
            save(tuner, place(tuner.folder, tuner))
    if tuner.saved is None:
        logger.info('%s, and nothing is saved.', what)
        return
    done = ' and saved. To go on' if tuner.saved is not before else '. To go on from the last checkpoint'
    logger.info('%s%s: fit(…, resume=%r)', what, done, str(tuner.saved.parent))


def load(tuner: Any, folder: str | Path) -> Path:
    """Bring a tuner that is set up to where a training stood; returns the checkpoint taken.

    Args:
        tuner: set up for the same model, data and settings.
        folder: a checkpoint, or a folder of checkpoints of which the newest whole one is taken.

    Raises:
        CheckpointError: there is none, all are damaged, or they are of another training.
    """
    folder = Path(folder)
    one = (folder / artifact.MANIFEST).exists() or (folder / 'state.json').exists()
    choices = [folder] if one else numbered(folder)[::-1]
    if not choices:
        there = 'has no checkpoint in it' if folder.is_dir() else 'does not exist'
        raise CheckpointError(
            f'Cannot resume: {folder} {there}. '
            f'Train with callbacks=[TrainingCheckpoint(save_dir={str(folder)!r})] first.'
        )
    damage: list[str] = []
    for choice in choices:
        try:
            arrays, facts = artifact.read(choice)
        except CheckpointError as error:
            damage.append(str(error))
            if choice is not choices[-1]:
                logger.warning('%s The checkpoint before it is taken.', error)
            continue
        kept = tuner.encoder.kept
        before = {} if kept is None else tuner.encoder.weights()
        _restore(tuner, choice, arrays, facts)
        if kept is not None and not kept.current():
            tuner.encoder.assign(before)
            raise CheckpointError(
                f'{choice} has other frozen weights than the model, whose activations are computed already: give fit '
                f'the model with the frozen weights that the training began with.'
            )
        tuner.saved = choice
        logger.info('Going on from %s, after %d updates.', choice, tuner.state.updates)
        return choice
    hint = ''
    if one and any(path != folder for path in numbered(folder.parent)):
        hint = f' There are others: resume={str(folder.parent)!r} takes the newest whole one.'
    raise CheckpointError(f'Cannot resume from {folder}: {" ".join(damage)}{hint}')


def told(folder: str | Path) -> dict[str, Any]:
    """The facts of the checkpoint that `load` would take, before there is a tuner; none where there is none."""
    one = Path(folder)
    for choice in [one] if (one / artifact.MANIFEST).exists() else numbered(one)[::-1]:
        with suppress(CheckpointError):
            files = [choice / name for name in artifact.verify(choice)]
            return {path.stem: json.loads(path.read_text()) for path in files if path.suffix == '.json'}
    return {}


def numbered(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob(f'{PREFIX}*') if all(part.isdecimal() for part in _numbers(path))]
    return sorted(found, key=_written)


def _numbers(path: Path) -> list[str]:
    # The epoch, and the step of one that was written within it.
    return path.name.removeprefix(PREFIX).split(STEP, 1)


def _written(path: Path) -> tuple[int, list[float]]:
    # By time, because a training may write where a longer one did before; the numbers are for equal times.
    manifest = path / artifact.MANIFEST
    numbers = [*map(float, _numbers(path)), math.inf]  # an epoch is over after all of its steps
    return manifest.stat().st_mtime_ns if manifest.exists() else 0, numbers


def _restore(tuner: Any, folder: Path, arrays: dict[str, Any], facts: dict[str, Any]) -> None:
    if not facts.keys() >= {'state', 'training'}:
        raise CheckpointError(
            f'{folder} is a saved model and no checkpoint of a training: give it to finetuner.load, and the model that '
            f'comes of it to fit.'
        )
    state, training = facts['state'], facts['training']
    settings.check(folder, training, tuner)
    for name, value in state.items():
        if name != 'num_batches_val':  # a training may be resumed with other eval_data
            setattr(tuner.state, name, value)
    tuner.state.loss = state['losses'][-1] if state['losses'] else 0.0
    for callback in tuner.callbacks:
        callback.resume(tuner)
    tuner.state.learning_rates = state['learning_rates']  # where a callback rebuilt, they are of the next update
    tuner.encoder.assign(arrays['weights'])
    settings.check_trained(folder, training, tuner)
    tuner.restore(
        arrays.get('optimizer', {}), training['optimizer'], arrays.get('learned', {}), arrays.get('memory', {})
    )
    kept = arrays.get('callbacks', {})
    for callback in tuner.callbacks:
        own = f'{callback.key(tuner)}/'
        callback.restore(tuner, {name.removeprefix(own): kept[name] for name in kept if name.startswith(own)})
