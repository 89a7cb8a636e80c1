"""A program on a file system of one megabyte, which it alone sees."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def on_a_small_disk(program: str, disk: Path, why: str = '', **environment: str) -> str:
    """What a Python program prints that has `disk` as its first argument; it must end well.

    The test is skipped where nothing may be mounted.

    Args:
        program: its text.
        disk: an empty folder.
        why: what is tested all the same where it is skipped.
        **environment: variables of the program.
    """
    mount = f'mount -t tmpfs -o size=1m none {disk}'
    own = ['unshare', '-m'] if os.geteuid() == 0 else ['unshare', '-rm']
    if not shutil.which('unshare') or subprocess.run([*own, 'sh', '-c', mount], capture_output=True).returncode:
        pytest.skip(f'no file system may be mounted here{why}')
    done = subprocess.run(
        [*own, 'sh', '-c', f'{mount} && exec {sys.executable} -c "$0" {disk}', program],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
