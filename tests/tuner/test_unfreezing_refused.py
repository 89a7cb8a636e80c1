"""What cannot be unfrozen in stages is refused, and the model is as it was found; what `keep` may name."""

import pytest

import finetuner
from finetuner.callback import GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 3, 'batch_size': 20, 'num_items_per_class': 4}


def model(backend):
    """Dense, norm, dropout; the same again; dense."""
    return mlp(backend, (10, 16, 16, 8), noisy=True)


def weighty(model):
    return [layer for layer in finetuner.tailor.summary(model, (10,)) if layer.parameters and layer.path]


def trained(start, *callbacks, unfreezing=None, **arguments):
    callbacks = [unfreezing or GradualUnfreezing(), *callbacks]
    return finetuner.fit(start, clusters(), **ARGUMENTS | arguments, callbacks=callbacks)


def test_another_keep_is_not_resumed(backend, tmp_path):
    def kept(place):
        start = model(backend)
        return start, GradualUnfreezing(keep=weighty(start)[place].name)

    start, unfreezing = kept(0)
    trained(start, TrainingCheckpoint(save_dir=tmp_path), unfreezing=unfreezing)
    for other in (kept(2), (model(backend), GradualUnfreezing())):
        with pytest.raises(CheckpointError, match="'keep': .*this one has .*'keep': .*same callbacks"):
            trained(other[0], unfreezing=other[1], resume=tmp_path)
    start, unfreezing = kept(0)
    trained(start, unfreezing=unfreezing, resume=tmp_path)


@pytest.mark.parametrize('keep', [5, None, True, [5]])
def test_what_can_name_no_layer(keep):
    with pytest.raises(ArgumentError, match='keep=.*expected names, paths or patterns'):
        GradualUnfreezing(keep=keep)


def test_names_of_the_general_model(backend):
    start = model(backend)
    first = weighty(start)[0]
    for name in {first.name, first.path}:
        tuned = trained(start, unfreezing=GradualUnfreezing(keep=name), freeze=True, output_dim=4)
        assert [layer.trainable for layer in weighty(tuned)[:2]] == [False, True]
        assert encoder(tuned).trainable() == encoder(start).trainable() - (10 * 16 + 16) + 8 * 4 + 4
    with pytest.raises(ArgumentError, match='keep: there is no layer'):
        trained(start, unfreezing=GradualUnfreezing(keep='nothing'), freeze=True, output_dim=4)
