"""A model in a folder: its weights, and how it is made where that can be said without pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetuner import artifact, inference
from finetuner.console import logger
from finetuner.dispatch import get_framework, load as load_part
from finetuner.errors import CheckpointError
from finetuner.tailor import origin


def save(model: Any, path: str | Path) -> Path:
    """Write a model to a folder: its weights, checksums, and its architecture where that can be had without pickle.

    Keras models that say how they are made, models of transformers, and what Tailor made of these, are restored whole
    by `load`; of other torch and Paddle models the weights are kept, and `load` puts them into a model that you build.
    Adapters are merged into the weights beside them: what is read is the model without them.

    Args:
        model: of any framework; it is left as it is.
        path: a folder, new or saved before.

    Raises:
        ArgumentError: `path` exists and is something else.
    """
    coder = inference.encoder(model)
    facts = coder.facts()
    if not _is_known(facts):
        what = 'the general model' if facts['tailored'] else 'the model'
        logger.info('Saved the weights of %s; build %s again and give it to load().', facts['class'], what)
    return artifact.write(path, {'weights': coder.merged()}, {'model': facts})


def load(path: str | Path, model: Any = None) -> Any:
    """Read a model that `save` or a `BestModelCheckpoint` wrote.

    Args:
        path: the folder.
        model: takes the weights; needed where the architecture was not saved. For a model that Tailor made it may be
            the general model, which is then tailored again as it was, and stays as it is.

    Returns:
        `model`, or a new one.

    Raises:
        CheckpointError: the folder is missing or damaged, has no architecture, or is of another model.
    """
    arrays, facts = artifact.read(path)
    if 'model' not in facts:
        raise CheckpointError(f'{path} is a checkpoint of a training; give it to fit(…, resume={str(path)!r}).')
    found = facts['model']
    if model is None:
        if not _is_known(found):
            what = 'the general model that it was made of' if found.get('tailored') else 'the model'
            raise CheckpointError(
                f'{path} has the weights of {found.get("class", "a model")} and not its architecture: '
                f'build {what} and call load({str(path)!r}, model).'
            )
        model = _built(found)
    elif get_framework(model) != found['framework']:
        raise CheckpointError(f'{path} is of {found["framework"]}, the model given is of {get_framework(model)}.')
    else:  # it may have been tailored several times, and the model given some of these
        made = _origins(found)
        for facts in made[: len(made) - len(_origins(inference.encoder(model).facts()))][::-1]:
            model = origin.again(model, facts)
    inference.encoder(model).assign(arrays['weights'])
    return model


def _origins(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    # How it was tailored, the last time first.
    found = []
    while facts.get('tailored'):
        found.append(facts['tailored'])
        facts = found[-1].get('general') or {}
    return found


def _is_known(facts: Mapping[str, Any]) -> bool:
    # Whether `_built` can make it.
    general = (facts.get('tailored') or {}).get('general')
    return bool(facts.get('architecture')) or (general is not None and _is_known(general))


def _built(facts: Mapping[str, Any]) -> Any:
    # With fresh weights.
    if not facts.get('architecture'):
        return origin.again(_built(facts['tailored']['general']), facts['tailored'])
    model = load_part(facts['framework'], 'encoder').build(facts['architecture'])
    if facts.get('tailored'):
        vars(model)[inference.ORIGIN] = facts['tailored']
    return model
