"""A training on disk: weights, optimizer, what the loss learned, and the state; enough to go on as if nothing was."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.console import logger
from finetuner.errors import CheckpointError

PREFIX = 'saved_model_epoch_'


def save(tuner: Any, folder: str | Path) -> Path:
    """Write the training as it stands after an update."""
    optimizer, numbers = tuner.optimizer_state()
    facts = {
        'state': tuner.state.dict(),
        'training': {**_settings(tuner), 'groups': _groups(tuner), 'optimizer': numbers},
    }
    arrays = {
        'weights': tuner.encoder.weights(),
        'learned': tuner.learned(),
        'memory': tuner.remembered(),
        'optimizer': optimizer,
    }
    return artifact.write(folder, arrays, facts)


def load(tuner: Any, folder: str | Path) -> Path:
    """Bring a tuner that is set up to where a training stood; returns the checkpoint taken.

    Args:
        tuner: set up for the same model, data and settings.
        folder: a checkpoint, or a folder of checkpoints of which the newest whole one is taken.

    Raises:
        CheckpointError: there is none, all are damaged, or they are of another training.
    """
    folder = Path(folder)
    choices = [folder] if (folder / artifact.MANIFEST).exists() else numbered(folder)[::-1]
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
            logger.warning('%s', error)
            continue
        _restore(tuner, choice, arrays, facts)
        logger.info('Going on from %s, after %d updates.', choice, tuner.state.step)
        return choice
    raise CheckpointError(f'Cannot resume from {folder}: {" ".join(damage)}')


def numbered(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob(f'{PREFIX}*') if path.name.removeprefix(PREFIX).isdecimal()]
    return sorted(found, key=_written)


def _written(path: Path) -> tuple[int, int]:
    # By time, because a training may write where a longer one did before; the number is for equal times.
    manifest = path / artifact.MANIFEST
    return manifest.stat().st_mtime_ns if manifest.exists() else 0, int(path.name.removeprefix(PREFIX))


def _settings(tuner: Any) -> dict[str, Any]:
    # What must be the same for a training to go on as if it had never stopped.
    loss, miner = tuner.objective.loss, tuner.objective.miner
    return {
        'framework': tuner.encoder.framework,
        'seed': tuner.seed,
        'num_epochs': tuner.state.num_epochs,
        'num_batches_train': tuner.state.num_batches_train,
        'layout': list(tuner.loader.layout),
        'loss': getattr(loss, '__qualname__', None) or repr(loss),
        'miner': getattr(miner, '__qualname__', None) or repr(miner),
        'own_optimizer': tuner.configure_optimizer is not None,
        'adapters': tuner.encoder.adapters() or None,
        'learning_rate': tuner.optimization.learning_rate,
        'loss_optimizer': asdict(tuner.loss_optimization) if tuner.learned() else None,
    }


def _groups(tuner: Any) -> dict[str, int]:
    # How many weights train at which multiple of the rate; their names need not be the same in every process.
    return {name: len(paths) for name, (_, paths) in tuner.groups.items()}


def _restore(tuner: Any, folder: Path, arrays: dict[str, Any], facts: dict[str, Any]) -> None:
    state, training = facts['state'], facts['training']
    for name, value in _settings(tuner).items():
        then = training.get(name)
        if then != value:
            raise CheckpointError(
                f'{folder} is of a training with {name}={then}, this one has {name}={value}: '
                f'resume with the same data and settings.'
            )
    for name, value in state.items():
        setattr(tuner.state, name, value)
    for callback in tuner.callbacks:
        callback.resume(tuner)
    tuner.state.learning_rates = state['learning_rates']  # where a callback rebuilt, they are of the next update
    tuner.encoder.assign(arrays['weights'])
    if training.get('groups') != _groups(tuner):
        raise CheckpointError(
            f'{folder} is of a training of other weights, {training.get("groups")}, than this one, {_groups(tuner)}: '
            f'resume with the same callbacks, and the same weights frozen.'
        )
    tuner.restore(
        arrays.get('optimizer', {}), training['optimizer'], arrays.get('learned', {}), arrays.get('memory', {})
    )
