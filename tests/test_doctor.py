"""What `finetuner doctor` finds."""

import re
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from finetuner import cli, doctor
from finetuner.doctor import NEEDS, TESTED, Doctor

ROOT = Path(__file__).parent.parent


def _text(report):
    console = Console(width=120)
    with console.capture() as captured:
        console.print(report)
    return captured.get()


def _installed(monkeypatch, **versions):
    monkeypatch.setattr(doctor, '_version', {name.replace('_', '-'): v for name, v in versions.items()}.get)


def test_it_imports_no_framework_and_finds_the_installed():
    from tests.fresh import run

    code = 'import sys\nfrom finetuner.doctor import Doctor\nreport = Doctor()\n'
    done = run(code + "print(report.installed['numpy'], [x for x in ('torch', 'keras', 'paddle') if x in sys.modules])")
    import numpy

    assert done.stdout == f'{numpy.__version__} []\n'


def test_versions_stand_beside_the_tested_ones(monkeypatch):
    _installed(monkeypatch, torch='2.14.1')
    lines = _text(Doctor()).splitlines()
    [torch] = [line.split() for line in lines if line.startswith('torch ')]
    assert torch == ['torch', '2.14.1', TESTED['torch'][0]]
    [keras] = [line.strip().split(maxsplit=3) for line in lines if line.startswith('keras ')]
    assert keras == ['keras', 'no', TESTED['keras'][0], "pip install 'finetuner[keras]'"]
    assert 'Other versions than the tested ones' in lines[-1]


def test_a_local_build_of_the_tested_version_is_the_tested_version(monkeypatch):
    _installed(monkeypatch, torch=TESTED['torch'][0] + '+cpu')
    assert 'Other versions' not in _text(Doctor())


@pytest.mark.parametrize(
    ('installed', 'ready'),
    [
        ({}, []),
        ({'torch': '2'}, ['torch']),
        ({'keras': '3'}, []),
        ({'keras': '3', 'jax': '1'}, ['keras']),
        ({'keras': '3', 'torch': '2'}, ['torch', 'keras']),
        ({'paddlepaddle': '3', 'keras': '3', 'tensorflow': '2'}, ['keras', 'paddle']),
    ],
)
def test_what_can_train_and_what_to_install(monkeypatch, installed, ready):
    _installed(monkeypatch, **installed)
    report = Doctor()
    assert report.ready == ready
    text = _text(report)
    for name in {'torch', 'keras', 'paddle'} - set(ready):
        assert f"pip install 'finetuner[{name}]'" in ' '.join(report.hints())
    assert ('There is no framework to train with' in text) == (not ready)


def test_without_a_framework_the_exit_code_is_1(monkeypatch):
    _installed(monkeypatch, numpy='2.4.6')
    done = CliRunner().invoke(cli.app, ['doctor'])
    assert done.exit_code == 1
    _installed(monkeypatch, paddlepaddle='3')
    assert CliRunner().invoke(cli.app, ['doctor']).exit_code == 0


def test_the_engine_of_keras_is_shown(monkeypatch):
    monkeypatch.setenv('KERAS_BACKEND', 'jax')
    assert re.search(r'KERAS_BACKEND +jax', _text(Doctor()))
    monkeypatch.delenv('KERAS_BACKEND')
    assert 'not set' in _text(Doctor())


def test_devices_of_a_framework_that_is_asked_for(backend):
    framework = backend.partition('-')[0]
    report = Doctor([framework])
    assert 'cpu' in report.devices[framework].lower()
    assert f'{framework} sees' in _text(report)


def test_a_framework_that_cannot_be_imported_says_why_and_fails(monkeypatch):
    def broken(framework, part):
        raise OSError('libcudart.so.12: cannot open shared object file')

    monkeypatch.setattr(doctor, 'load', broken)
    done = CliRunner().invoke(cli.app, ['doctor', '--check', 'torch'], env={'COLUMNS': '150'})
    assert done.exit_code == 1
    assert 'OSError: libcudart.so.12' in ' '.join(done.output.split())


def test_the_tested_versions_are_those_of_the_constraints():
    lines = (ROOT / 'constraints.txt').read_text().splitlines()
    pins = dict(line.split('==') for line in lines if '==' in line and not line.startswith('#'))
    assert {name: tested for name, (tested, _) in TESTED.items()} == {name: pins[name] for name in TESTED}


def test_the_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['optional-dependencies']
    assert {extra for _, extra in TESTED.values() if extra} <= set(extras)
    for name in NEEDS['torch'][0]:
        assert any(need.startswith(name) for need in extras['torch'])
