"""Out of memory: how it is known from other errors, and how what fills the memory is let go."""

import re
import traceback

KINDS = ('OutOfMemoryError', 'ResourceExhaustedError')
SIGNS = re.compile(
    r"out of memory|can(no|')t allocate memory|not enough memory|RESOURCE_?EXHAUSTED|OOM when allocating|bad_alloc"
    r'|ALLOC_FAILED|could not (create|execute) a primitive',  # the last is oneDNN's
    re.IGNORECASE,
)
"""What frameworks say on a CPU or a GPU; most of them have no class of error for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, on the CPU or a GPU."""
    if isinstance(error, MemoryError) or any(kind.__name__ in KINDS for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and SIGNS.search(str(error)) is not None


def forget(error: BaseException | None) -> None:
    """Let go of what fills the memory: the frames that an error came through hold it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
