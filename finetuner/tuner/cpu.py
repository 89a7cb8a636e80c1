"""What the CPU can do, as far as a training must know."""

from functools import cache
from pathlib import Path

UNITS = ('amx_bf16', 'avx512_bf16')


def flags(info: str) -> frozenset[str]:
    r"""The names of what the first CPU can do, from the text of /proc/cpuinfo.

    >>> sorted(flags('processor : 0\nflags\t\t: fpu sse amx_bf16\n'))
    ['amx_bf16', 'fpu', 'sse']
    """
    found = (line.partition(':')[2].split() for line in info.splitlines() if line.startswith('flags'))
    return frozenset(next(found, ()))


@cache
def multiplies_bf16() -> bool:
    """Whether there are units for matrices of bf16, AMX or AVX512-BF16; False where Linux does not say so."""
    try:
        return not flags(Path('/proc/cpuinfo').read_text(encoding='utf-8')).isdisjoint(UNITS)
    except OSError:
        return False
