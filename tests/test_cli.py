"""The command line: what it says, what it returns, and what it asks for."""

import pytest
from typer.testing import CliRunner

import finetuner
from finetuner import cli
from finetuner.errors import ArgumentError
from tests.fresh import run

runner = CliRunner()


def test_the_version_is_that_of_the_package():
    done = runner.invoke(cli.app, ['--version'])
    assert done.exit_code == 0
    assert done.output.strip() == finetuner.__version__


def test_without_a_command_it_lists_the_commands():
    done = runner.invoke(cli.app, [])
    assert 'demo' in done.output and 'doctor' in done.output


def test_python_dash_m_is_the_same_command():
    done = run(
        "import runpy, sys; sys.argv = ['finetuner', '--version']; runpy.run_module('finetuner', run_name='__main__')"
    )
    assert done.stdout.strip() == finetuner.__version__


def test_an_unknown_framework_is_refused_with_the_known_ones():
    done = runner.invoke(cli.app, ['demo', '--framework', 'mxnet'])
    assert done.exit_code == 2
    assert all(name in done.output for name in ('mxnet', 'torch', 'keras', 'paddle'))


def test_the_demo_is_given_what_was_asked_for(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr('finetuner.demo.run', lambda framework, **rest: asked.update(rest, framework=framework))
    done = runner.invoke(cli.app, ['demo', '--framework', 'paddle', '--epochs', '3', '--output', str(tmp_path)])
    assert done.exit_code == 0
    assert asked == {'framework': 'paddle', 'epochs': 3, 'output': tmp_path}


def test_the_demo_trains_and_draws(backend, tmp_path):
    framework = backend.partition('-')[0]
    done = runner.invoke(cli.app, ['demo', '--framework', framework, '--epochs', '1', '--output', str(tmp_path)])
    assert done.exit_code == 0, done.output
    [picture] = tmp_path.iterdir()
    assert picture.name == f'digits-{framework}.png'
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_errors_that_people_can_act_on_are_a_sentence(monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise ArgumentError('Take [another] way.')

    monkeypatch.setattr('finetuner.demo.run', refuse)
    monkeypatch.setattr('sys.argv', ['finetuner', 'demo'])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert 'Error: Take [another] way.' in said.out
    assert 'Traceback' not in said.out + said.err
