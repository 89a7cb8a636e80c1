"""The command `finetuner`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from finetuner import __version__
from finetuner.console import live_console
from finetuner.errors import FinetunerError


class Framework(StrEnum):
    """The choices; an enumeration, because Typer takes no list of literals."""

    TORCH = 'torch'
    KERAS = 'keras'
    PADDLE = 'paddle'


app = typer.Typer(
    help='Tune embedding models of PyTorch, Keras and PaddlePaddle for better search.',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
    framework: Annotated[Framework, typer.Option(help='What to train with.')] = Framework.TORCH,
    epochs: Annotated[int, typer.Option(min=1, help='How often all training data are seen.')] = 10,
    output: Annotated[Path, typer.Option(help='The folder for the picture.')] = Path('demo'),
) -> None:
    """Teach a small network to find handwritten digits it has never seen, and draw what it finds."""
    from finetuner.demo import run

    run(framework.value, epochs=epochs, output=output)


@app.command()
def doctor(
    check: Annotated[
        list[Framework] | None, typer.Option(help='Import this framework and list its devices; may be repeated.')
    ] = None,
) -> None:
    """Say what is installed, and what to install for what is missing."""
    from finetuner.doctor import Doctor

    report = Doctor([framework.value for framework in check or ()])
    live_console.print(report)
    if report.failed or not report.ready:
        raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option('--version', help='Say the version and end.')] = False) -> None:
    if version:
        live_console.print(__version__, highlight=False)
        raise typer.Exit


def main() -> None:
    """Run the command; errors that people can act on are shown as a sentence."""
    try:
        app(prog_name='finetuner')
    except FinetunerError as error:
        live_console.print(Text(f'Error: {error}', style='red'))
        raise SystemExit(1) from None
