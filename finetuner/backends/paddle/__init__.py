"""The one place that imports Paddle, because the order matters.

TensorFlow 2.20 and newer opens its libraries globally; a Paddle 3.3 that is imported afterwards binds its protobuf
to TensorFlow's and the process dies with a segmentation fault. With RTLD_DEEPBIND Paddle prefers its own symbols.

Within paddle.jit, Paddle 3.3 overwrites tensors in place that are still read: of equal inputs some runs give other
numbers. The pass that does so is switched off, unless the environment sets its flag.
"""

import os
import sys

if 'tensorflow' in sys.modules and 'paddle' not in sys.modules and hasattr(os, 'RTLD_DEEPBIND'):
    _flags = sys.getdlopenflags()
    sys.setdlopenflags(_flags | os.RTLD_DEEPBIND)
    try:
        import paddle
    finally:
        sys.setdlopenflags(_flags)
else:
    import paddle

if 'FLAGS_pir_apply_inplace_pass' not in os.environ:
    paddle.set_flags({'FLAGS_pir_apply_inplace_pass': False})

__all__ = ['paddle']
