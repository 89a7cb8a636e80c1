"""Runs the tests: each backend in a process of its own, two processes at a time, with coverage over all of them.

python tests/run.py           style, types, the tests without and with every backend, coverage
python tests/run.py doclist   the tests of an environment that has docarray 0.4x
python tests/run.py summary   nothing; sums up the counts that the others left in build/tests
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'build' / 'tests'
# The slowest first, so that two at a time end together.
BACKENDS = ('keras-jax', 'keras-tensorflow', 'paddle', 'keras-torch', 'torch', 'numpy')
CHECKS = {
    'ruff check': ['ruff', 'check', '.'],
    'ruff format': ['ruff', 'format', '--check', '.'],
    'mypy': ['mypy'],
}


def main(arguments: list[str]) -> int:
    """Run what is asked for; 0 if nothing failed."""
    os.chdir(ROOT)
    match arguments:
        case []:
            everything()
        case ['doclist']:
            RESULTS.mkdir(parents=True, exist_ok=True)
            test('doclist', ['tests/data/test_doclist.py'])
            return summary('tests-doclist')
        case ['summary']:
            pass
        case _:
            sys.exit(__doc__)
    return summary()


def everything() -> None:
    """All of this environment."""
    rmtree(ROOT / 'build' / 'coverage', ignore_errors=True)
    rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    for name, command in CHECKS.items():
        check(name, [sys.executable, '-m', *command])
    jobs = {'without': []} | {name: ['--backend', name] for name in BACKENDS}
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda name: test(name, jobs[name], coverage=True), jobs))
    coverage = [sys.executable, '-m', 'coverage']
    subprocess.run([*coverage, 'combine', '--quiet'], check=False)
    check('coverage', [*coverage, 'report'])


def check(name: str, command: list[str]) -> None:
    """A command that passes or fails as a whole."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f'== {name}: {"ok" if done.returncode == 0 else "FAILED"}\n{done.stdout}', flush=True)
    record(name, passed=int(done.returncode == 0), failed=int(done.returncode != 0))


def test(name: str, options: list[str], coverage: bool = False) -> None:
    """The tests in a process of their own; what it says is shown at its end, lest two talk at once."""
    report = RESULTS / f'{name}.xml'
    start = time.monotonic()
    runner = ['coverage', 'run', '-m'] if coverage else []
    command = [sys.executable, '-m', *runner, 'pytest', '-q', f'--junitxml={report}', *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f'== tests {name}: {time.monotonic() - start:.0f} s\n{done.stdout}', flush=True)
    counts = count(report) if report.exists() else {'passed': 0, 'failed': 0}
    if done.returncode and not counts['failed']:  # it crashed, or found nothing to run
        counts['failed'] = 1
    record(f'tests {name}', **counts)


def count(report: Path) -> dict[str, int]:
    """What a JUnit report says; a test that passes and then leaves something behind counts as failed."""
    counts = {'passed': 0, 'failed': 0, 'skipped': 0, 'real_data': 0}
    cases: dict[tuple, list] = {}
    for case in ElementTree.parse(report).iter('testcase'):  # a file that pytest has just written here
        cases.setdefault((case.get('classname'), case.get('name')), []).append(case)
    for parts in cases.values():
        found = {element.tag for case in parts for element in case}
        outcome = 'failed' if found & {'failure', 'error'} else 'skipped' if 'skipped' in found else 'passed'
        counts[outcome] += 1
        properties = {element.get('name') for case in parts for element in case.iter('property')}
        counts['real_data'] += outcome == 'passed' and 'real_data' in properties
    return counts


def record(name: str, **counts: int) -> None:
    """Leave the counts of a part."""
    (RESULTS / f'{name.replace(" ", "-")}.json').write_text(json.dumps({'name': name, **counts}))


def summary(part: str = '*') -> int:
    """Print every part, or one, and the sum; 1 if something failed, nothing ran, or what needs data had none."""
    total = {'passed': 0, 'failed': 0, 'skipped': 0, 'real_data': 0}
    for path in sorted(RESULTS.glob(f'{part}.json')):
        counts = json.loads(path.read_text())
        print(f'{counts.pop("name"):24}', ', '.join(f'{number} {what}' for what, number in counts.items()))
        total = {what: total[what] + counts.get(what, 0) for what in total}
    required = os.environ.get('FINETUNER_REQUIRE', '').split(',')
    print(f'{total["real_data"]} tests ran on real data, {total["skipped"]} tests were skipped')
    print(f'{total["passed"]} passed, {total["failed"]} failed')
    no_data = 'data' in required and total['real_data'] == 0
    return int(total['failed'] > 0 or total['passed'] == 0 or no_data)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
