from rich.console import Console

from finetuner.evaluation.table import comparison


def drawn(table, width=100):
    console = Console(width=width, force_terminal=True, color_system='standard', no_color=False, record=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def cells(before, after):
    table = comparison(before, after)
    return list(zip(*[list(column.cells) for column in table.columns], strict=True))


def test_each_metric_has_a_row_with_its_change():
    assert cells({'map_at_r': 0.5, 'hit_at_k': 1.0}, {'map_at_r': 0.75, 'hit_at_k': 0.5}) == [
        ('map_at_r', '0.5000', '0.7500', '[green]+0.2500[/]'),
        ('hit_at_k', '1.0000', '0.5000', '[red]-0.5000[/]'),
    ]


def test_less_loss_is_better():
    assert cells({'val_loss': 0.5}, {'val_loss': 0.25})[0][-1] == '[green]-0.2500[/]'


def test_less_alignment_is_better():
    assert cells({'unseen/alignment': 0.5}, {'unseen/alignment': 0.25})[0][-1] == '[green]-0.2500[/]'
    assert cells({'uniformity': -3.0}, {'uniformity': -2.0})[0][-1] == '[red]+1.0000[/]'


def test_no_change_has_no_colour():
    assert cells({'a': 0.1}, {'a': 0.10000001})[0][-1] == '0.0000'


def test_what_one_side_lacks_is_left_open():
    assert cells({'a': 1.0}, {'b': 2.0}) == [('a', '1.0000', '-', '-'), ('b', '-', '2.0000', '-')]
    assert cells({'a': float('nan')}, {'a': 1.0})[0][-1] == '-'


def test_names_are_no_markup():
    text = drawn(comparison({'[red]mine': 0.5}, {'[red]mine': 0.75}))
    assert '[red]mine' in text
    assert '\x1b[32m' in text  # green
    assert 'before' in text and 'after' in text and 'change' in text
