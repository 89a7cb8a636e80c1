"""Python in a process of its own, for tests of what an import does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(code: str, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
    """Run `code` from the root of the source, with only these environment variables changed.

    Args:
        code: Python.
        *arguments: of the program.
        check: whether the test fails when the program does.
        **variables: of the environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith('COVERAGE_')}
    environment |= {'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'} | variables
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    if check:
        assert done.returncode == 0, f'exit code {done.returncode}\n{done.stderr[-3000:]}'
    return done
