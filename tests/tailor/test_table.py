"""The table shows long models folded, and unfolds what is asked for."""

import io

import pytest
from rich.console import Console

from finetuner.console import whole
from finetuner.errors import ArgumentError
from finetuner.tailor.layers import Call, listed
from finetuner.tailor.table import table


@pytest.fixture
def layers():
    calls = [Call('cls', 'Parameter', (1, 8), 'float32', 8, True)]
    for i in range(3):
        for name in ('key', 'value'):
            calls.append(Call(f'layers.{i}.{name}', 'Linear', (None, 5, 8), 'float32', 72, i > 0))
        calls.append(Call(f'layers.{i}', 'Block', (None, 5, 8), 'float32', 144, i > 0))
    calls.append(Call('pick', 'Pick', None, '', 0, False))
    return listed([*calls, Call('', 'Net', (None, 5, 8), 'float32', 1440, True)])


def shown(layers, **options):
    out = io.StringIO()
    Console(file=out, width=120, color_system='truecolor', force_terminal=True).print(table(layers, **options))
    plain = io.StringIO()
    Console(file=plain, width=120).print(table(layers, **options))
    return plain.getvalue(), out.getvalue()


def test_short_models_are_shown_in_full(layers):
    text, _ = shown(layers)
    assert all(layer.name in text for layer in layers)
    assert '(B, 5, 8)' in text and '1,440' in text and '+' not in text.replace('+-', '')


def test_blocks_are_folded_and_unfolded(layers):
    text, _ = shown(layers, unfold=False)
    assert 'layers.1 (+2)' in text and 'layers.1.key' not in text and 'cls' in text
    text, _ = shown(layers, unfold='layers.1')
    assert 'layers.1.key' in text and 'layers.0.key' not in text
    text, _ = shown(layers, unfold=['*.0', '*.2'])
    assert 'layers.0.key' in text and 'layers.1.key' not in text


def test_blocks_have_numbers_and_frozen_layers_another_colour(layers):
    text, coloured = shown(layers, unfold=False)
    first, second = (line for line in coloured.splitlines() if 'layers.0' in line or 'layers.1' in line)
    assert '\x1b[36m' in first and '\x1b[32m' in second
    numbers = [line.split()[-1] for line in text.splitlines() if 'block_' in line]
    assert numbers == ['1', '2', '3']


def test_a_layer_without_a_tensor_cannot_embed(layers):
    text, _ = shown(layers)
    line = next(line for line in text.splitlines() if 'pick_10' in line)
    assert 'yes' not in line and ' - ' in line


def test_a_narrow_terminal_hides_nothing(layers, monkeypatch, capsys):
    monkeypatch.setattr('finetuner.console.live_console', Console(width=20))
    whole(table(layers))
    text = capsys.readouterr().out
    assert 'block' in text and all(layer.path in text for layer in layers)


def test_what_is_to_be_unfolded_must_be_there(layers):
    with pytest.raises(ArgumentError, match=r"no layer 'layer'.*Did you mean"):
        table(layers, unfold='layer')
