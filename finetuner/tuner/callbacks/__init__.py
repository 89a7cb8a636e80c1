"""Callbacks: what happens beside the training, one a file; imported when first used."""

from importlib import import_module
from typing import Any

_MODULES = {
    'BaseCallback': 'base:Callback',
    'BestModelCheckpoint': 'best_model',
    'Callback': 'base',
    'EMA': 'ema',
    'EarlyStopping': 'early_stopping',
    'EvaluationCallback': 'evaluation',
    'GradualUnfreezing': 'gradual_unfreezing',
    'Guard': 'guard',
    'HistoryLogger': 'history_logger',
    'MLflowLogger': 'mlflow_logger',
    'ProgressBarCallback': 'progress_bar',
    'TensorBoardLogger': 'tensorboard_logger',
    'TrainingCheckpoint': 'training_checkpoint',
    'WandBLogger': 'wandb_logger',
    'WiSEFTCallback': 'wise_ft',
}
__all__ = [*_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        module, _, other = _MODULES[name].partition(':')
        return getattr(import_module(f'{__name__}.{module}'), other or name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def list_callbacks() -> dict[str, type]:
    """The callbacks that there are, by name.

    >>> list_callbacks()['EarlyStopping']
    <class 'finetuner.tuner.callbacks.early_stopping.EarlyStopping'>
    """
    return {name: __getattr__(name) for name, module in _MODULES.items() if not module.startswith('base')}
