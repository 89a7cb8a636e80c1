"""What a training would find in some data, told before it: what makes it impossible, and what deserves a look."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from finetuner.data.dataset import Dataset
from finetuner.data.inspection import inspect, prints
from finetuner.data.problems import class_sizes, problems
from finetuner.data.readers.source import read
from finetuner.data.records import Label, Records
from finetuner.data.sampler import make_sampler
from finetuner.data.samplers.base import BATCH_SIZE
from finetuner.data.views import listed
from finetuner.errors import FinetunerError
from finetuner.typing import CollateFn, PreprocessFn


@dataclass
class CheckReport:
    """What `check` found; printing it shows all of it.

    Attributes:
        kind: the kind of supervision.
        summary: what is in the data, in a few words.
        n_items: the number of items.
        classes: the number of items of each class.
        batches: batches of an epoch; 0 where there can be none.
        batch_items: items in a batch.
        problems: why a training would be refused or fail.
        warnings: what may be wrong.
        duplicates: names of items with one and the same content, group by group.
        empty: names of items without content.
        unreadable: the reason, by the name of the item.
        leaks: names of training items whose content is in the evaluation data too, with the name there.
    """

    kind: str
    summary: str
    n_items: int
    classes: dict[Label, int] = field(default_factory=dict)
    batches: int = 0
    batch_items: int = 0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    leaks: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a training can start."""
        return not self.problems

    def lines(self) -> Iterator[tuple[str, str]]:
        """What it says, line by line, each with a colour."""
        yield ('bold', f'{self.summary}; {self.batches:,} batches of {self.batch_items:,} an epoch')
        if self.classes:
            sizes = sorted(self.classes.values())
            middle = sizes[len(sizes) // 2]
            yield ('', f'class sizes: smallest {sizes[0]:,}, median {middle:,}, largest {sizes[-1]:,}')
        yield from (('red', f'problem: {problem}') for problem in self.problems)
        yield from (('yellow', f'warning: {warning}') for warning in self.warnings)
        if self.ok:
            yield ('green', 'ready to train')

    def __str__(self) -> str:
        """The report as plain lines."""
        return '\n'.join(line for _, line in self.lines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The report in colour, with the largest and smallest classes."""
        yield from (Text(line, style=colour) for colour, line in self.lines())
        if self.classes:
            table = Table('class', 'items', box=None)
            ranked = sorted(self.classes.items(), key=lambda entry: -entry[1])
            for label, size in ranked if len(ranked) <= 10 else [*ranked[:5], ('…', 0), *ranked[-5:]]:
                table.add_row(str(label), f'{size:,}' if size else '')
            yield table


def check(
    data: Any,
    eval_data: Any = None,
    *,
    batch_size: int | None = None,
    num_items_per_class: int | None = None,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
) -> CheckReport:
    """Look at all data that a training would see: every item is read, one at a time.

    Args:
        data: what `fit` takes.
        eval_data: the evaluation data; no item should be in both.
        batch_size: as in `fit`; 64.
        num_items_per_class: as in `fit`.
        preprocess_fn: as in `fit`; tried on every item.
        collate_fn: as in `fit`; tried on all items. Texts without it are looked at as they are.

    Raises:
        DataError: the data cannot be read at all.
    """
    records = read(data)
    report = CheckReport(records.kind, records.summary(), len(records))
    report.classes = class_sizes(records)
    report.problems = problems(records)
    report.warnings = list(_doubts(records, report.classes))
    if report.ok:
        try:
            sampler = make_sampler(Dataset(records), batch_size or BATCH_SIZE, num_items_per_class=num_items_per_class)
            report.batches, report.batch_items = len(sampler), sampler.rows * sampler.width
        except FinetunerError as error:
            report.problems.append(str(error))
    found = inspect(Dataset(records.alone(), preprocess_fn), collate_fn)
    names = records.names
    report.empty = [str(names[place]) for place in found.empty]
    report.unreadable = {str(names[place]): reason for place, reason in found.unreadable.items()}
    if found.empty:
        report.problems.append(f'{len(found.empty):,} items are empty: {listed(names, found.empty)}.')
    if found.unreadable:
        first, more = next(iter(report.unreadable.values())), len(found.unreadable) - 1
        report.problems.append(f'{first} (and {more:,} more such items)' if more else first)
    _duplicates(records, found.prints, report)
    if eval_data is not None:
        judged = read(eval_data)
        report.problems += [f'eval_data: {problem}' for problem in problems(judged)]
        _leaks(records, found.prints, judged, report)
    return report


def _doubts(records: Records, classes: dict[Label, int]) -> Iterator[str]:
    single = [label for label, size in classes.items() if size == 1]
    if single and len(single) < len(classes):
        yield f'{len(single):,} of {len(classes):,} classes have one item, which has no positive: {_quoted(single)}.'
    if classes and max(classes.values()) > 100 * min(classes.values()):
        yield 'The largest class is more than 100 times the smallest; items of small classes will be repeated often.'
    twins = [str(one) for one in classes if not isinstance(one, str) and str(one) in classes]
    if twins:
        yield f'Labels are there as numbers and as texts, and count as different: {_quoted(twins)}.'
    if records.rows is not None:
        itself = np.flatnonzero(records.rows[:, 0] == records.rows[:, 1])
        if len(itself):
            yield f'{len(itself):,} rows pair an item with itself: {listed(records.names, records.rows[itself, 0])}.'


def _duplicates(records: Records, prints: list[bytes], report: CheckReport) -> None:
    groups: dict[bytes, list[int]] = {}
    for place, digest in enumerate(prints):
        if digest:
            groups.setdefault(digest, []).append(place)
    several = [places for places in groups.values() if len(places) > 1]
    report.duplicates = [[str(records.names[place]) for place in places] for places in several]
    if several:
        count = sum(len(places) - 1 for places in several)
        report.warnings.append(f'{count:,} items repeat another, for example {listed(records.names, several[0])}.')
    labels = records.labels
    if labels is not None:
        torn = [places for places in several if len({labels[place] for place in places}) > 1]
        if torn:
            report.warnings.append(
                f'{len(torn):,} contents have different labels, for example '
                f'{listed(records.names, torn[0])}: {_quoted([labels[place] for place in torn[0]])}.'
            )


def _leaks(records: Records, found: list[bytes], judged: Records, report: CheckReport) -> None:
    there = {digest: place for place, digest in reversed(list(enumerate(prints(judged)))) if digest}
    shared = [(place, there[digest]) for place, digest in enumerate(found) if digest in there]
    report.leaks = [(str(records.names[ours]), str(judged.names[theirs])) for ours, theirs in shared]
    if shared:
        report.warnings.append(
            f'{len(shared):,} of {len(records):,} items to learn from are in the evaluation data too, for example '
            f'{report.leaks[0][0]} as {report.leaks[0][1]}: the results will look better than they are.'
        )


def _quoted(labels: list[Any]) -> str:
    return listed([repr(label) for label in labels], range(len(labels)))
