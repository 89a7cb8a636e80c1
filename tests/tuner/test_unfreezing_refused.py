"""What cannot be unfrozen in stages is refused, and the model is as it was found; what `keep` may name."""

import copy

import pytest

import finetuner
from finetuner.callback import Callback, GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import ORIGIN, encoder
from tests.models import clusters, framework, mlp

ARGUMENTS = {'epochs': 3, 'batch_size': 20, 'num_items_per_class': 4}


def model(backend):
    """Dense, norm, dropout; the same again; dense."""
    return mlp(backend, (10, 16, 16, 8), noisy=True)


def weighty(model):
    return [layer for layer in finetuner.tailor.summary(model, (10,)) if layer.parameters and layer.path]


def trained(start, *callbacks, unfreezing=None, **arguments):
    callbacks = [unfreezing or GradualUnfreezing(), *callbacks]
    return finetuner.fit(start, clusters(), **ARGUMENTS | arguments, callbacks=callbacks)


def fix(backend, model):
    """Freeze the last weights of a model by the framework's own means."""
    if framework(backend) == 'keras':
        model.layers[-1].trainable = False
    elif backend == 'paddle':
        for weight in model[len(model) - 1].parameters():
            weight.stop_gradient = True
    else:
        model[-1].requires_grad_(False)


class Breaks(Callback):
    def on_fit_begin(self, tuner):
        raise ZeroDivisionError


@pytest.mark.parametrize('how', ['nothing to train', 'another callback'])
def test_where_the_first_stage_cannot_begin_the_model_is_as_it_was_found(backend, how):
    start = model(backend)
    finetuner.freeze(start, [layer.name for layer in weighty(start)[:2]], input_size=(10,))
    fix(backend, start)
    found = [layer.trainable for layer in weighty(start)]
    assert found == [False, False, True, True, False]
    if how == 'nothing to train':
        with pytest.raises(ArgumentError, match='Every weight of the model is frozen'):
            trained(start)
    else:
        second = GradualUnfreezing(keep=weighty(start)[2].name)
        other = finetuner.freeze(model(backend))
        with pytest.raises(ZeroDivisionError):
            trained(other, Breaks(), unfreezing=GradualUnfreezing(keep=weighty(other)[2].name))
        assert encoder(other).trainable() == 0
        assert encoder(finetuner.unfreeze(other)).trainable() == encoder(model(backend)).trainable()
        with pytest.raises(ArgumentError, match='Every weight of the model is frozen'):
            trained(start, unfreezing=second)
    assert [layer.trainable for layer in weighty(start)] == found
    before = encoder(start).weights()
    finetuner.fit(start, clusters(), **ARGUMENTS)
    moved = [name for name, value in encoder(start).weights().items() if (value != before[name]).any()]
    names = list(before)
    joined = [name for name in names if names.index(name) not in (*range(2), *range(len(names) - 2, len(names)))]
    assert moved == [name for name in joined if name in moved] and not set(moved) & set(norm_of_first(backend, names))
    assert {'torch': 7, 'paddle': 6, 'keras': 6}[framework(backend)] == len(moved)


def norm_of_first(backend, names):
    """The weights and statistics of the first norm."""
    return names[2 : 2 + (5 if backend == 'torch' else 4)]


@pytest.mark.backends('torch')
def test_adapters_are_seen_where_the_origin_is_lost(backend):
    pytest.importorskip('peft')
    start = finetuner.to_embedding_model(model(backend), inputs=clusters()[0], adapter='lora', output_dim=4)
    lost = copy.deepcopy(start)
    del vars(lost)[ORIGIN]
    found = encoder(lost).trainable()
    for adapted in (start, lost):
        with pytest.raises(ArgumentError, match='that adapters are trained in place of'):
            trained(adapted, to_embedding_model=False)
        assert encoder(adapted).trainable() == found


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
