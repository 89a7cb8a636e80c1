"""What is installed here, beside what was tested; nothing is imported to find out."""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from finetuner import __version__
from finetuner.dispatch import FRAMEWORKS, load
from finetuner.errors import FinetunerError

# What is looked for: the distribution, the version that was tested, the extra that brings it.
TESTED = {
    'torch': ('2.13.0', 'torch'),
    'keras': ('3.15.1', 'keras'),
    'tensorflow': ('2.21.0', 'keras'),
    'jax': ('0.10.2', 'keras-jax'),
    'paddlepaddle': ('3.3.1', 'paddle'),
    'numpy': ('2.4.6', ''),
    'docarray': ('0.21.1', 'docarray'),
    'transformers': ('5.23.0', 'text'),
    'peft': ('0.21.2', 'lora'),
    'scikit-learn': ('1.9.1', 'demo'),
    'pillow': ('13.0.0', 'image'),
    'pandas': ('3.1.1', ''),
    'datasets': ('5.2.0', ''),
}
# Distributions that do the work of another: the same library built for a GPU, or without one.
TWINS = {'tensorflow': ('tensorflow-cpu',), 'paddlepaddle': ('paddlepaddle-gpu',)}
# A framework trains when, for one of these rows, all are installed.
NEEDS = {
    'torch': (('torch',),),
    'keras': (('keras', 'tensorflow'), ('keras', 'jax'), ('keras', 'torch')),
    'paddle': (('paddlepaddle',),),
}


class Doctor:
    """The findings, as rich prints them.

    Args:
        check: frameworks to import and to ask for their devices.

    Attributes:
        installed: the versions found, by distribution.
        ready: the frameworks that can train.
        devices: of the frameworks asked for, their devices in words, or why there are none.
        failed: the frameworks asked for that could not be imported.
    """

    def __init__(self, check: Sequence[str] = ()) -> None:
        self.installed = {name: found for name in TESTED if (found := _version(name))}
        self.ready = [name for name in FRAMEWORKS if any(self.installed.keys() >= set(row) for row in NEEDS[name])]
        self.failed: list[str] = []
        self.devices = {framework: self._devices(framework) for framework in check}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(self._machine(), self._libraries(), *(Text(line) for line in self.hints()))

    def hints(self) -> Iterator[str]:
        """Sentences on what to do next."""
        if not self.ready:
            yield 'There is no framework to train with. Install one:'
            yield from (f"  pip install 'finetuner[{name}]'" for name in FRAMEWORKS)
        elif missing := [name for name in FRAMEWORKS if name not in self.ready]:
            others = ' and '.join(f"pip install 'finetuner[{name}]'" for name in missing)
            yield f'Ready to train: {", ".join(self.ready)}. For the others: {others}'
        else:
            yield f'Ready to train: {", ".join(self.ready)}.'
        if any(found.partition('+')[0] != TESTED[name][0] for name, found in self.installed.items()):
            yield 'Other versions than the tested ones may well work; constraints.txt in the source has the whole set.'

    def _machine(self) -> Table:
        table = _table('this machine', '', '')
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        engine = os.environ.get('KERAS_BACKEND')
        table.add_row('Finetuner', __version__)
        table.add_row('Python', platform.python_version())
        table.add_row('platform', platform.platform())
        table.add_row('cores', str(cores))
        table.add_row('KERAS_BACKEND', engine or 'not set: Keras takes what ~/.keras/keras.json says, or tensorflow')
        for framework, devices in self.devices.items():
            table.add_row(f'{framework} sees', Text(devices))
        return table

    def _libraries(self) -> Table:
        table = _table('libraries', '', 'installed', 'tested', 'to install')
        for name, (tested, extra) in TESTED.items():
            found = self.installed.get(name)
            hint = f"pip install 'finetuner[{extra}]'" if extra else f'pip install {name}'
            table.add_row(name, found or 'no', tested, Text('' if found else hint), style='' if found else 'dim')
        return table

    def _devices(self, framework: str) -> str:
        try:
            return ', '.join(load(framework, 'devices').names())
        except (FinetunerError, ImportError, OSError, RuntimeError) as error:  # whatever an installation breaks with
            self.failed.append(framework)
            return f'{type(error).__name__}: {error}'


def _version(name: str) -> str | None:
    for distribution in (name, *TWINS.get(name, ())):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left', box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow='fold')
    return table
