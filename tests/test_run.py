"""How the runner counts: nothing that went wrong is lost."""

import json
import subprocess
import sys

import pytest

from tests import run

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="passes"><properties><property name="real_data" value="data"/></properties></testcase>
<testcase classname="a" name="passes on nothing real"/>
<testcase classname="a" name="fails"><failure message="no"/></testcase>
<testcase classname="a" name="passes and leaves something behind"/>
<testcase classname="a" name="passes and leaves something behind"><error message="leaked"/></testcase>
<testcase classname="a" name="skips"><skipped/><properties><property name="real_data" value="data"/></properties>
</testcase>
</testsuite></testsuites>"""


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.setattr(run, 'RESULTS', tmp_path)
    monkeypatch.delenv('FINETUNER_REQUIRE', raising=False)
    return tmp_path


def test_counts_of_a_report(tmp_path):
    (tmp_path / 'report.xml').write_text(REPORT)
    assert run.count(tmp_path / 'report.xml') == {'passed': 2, 'failed': 2, 'skipped': 1, 'real_data': 1}


def test_the_last_line_is_the_sum(results, capsys):
    run.record('tests a', passed=3, failed=0, skipped=1, real_data=2)
    run.record('mypy', passed=1, failed=0)
    assert run.summary() == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        '2 tests ran on real data, 1 tests were skipped',
        '4 passed, 0 failed',
    ]
    run.record('tests b', passed=0, failed=1)
    assert run.summary() == 1


def test_nothing_at_all_and_no_data_where_it_is_required_are_failures(results, monkeypatch):
    assert run.summary() == 1
    run.record('tests a', passed=3, failed=0, real_data=0)
    assert run.summary() == 0
    monkeypatch.setenv('FINETUNER_REQUIRE', 'data,browser')
    assert run.summary() == 1
    run.record('tests b', passed=3, failed=0, real_data=1)
    assert run.summary() == 0


@pytest.mark.parametrize(
    ('source', 'counts'),
    [
        ('def test_it(): assert True', {'passed': 1, 'failed': 0}),
        ('def test_it(): assert False', {'passed': 0, 'failed': 1}),
        ('import os\ndef test_it(): os._exit(3)', {'passed': 0, 'failed': 1}),  # as a framework that crashes
        ('', {'passed': 0, 'failed': 1}),  # there was nothing to run
        ('1 / 0', {'passed': 0, 'failed': 1}),
    ],
    ids=['passes', 'fails', 'crashes', 'empty', 'not imported'],
)
def test_a_process_of_tests(results, tmp_path, source, counts):
    (tmp_path / 'test_inner.py').write_text(source)
    (tmp_path / 'pytest.ini').write_text('[pytest]')
    run.test('inner', [str(tmp_path), '-c', str(tmp_path / 'pytest.ini'), '-p', 'no:cacheprovider'])
    found = json.loads((results / 'tests-inner.json').read_text())
    assert {name: found[name] for name in counts} == counts


def test_a_check_that_fails_is_counted(results):
    run.check('good', [sys.executable, '-c', ''])
    run.check('bad', [sys.executable, '-c', '1 / 0'])
    assert json.loads((results / 'bad.json').read_text())['failed'] == 1
    assert json.loads((results / 'good.json').read_text())['passed'] == 1


def test_an_unknown_part_is_refused():
    done = subprocess.run([sys.executable, run.__file__, 'nothing'], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'tests/run.py doclist' in done.stderr
