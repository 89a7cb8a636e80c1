"""Which library a tensor or a model belongs to, and what people are told when it belongs to none."""

import subprocess
import sys

import numpy as np
import pytest

from finetuner.dispatch import get_framework, get_namespace, is_installed, load
from finetuner.errors import MissingExtraError, ModelError
from tests.fresh import run
from tests.models import framework, mlp

# Makes a package look as if it were not installed: first of all finders, it finds it nowhere.
BLOCKED = """
import sys
class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition('.')[0] == {package!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked)
"""


class Estimator:
    """Like scikit-learn's: it has a fit of its own, and is no network."""

    def fit(self, x, y):
        return self


def _class_of(module, **members):
    # A class as if it were defined in a module of that name.
    return type('Model', (), {'__module__': module, **members})


def test_a_model_belongs_to_its_framework(backend):
    assert get_framework(mlp(backend)) == framework(backend)


def test_a_subclass_of_the_users_own_belongs_to_its_framework(backend):
    kind = type(mlp(backend))
    own = type('Own', (kind,), {'__module__': '__main__'})
    assert get_framework(own()) == framework(backend)


def test_a_tensor_has_the_namespace_of_its_library(backend, xp):
    tensor = xp.asarray(np.ones(2, np.float32))
    if backend == 'keras-torch':  # its tensors are PyTorch's own
        assert get_namespace(tensor).__name__ == 'finetuner.backends.torch.ops'
    else:
        assert get_namespace(tensor) is xp


def test_parameters_have_the_namespace_of_their_library(backend):
    if framework(backend) == 'keras':
        value = mlp(backend).trainable_variables[0]
    else:
        value = next(iter(mlp(backend).parameters()))
    assert get_namespace(value).__name__ == f'finetuner.backends.{framework(backend)}.ops'


def test_a_tensor_is_no_model(xp):
    with pytest.raises(ModelError, match=r'Cannot tune .*expected a torch\.nn\.Module'):
        get_framework(xp.asarray(np.ones(2, np.float32)))


def test_numpy_scalars_and_arrays_have_numpys_namespace():
    from finetuner.backends.numpy import ops

    assert get_namespace(np.ones(2)) is ops
    assert get_namespace(np.float32(1)) is ops


@pytest.mark.parametrize('thing', [[1.0, 2.0], 'text', 3, None, {'a': 1}])
def test_what_is_no_tensor_has_no_namespace(thing):
    with pytest.raises(TypeError, match=r'no array operations for builtins\..*expected a tensor of numpy'):
        get_namespace(thing)


@pytest.mark.parametrize('thing', [Estimator(), Estimator, 'resnet50', None, np.ones((2, 2)), lambda x: x])
def test_what_is_no_model_is_refused_by_its_name(thing):
    with pytest.raises(ModelError, match='expected a torch.nn.Module') as caught:
        get_framework(thing)
    assert type(thing).__qualname__ in str(caught.value)


def test_a_function_of_a_framework_is_no_model():
    optimizer = _class_of('torch.optim.adam', step=lambda self: None)()
    with pytest.raises(ModelError, match=r'Cannot tune torch\.optim\.adam\.Model'):
        get_framework(optimizer)


def test_the_first_base_that_a_framework_owns_decides():
    module = _class_of('torch.nn.modules.module', named_parameters=lambda self: [])
    layer = type('Layer', (_class_of('keras.src.layers.layer', trainable_weights=[]), module), {'__module__': 'own'})
    assert get_framework(layer()) == 'keras'


def test_keras_2_is_told_what_to_do():
    with pytest.raises(ModelError, match=r'Keras 2 model; Finetuner tunes Keras 3\. Install keras>=3'):
        get_framework(_class_of('tf_keras.src.engine.training', trainable_weights=[])())


def test_the_keras_package_of_version_2_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, 'keras', type(sys)('keras'))
    monkeypatch.setattr(sys.modules['keras'], '__version__', '2.15.0', raising=False)
    with pytest.raises(ModelError, match='Keras 2 model'):
        get_framework(_class_of('keras.engine.training', trainable_weights=[])())


@pytest.mark.parametrize(
    ('name', 'package', 'library'),
    [('torch', 'torch', 'PyTorch'), ('keras', 'keras', 'Keras'), ('paddle', 'paddle', 'PaddlePaddle')],
)
def test_a_framework_that_is_not_installed_names_its_extra(name, package, library):
    code = (
        BLOCKED.format(package=package)
        + f"""
from finetuner.dispatch import load
from finetuner.errors import MissingExtraError
try:
    load({name!r}, 'ops')
except MissingExtraError as error:
    assert isinstance(error, ImportError)
    print(error)
"""
    )
    assert run(code).stdout == (
        f'{library} needs the package {package!r}, which is not installed. '
        f"Install it with: pip install 'finetuner[{name}]'\n"
    )


def test_a_part_of_finetuner_that_does_not_exist_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError) as caught:
        load('numpy', 'nothing')
    assert not isinstance(caught.value, MissingExtraError)


def test_what_is_installed_is_known_without_importing():
    assert is_installed('numpy')
    assert not is_installed('a_library_that_nobody_wrote')
    done = run(
        "from finetuner.dispatch import is_installed\nimport sys\nprint(is_installed('torch'), 'torch' in sys.modules)"
    )
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.stdout == 'True False\n'
