"""The README's examples run as they stand there, and do what they say."""

import re
from pathlib import Path

from tests.fresh import run

README = (Path(__file__).parent.parent / 'README.md').read_text(encoding='utf-8')


def _blocks():
    return re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def test_the_example_of_three_frameworks_makes_search_better(backend):
    framework = backend.partition('-')[0]
    [data] = [block for block in _blocks() if 'load_digits' in block]
    [model] = [block for block in _blocks() if f'from {framework} import' in block]
    [use] = [block for block in _blocks() if 'finetuner.evaluate(' in block]
    output = run(data + model + use + "print('\\n', before, after, *vectors.shape, vectors.dtype)").stdout
    before, after, *rest = output.splitlines()[-1].split()
    assert float(after) > float(before) + 0.1
    assert rest == ['898', '32', 'float32']


def test_it_names_the_two_commands():
    assert '`make demo`' in README and '`make test`' in README
