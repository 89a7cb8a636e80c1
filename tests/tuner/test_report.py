"""The page of `evaluation.report`, written when a training ends."""

from types import SimpleNamespace

import pytest

import finetuner
from finetuner.callback import EvaluationCallback, TrainingCheckpoint
from finetuner.errors import ArgumentError
from tests.models import clusters, mlp

HELD_OUT = clusters(seed=2)


def fit(backend, judge, *callbacks, **arguments):
    callbacks = [judge, *callbacks]
    return finetuner.fit(
        mlp(backend), clusters(), epochs=2, callbacks=callbacks, guard=False, return_history=True, **arguments
    )


def judged(path, **options):
    return EvaluationCallback(HELD_OUT, limit=5, show=False, report=path, **options)


def test_a_training_writes_its_report(backend, tmp_path):
    judge = judged(tmp_path / 'new' / 'report.html', metrics=['map_at_r', 'hit_at_k'])
    _, history = fit(backend, judge)
    text = judge.report.read_text()
    assert history.before['map_at_r'] != history.after['map_at_r']
    for name in ('map_at_r', 'hit_at_k'):
        assert f'{history.before[name]:.4f}' in text and f'{history.after[name]:.4f}' in text
    assert judge.evaluator.embeddings is None and judge._before is None  # large, and of no more use


@pytest.mark.backends('torch')
def test_without_a_report_no_vectors_are_kept():
    judge = judged(None)
    fit('torch', judge)
    assert judge.evaluator.embeddings is None and judge.evaluator.means


@pytest.mark.backends('torch')
def test_a_training_that_is_resumed_has_no_vectors_of_before(tmp_path, capsys):
    fit('torch', judged(None), TrainingCheckpoint(save_dir=tmp_path / 'run', last_k_epochs=2))
    first = sorted((tmp_path / 'run').iterdir())[0]
    _, history = fit('torch', judged(tmp_path / 'report.html'), resume=first)
    assert len(history.epochs) == 2 and not (tmp_path / 'report.html').exists()
    assert 'no report will be written' in ' '.join(capsys.readouterr().out.split())


@pytest.mark.backends('torch')
def test_a_training_is_not_lost_for_its_report(tmp_path, capsys):
    _, history = fit('torch', judged(tmp_path / 'report.html', query_sample_size=1))
    assert history.after and not list(tmp_path.iterdir())
    assert 'No report was written: An interval comes from how much queries differ' in ' '.join(
        capsys.readouterr().out.split()
    )


@pytest.mark.backends('torch')
def test_nor_for_an_error_that_nobody_foresaw(tmp_path, capsys, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError('math domain error')

    monkeypatch.setattr('finetuner.tuner.callbacks.evaluation.write_report', broken)
    _, history = fit('torch', judged(tmp_path / 'report.html'))
    assert history.after
    assert 'No report was written: ValueError: math domain error' in ' '.join(capsys.readouterr().out.split())


@pytest.mark.backends('torch')
def test_vectors_are_kept_by_who_writes_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr('finetuner.tuner.callbacks.evaluation.current', lambda: SimpleNamespace(rank=1))
    judge, kept = judged(tmp_path / 'report.html'), []
    values = judge.values
    judge.values = lambda tuner: (values(tuner), kept.append(judge.evaluator.embeddings))[0]
    fit('torch', judge)
    assert kept == [None] * 3 and judge._before is None and not list(tmp_path.iterdir())


@pytest.mark.backends('torch')
def test_two_reports_have_two_files(tmp_path):
    first, second = (
        judged(tmp_path / 'report.html', name='seen'),
        judged(tmp_path / 'x' / '..' / 'report.html', name='new'),
    )
    with pytest.raises(ArgumentError, match='Two EvaluationCallbacks write their report to one file'):
        fit('torch', first, second)


@pytest.mark.backends('torch')
def test_the_page_says_whose_it_is(tmp_path):
    fit('torch', judged(tmp_path / 'report.html', name='new <classes>', metrics=['map_at_r']))
    assert '<h1>Before and after tuning: new &lt;classes&gt;</h1>' in (tmp_path / 'report.html').read_text()


@pytest.mark.backends('torch')
def test_a_place_that_no_report_can_be_written_to_is_refused_before_the_training(tmp_path):
    with pytest.raises(ArgumentError, match='is a folder: name a file in it'):
        fit('torch', judged(tmp_path))
    with pytest.raises(ArgumentError, match='Scored pairs have no queries: leave gather_examples, report'):
        EvaluationCallback([('a', 'b', 0.5)], report='report.html')
