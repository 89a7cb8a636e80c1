"""What must be the same for a training to go on as if it had never stopped, and the refusal where it is not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetuner.data.augmentation.choice import called
from finetuner.errors import CheckpointError, enumerated
from finetuner.inference import Encoder
from finetuner.tailor import origin
from finetuner.tailor.parts import TAILORED
from finetuner.tuner.optimizers import described
from finetuner.tuner.schedule import Optimization

HINT = 'resume with the same data and settings.'


def facts(tuner: Any) -> dict[str, Any]:
    """Of a tuner, for JSON; `check` and `check_trained` compare it."""
    return {**_settings(tuner), 'tailored': _tailored(tuner.encoder), 'trained': _trained(tuner)}


def check(folder: Path, then: Mapping[str, Any], tuner: Any) -> None:
    """Refuse a checkpoint of other settings, or of a model that was tailored in another way.

    Args:
        folder: the checkpoint.
        then: what `facts` gave when it was written.
        tuner: what is to go on from it.

    Raises:
        CheckpointError: says which setting differs, and how.
    """
    for name, value in _settings(tuner).items():
        if then.get(name) != value:
            raise _unlike(folder, name, then.get(name), value)
    was, now = then.get('tailored', {}), _tailored(tuner.encoder)
    for name in [name for name in now if name in was]:
        (there, shown), (here, said) = was[name], now[name]
        if there != here:
            raise _unlike(folder, name, *((shown, said) if shown != said else (there, here)))


def check_trained(folder: Path, then: Mapping[str, Any], tuner: Any) -> None:
    """Refuse a checkpoint of a training of other weights, or at other multiples of the rate; as `check`."""
    sides = then.get('trained', {}), _trained(tuner)
    was, now = ({row: name for name, rows in side.items() for row in rows} for side in sides)
    paths = {row: path for path, row in tuner.rows.items()}
    other = [
        f'{paths.get(row, row)} ({was.get(row, "frozen")} then, {now.get(row, "frozen")} now)'
        for row in sorted(was.keys() | now.keys())
        if was.get(row) != now.get(row)
    ]
    if other:
        raise CheckpointError(
            f'{folder} is of a training of other weights: {enumerated(other, most=3)}. Resume with the same callbacks, '
            f'layer_wise_lr_decay and head_learning_rate, and the same weights frozen.'
        )


def _unlike(folder: Path, name: str, then: Any, now: Any) -> CheckpointError:
    if name == 'cache_activations':  # what decided may have been room on the disk
        return CheckpointError(
            f'{folder} is of a training that computed what is frozen {"once" if then else "in every epoch"}, and this '
            f'one would do otherwise: resume with cache_activations={bool(then)}.'
        )
    return CheckpointError(f'{folder} is of a training with {name}={then}, this one has {name}={now}: {HINT}')


def _settings(tuner: Any) -> dict[str, Any]:
    loss, miner = tuner.objective.loss, tuner.objective.miner
    return {
        'framework': tuner.encoder.framework,
        'seed': tuner.seed,
        'num_epochs': tuner.state.num_epochs,
        'num_items_train': len(tuner.loader.dataset),
        'num_batches_train': tuner.state.num_batches_train,
        'layout': list(tuner.loader.layout),
        'augmentation': called(tuner.loader.dataset.augmentation),
        'loss': getattr(loss, '__qualname__', None) or repr(loss),
        'miner': getattr(miner, '__qualname__', None) or repr(miner),
        'own_optimizer': tuner.configure_optimizer is not None,
        'adapters': tuner.encoder.adapters() or None,
        'optimization': None if tuner.configure_optimizer is not None else described(tuner.optimization),
        'accumulate': tuner.state.accumulate if tuner.state.accumulate > 1 else None,
        'cache_activations': True if tuner.encoder.upper is not None else None,
        'precision': None if tuner.execution.precision == '32' else tuner.execution.precision,
        'compile': tuner.execution.compile or None,
        'group_by_length': None if tuner.execution.group_by_length else False,
        'devices': tuner.execution.devices if tuner.execution.devices > 1 else None,
        'learning_rate': tuner.optimization.learning_rate,
        'schedule': str(tuner.optimization.schedule),
        'loss_optimizer': _of_loss(tuner.loss_optimization) if tuner.learned() else None,
    }


def _of_loss(numbers: Optimization) -> str:
    return f'{described(numbers)}, learning rate {numbers.learning_rate!r}, {numbers.schedule}'


def _tailored(encoder: Encoder) -> dict[str, list[Any]]:
    # How the model was made: of each setting what is compared, and what is shown. What is not known is left out: some
    # ways of copying lose the origin. Of layers the rows are compared, for Keras numbers their names anew.
    made = origin.of(encoder.model)
    if made is None:
        return {} if encoder.layers()[0] == TAILORED else {'pooling': [None, None], 'head': [[], []]}
    recipe = made.recipe.to_dict()
    rows = {path: [row, kind] for path, row, kind in recipe['places']}
    at, call, frozen, adapter = (recipe[name] for name in ('at', 'call', 'frozen', 'adapter'))
    if adapter is not None:
        adapter = {name: len(value) if name == 'at' else value for name, value in adapter.items()}
    return {
        'cut': [[rows.get(at, at), call], f'{at or "the output"}' + (f', call {call}' if call > 1 else '')],
        'frozen': [sorted(rows.get(path, [-1, path]) for path in frozen), frozen],
        'pooling': [recipe['pooling']] * 2,
        'head': [recipe['head']] * 2,
        'adapter': [adapter] * 2,
    }


def _trained(tuner: Any) -> dict[str, list[int]]:
    # The rows of the weights in each group: their paths need not be the same in every process.
    return {name: [tuner.rows[path] for path in paths] for name, (_, paths) in tuner.groups.items()}
