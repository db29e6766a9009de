# SPDX-License-Identifier: Apache-2.0
"""The page of `assay bench top`, by Textual: a table of places, and under it what the chosen one said last.

Guards: what a unit says is text and never markup; a place that vanishes, or a bench file that is being written, leaves
the page standing. Leaves to others: what is known of places (`pipeline.bench_watch`).
"""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import DataTable, Footer, Input, Static

from assay.pipeline.bench_watch import BenchWatch, PlaceNow, PlaceRow

LISTEN_EACH_S = 0.1
WIDE = 110  # columns of a terminal that has room for board and last line in the table
SORTS = ("name", "user", "state")


CELL_MAX = 28
"""Columns of a name in the table; the whole one is below it, when its place is chosen."""


def _short(text: str) -> str:
    """Names of places tell themselves apart at their ends as often as at their beginnings."""
    return text if len(text) <= CELL_MAX else f"{text[: CELL_MAX // 2]}…{text[1 - CELL_MAX // 2 :]}"


class TopPage(App[None]):
    """One page; `watch` is closed by who made it. `every_s`: seconds between two looks at places and locks."""

    CSS = """
    #title { height: 1; text-style: bold; }
    #places { height: 1fr; }
    #said { height: 9; border-top: solid $accent; }
    #filter { display: none; height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter"),
        Binding("escape", "show_all", "Show all"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, watch: BenchWatch, every_s: float) -> None:
        super().__init__()
        self._watch = watch
        self._every_s = every_s
        self._rows: list[PlaceRow] = []
        self._steps: dict[str, str] = {}
        self._sort = 0
        self._only = ""
        self._shown: list[PlaceNow] = []
        self._looking = False
        self.stopped_by: str | None = None

    def compose(self) -> ComposeResult:
        """Title, table, lines, and a field that shows itself when it is asked for."""
        yield Static(id="title", markup=False)
        yield DataTable[Text](id="places", cursor_type="row", zebra_stripes=True)
        yield Static(id="said", markup=False)
        yield Input(id="filter", placeholder="part of a name, a user or a verb")
        yield Footer()

    def on_mount(self) -> None:
        """Look now, and then again and again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):  # an exception out of a handler would leave the terminal raw
            loop.add_signal_handler(number, self._stop, number)
        self._columns()
        self.set_interval(self._every_s, self._look)
        self.set_interval(LISTEN_EACH_S, self._listen)
        self._look()

    def on_resize(self, _event: Resize) -> None:
        """Another width may have other columns."""
        self._columns()
        self._show()

    def _stop(self, number: signal.Signals) -> None:
        self.stopped_by = number.name
        self.exit()

    # What the keys do

    def action_sort(self) -> None:
        """By name, by who has it, by state."""
        self._sort = (self._sort + 1) % len(SORTS)
        self._show()

    def action_filter(self) -> None:
        """Ask for what to look for."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_show_all(self) -> None:
        """No filter any more."""
        self._only = ""
        self._leave_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The table follows what is typed."""
        self._only = event.value.strip().lower()
        self._show()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Back to the table; the filter stays."""
        self._leave_filter()

    def _leave_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = self._only
        field.display = False
        self.query_one("#places", DataTable).focus()
        self._show()

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        """Another place's lines."""
        self._show_lines()

    # What is seen

    def _look(self) -> None:
        if not self._looking:  # a host with many processes may take longer than the interval
            self._looking = True
            self.run_worker(self._look_aside, thread=True, exit_on_error=False)

    def _look_aside(self) -> None:
        try:
            found = self._watch.look()
        finally:
            self._looking = False
        self.call_from_thread(self._looked, *found)

    def _looked(self, rows: list[PlaceRow], steps: dict[str, str]) -> None:
        self._rows, self._steps = rows, steps
        self._show()

    def _listen(self) -> None:
        self._watch.listen(self._rows)
        self._show_lines()

    @property
    def _there(self) -> bool:
        """Events come before the page is made, and after it is gone."""
        return bool(self.query("#places")) and bool(self.query("#said"))

    def _columns(self) -> None:
        if not self._there:
            return
        table = self.query_one("#places", DataTable)
        table.clear(columns=True)
        for title in self._titles():
            table.add_column(title, key=title)

    def _titles(self) -> tuple[str, ...]:
        return (
            ("place", "board", "state", "user", "runs", "said last")
            if self._wide
            else ("place", "state", "user", "runs")
        )

    @property
    def _wide(self) -> bool:
        return self.size.width >= WIDE

    def _show(self) -> None:
        if not self._there:
            return
        table = self.query_one("#places", DataTable)
        chosen = self._chosen()
        places = [self._watch.now(row, self._steps) for row in self._rows]
        self._shown = sorted((place for place in places if self._fits(place)), key=self._order)
        table.clear()
        for place in self._shown:
            table.add_row(*(Text(cell) for cell in self._cells(place)), key=place.row.name)
        names = [place.row.name for place in self._shown]
        if chosen is not None and chosen.row.name in names:
            table.move_cursor(row=names.index(chosen.row.name))
        used = sum(bool(place.row.used_by) for place in places)
        title = f"assay bench: {len(places)} places, {used} in use, by {SORTS[self._sort]}"
        title += f", only {self._only!r}" if self._only else ""
        self.query_one("#title", Static).update(Text(f"{title}  {self._watch.fault}".rstrip()))
        self._show_lines()

    def _show_lines(self) -> None:
        if not self._there:
            return
        chosen, said = self._chosen(), self.query_one("#said", Static)
        if chosen is None:
            said.update(Text("no place"))
            return
        lines = self._watch.lines(chosen.row)
        height = max(1, said.size.height - 1)
        waits = f", {len(chosen.row.waiting)} wait" if chosen.row.waiting else ""
        head = f"{chosen.row.name}: {chosen.row.used_by or 'free'}{waits}"
        body = lines[-height:] or ("(nothing was heard yet: lines come from whoever has the port open)",)
        said.update(Text("\n".join([head, *body]), no_wrap=True, overflow="ellipsis"))

    def _chosen(self) -> PlaceNow | None:
        index = self.query_one("#places", DataTable).cursor_row
        return self._shown[index] if 0 <= index < len(self._shown) else None

    def _cells(self, place: PlaceNow) -> tuple[str, ...]:
        row = place.row
        said = place.lines[-1] if place.lines else ""
        user = row.user or "free"
        if self._wide:
            return _short(row.name), _short(row.board), row.state, _short(user), _short(place.runs), said
        return _short(row.name), row.state, _short(user), place.runs

    def _fits(self, place: PlaceNow) -> bool:
        row = place.row
        return self._only in f"{row.name} {row.board} {row.state} {row.used_by or 'free'} {place.runs}".lower()

    def _order(self, place: PlaceNow) -> tuple[str, str]:
        row = place.row
        first = {"name": "", "user": row.user or "~", "state": row.state}[SORTS[self._sort]]
        return first, row.name
