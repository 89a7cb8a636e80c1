"""What the CPU can do, as far as a training must know."""

from functools import cache
from pathlib import Path

UNIT = 'amx_bf16'
"""AVX512-BF16 alone is no such unit: with it PyTorch 2.13 trained MiniLM in bf16 at 0.7 to 0.9 times the speed."""


def flags(info: str) -> frozenset[str]:
    r"""The names of what the first CPU can do, from the text of /proc/cpuinfo.

    >>> sorted(flags('processor : 0\nflags\t\t: fpu sse amx_bf16\n'))
    ['amx_bf16', 'fpu', 'sse']
    """
    found = (line.partition(':')[2].split() for line in info.splitlines() if line.startswith('flags'))
    return frozenset(next(found, ()))


@cache
def multiplies_bf16() -> bool:
    """Whether there are units for matrices of bf16 (AMX); False where Linux does not say so."""
    try:
        return UNIT in flags(Path('/proc/cpuinfo').read_text(encoding='utf-8'))
    except OSError:
        return False
