"""Imports go one way: a module knows what lies above it in the table, and nothing below."""

import ast
from collections.abc import Iterator
from pathlib import Path

import finetuner

ROOT = Path(finetuner.__file__).parent

# From the top down. A module belongs to the longest name that fits; within a line modules may know each other, but the
# parts of a line separated by | may not.
LAYERS = [
    'finetuner finetuner.typing finetuner.errors finetuner.console finetuner.world finetuner.cpu finetuner.memory',
    'finetuner.dispatch',
    'finetuner.losses.labels',
    'finetuner.losses.relation finetuner.losses.distances finetuner.losses.reduce finetuner.losses.pooling',
    'finetuner.losses | finetuner.data | finetuner.artifact',
    'finetuner.inference finetuner.shortening',
    'finetuner.precision',
    'finetuner.encoding',
    'finetuner.evaluation | finetuner.tailor | finetuner.tuner',
    'finetuner.tuner.schedule finetuner.tuner.curves finetuner.tuner.optimizers',
    'finetuner.tuner.settings',
    'finetuner.tuner.state finetuner.tuner.rates finetuner.tuner.course finetuner.tuner.execution',
    'finetuner.tuner.shelf finetuner.tuner.activations',
    'finetuner.tuner.history finetuner.tuner.checkpoint finetuner.tuner.divergence',
    'finetuner.tuner.trial finetuner.tuner.fitting finetuner.tuner.range_test finetuner.tuner.found',
    'finetuner.tuner.callbacks finetuner.callback finetuner.tuner.callback',
    'finetuner.tuner.apart finetuner.tuner.step finetuner.tuner.base',
    'finetuner.backends.numpy | finetuner.backends.torch | finetuner.backends.keras | finetuner.backends.paddle',
    'finetuner.tuner.train finetuner.tuner.held finetuner.tuner.refit | finetuner.backbones | finetuner.saved',
    'finetuner.labeler | finetuner.synthesis | finetuner.serving',
    'finetuner.jobs finetuner.worker',
    'finetuner.api',
    'finetuner.demo | finetuner.doctor',
    'finetuner.cli finetuner.__main__',
]
PLACES = {
    name: (depth, part)
    for depth, line in enumerate(LAYERS)
    for part, names in enumerate(line.split('|'))
    for name in names.split()
}
# The old names for the losses, and the framework itself, which is imported in one place.
ALIASES = {'finetuner.tuner.losses': 'finetuner.losses', 'finetuner.backends': 'finetuner'}
FRAMEWORKS = {
    'torch': {'torch', 'transformers', 'peft'},
    'keras': {'keras', 'torch'},  # torch: Keras does not say which GPUs its own torch engine has
    'paddle': {'paddle'},
    'numpy': set(),
}
EVERY_FRAMEWORK = {'torch', 'transformers', 'peft', 'keras', 'tensorflow', 'jax', 'paddle'}


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob('*.py')):
        parts = path.relative_to(ROOT.parent).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def _imports(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for hidden in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(hidden.test, ast.Name) and hidden.test.id == 'TYPE_CHECKING':
            hidden.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f'{path}: relative import'
            for alias in node.names:  # `from a import b`: b may be a module
                whole = f'{node.module}.{alias.name}'
                yield whole if whole in modules else node.module


def _place(module: str) -> tuple[int, int]:
    module = ALIASES.get(module, module)
    while module not in PLACES:
        module = module.rpartition('.')[0]
    return PLACES[module]


def _is_allowed(module: str, imported: str) -> bool:
    (here, part), (there, other) = _place(module), _place(imported)
    return there < here or (there == here and part == other)


def test_every_module_imports_only_what_lies_above_it():
    modules = _modules()
    wrong = [
        f'{module} imports {imported}'
        for module, path in modules.items()
        for imported in _imports(path, modules)
        if imported.partition('.')[0] == 'finetuner' and not _is_allowed(module, imported)
    ]
    assert not wrong, '\n'.join(wrong)


def test_only_a_backend_imports_its_framework():
    modules = _modules()
    wrong = []
    for module, path in modules.items():
        _, _, backend = module.partition('finetuner.backends.')
        own = FRAMEWORKS[backend.partition('.')[0]] if backend else set()
        libraries = {imported.partition('.')[0] for imported in _imports(path, modules)}
        wrong += [f'{module} imports {library}' for library in sorted(libraries & EVERY_FRAMEWORK - own)]
    assert not wrong, '\n'.join(wrong)


def test_the_rule_finds_what_is_forbidden():
    assert _is_allowed('finetuner.tuner.base', 'finetuner.losses.objective')
    assert _is_allowed('finetuner.losses.triplet', 'finetuner.losses.base')
    assert not _is_allowed('finetuner.losses.base', 'finetuner.data.dataset')
    assert not _is_allowed('finetuner.losses.relation', 'finetuner.losses.base')
    assert not _is_allowed('finetuner.backends.torch.tuner', 'finetuner.backends.keras.tuner')
    assert not _is_allowed('finetuner.tuner.callbacks.base', 'finetuner.tuner.base')
    assert not _is_allowed('finetuner.data.csv', 'finetuner.api')
