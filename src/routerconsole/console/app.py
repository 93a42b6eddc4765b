"""The console application: hands keys to the desk in order, looks at the engine on a tick, draws, says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.filter import Monochrome, NoColor
from textual.message import Message

from .aside import stderr_aside
from .desk import Desk
from .driver import ConsoleDriver
from .options import ConsoleExit, ConsoleOptions, ExitReason
from .safe_text import AsciiFilter, ControlFilter, visible
from .screens.frame import Frame
from .theme import COLOURLESS, DEFAULT, ConsoleTheme, Palette, load_themes
from .theme_watch import stamp, theme_changes
from .tick import Pulled, Puller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from types import FrameType

    from textual.filter import LineFilter
    from textual.screen import Screen
    from textual.worker import Worker

    from routerconsole.control.port import Control

HEARTBEAT_S: Final = 1.0
PREPARE_EVERY_S: Final = 1.0
"""Seconds between two views that are made ahead of their first visit."""
STATUS_EVERY_S: Final = 1.0
"""Seconds between two reads of the status while no event says it changed: rates and latencies move slowly."""


class EngineLookedAt(Message):
    """A look at the engine came back."""

    def __init__(self, pulled: Pulled) -> None:
        super().__init__()
        self.pulled = pulled


class RouterConsoleApp(App[ConsoleExit]):
    """The console on one Control port; its Textual parts only draw, the `Desk` decides."""

    CSS_PATH = "console.tcss"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, control: Control, options: ConsoleOptions) -> None:
        self._themes_stamp = stamp(options.theme_folder)
        self._themes, problems = load_themes(options.theme_folder)
        self._theme = _chosen(self._themes, options, problems)
        self._styled: tuple[ConsoleTheme, int] | None = None
        super().__init__(driver_class=ConsoleDriver, ansi_color=self._theme.ansi)
        self._palette = self._theme.palette(colour=not options.no_color)
        self.register_theme(self._theme.textual())
        self.theme = self._theme.name
        self.options = options
        self.desk = Desk(control, options, self)
        self._puller = Puller(control)
        self._wake = asyncio.Event()
        self._extra_filters: list[LineFilter] = [ControlFilter(), *([AsciiFilter()] if options.ascii else [])]
        self._no_color = NoColor() if options.no_color else None
        self._ending: ConsoleExit | None = None
        self._unbegun: set[Coroutine[None, None, None]] = set()
        self._frames = {
            mode: Frame(view, self.desk, palette=self.palette, synced=self.redraw)
            for mode, view in self.desk.views.items()
        }
        if problems:
            self.desk.tell(problems[0], ok=False)

    def palette(self) -> Palette:
        """Return the styles in force."""
        return self._palette

    def theme_names(self) -> Sequence[str]:
        """Return the themes there are."""
        return sorted(self._themes)

    def use_theme(self, name: str) -> str:
        """Draw with another theme from now on; return why not, or nothing."""
        if self.options.no_color:
            return "NO_COLOR is set: there is no colour to choose"
        if name not in self._themes:
            return f"no theme {visible(name, 40)}; there are {', '.join(self.theme_names())}"
        self._theme = self._themes[name]
        self._palette = self._theme.palette()
        self.register_theme(self._theme.textual())
        self.ansi_color = self._theme.ansi
        self.theme = name
        for frame in self._frames.values():
            frame.repaint_all()
        return ""

    async def _follow_themes(self) -> None:
        """Draw with a theme as its file is now; one that broke stays as it was, and why is told."""
        async for themes, problems in theme_changes(self.options.theme_folder, self._themes_stamp):
            self._themes = {self._theme.name: self._theme, **themes}
            if problems:
                self.desk.tell(problems[0], ok=False)
            if self._themes[self._theme.name] != self._theme and not self.options.no_color:
                self.use_theme(self._theme.name)
            self.redraw()

    # -- start and ticks ---------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Open the first view and begin looking at the engine."""
        for mode, frame in self._frames.items():
            self.add_mode(mode, partial(_same, frame))
        self.switch_mode(self.desk.view.mode)
        self.run_worker(self._look_forever(), exit_on_error=False, group="look")
        self.run_worker(self._prepare_views(), exit_on_error=False, group="views")
        self.run_worker(self._follow_themes(), exit_on_error=False, group="themes")
        self.set_interval(HEARTBEAT_S, self._beat)

    async def _prepare_views(self) -> None:
        """Make the screens of the other views while nobody waits for them: one takes longer than a key may."""
        for mode, frame in self._frames.items():
            await asyncio.sleep(PREPARE_EVERY_S)
            if self._ending is not None:
                return
            if mode not in self._screen_stacks:
                await self._init_mode(mode)
                frame.post_message(events.ScreenSuspend())

    async def _close_all(self) -> None:
        """Make no more screens: Textual walks through all there are while it closes them."""
        self.workers.cancel_group(self, "views")
        await super()._close_all()
        for work in self._unbegun:
            work.close()

    async def _look_forever(self) -> None:
        """Look, hand over, wait for the tick or for someone in a hurry, who is shown everything as it is."""
        clock, due = asyncio.get_running_loop().time, 0.0
        while True:
            hurried = self._wake.is_set()
            self._wake.clear()
            pulled = await self._puller.pull(self.desk.wants(status=hurried or clock() >= due))
            if pulled.status is not None:
                due = clock() + STATUS_EVERY_S - self.options.interval / 2
            self.post_message(EngineLookedAt(pulled))
            await asyncio.sleep(self.options.least_gap)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self.options.interval - self.options.least_gap)

    def on_engine_looked_at(self, message: EngineLookedAt) -> None:
        """Take a look in and draw what it changed, as one batch."""
        self.desk.state.now = self.options.now()
        if self.desk.take(message.pulled, asyncio.get_running_loop().time()):
            self.redraw()

    def _beat(self) -> None:
        """Move the clocks on while the engine says nothing; otherwise its looks do that."""
        clock = asyncio.get_running_loop().time()
        if clock - self.desk.state.clock > self.options.interval + HEARTBEAT_S / 2:
            self.desk.state.age(clock, self.options.now())
            self.redraw()

    # -- what the desk needs (Shell) ---------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that waits; what has not begun when the console ends is dropped."""
        self._unbegun.add(work)

        async def begin() -> None:
            self._unbegun.discard(work)
            await work

        _: Worker[None] = self.run_worker(begin, exit_on_error=False, group="act")

    def look(self) -> None:
        """Look at the engine again soon."""
        self._wake.set()

    def redraw(self) -> None:
        """Show the desk's view and draw what changed."""
        mode = self.desk.view.mode
        if self._ending is not None or not self._running:
            return
        if self.current_mode != mode:
            self.switch_mode(mode)
        with self.batch_update():
            self._frames[mode].draw()

    def repaint(self) -> None:
        """Draw everything again."""
        self._frames[self.desk.view.mode].repaint_all()

    def copy(self, text: str) -> None:
        """Hand text to the terminal's clipboard."""
        if isinstance(self._driver, ConsoleDriver):
            self._driver.copy(text)

    def leave(self, ending: ConsoleExit) -> None:
        """End the console; the first reason counts."""
        if self._ending is None:
            self._ending = ending
            self.exit(ending, return_code=ending.code)

    def request_leave(self, ending: ConsoleExit) -> None:
        """End the console from any thread or signal handler."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended already
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self.leave, ending)

    def interrupt(self) -> None:
        """SIGINT: ask as ctrl+c does."""
        with contextlib.suppress(RuntimeError):  # see request_leave
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self.desk.key, "ctrl+c", None)

    # -- what the driver tells ---------------------------------------------------------------------------------------

    def terminal_lost(self) -> None:
        """The terminal is gone: end, leaving the engine to the caller."""
        self.leave(ConsoleExit(ExitReason.HANGUP))

    def terminal_drained(self) -> None:
        """Frames were dropped while the terminal was slow: it now shows an old mixture."""
        if self._ending is None:
            self.repaint()

    # -- Textual -----------------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Answer keys and pastes here, in the order they came; everything else is Textual's."""
        if isinstance(event, events.Key):
            self.desk.key(event.key, event.character)
        elif isinstance(event, events.Paste):
            self.desk.paste(event.text)
        else:
            await super().on_event(event)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Add the control-character backstop and the ASCII form; without colour nothing may put greys back."""
        if self._no_color is not None:
            return [self._no_color, *self._extra_filters]
        stock = [entry for entry in super().get_line_filters() if not isinstance(entry, (Monochrome, NoColor))]
        return [*stock, *self._extra_filters]

    def refresh_css(self, animate: bool = True) -> None:
        """Apply the styles; the sheet is parsed anew only for another theme, which Textual does for every screen."""
        if self._styled != (styled := (self._theme, self._css_update_count)):
            self._styled = styled
            super().refresh_css(animate)
            return
        for screen in self.screen_stack:
            if screen.is_mounted:
                self.stylesheet.update(screen, animate=animate)
                screen._css_update_count = self._css_update_count

    def action_suspend_process(self) -> None:
        """Never: stopping this process would stop the router."""

    def _fatal_error(self) -> None:
        """Keep a traceback for after the screen is restored; without local variables, which may hold secrets."""
        lines = "".join(traceback.format_exc(limit=-12)).splitlines()
        self._exit_renderables.append(Text("\n".join(visible(line, 400) for line in lines)))
        self._close_messages_no_wait()


def _same(frame: Screen[None]) -> Screen[None]:
    return frame


def _chosen(themes: dict[str, ConsoleTheme], options: ConsoleOptions, problems: list[str]) -> ConsoleTheme:
    """Return the theme to draw with: `NO_COLOR` decides first, an unknown name is reported and replaced."""
    if options.no_color:
        return themes[COLOURLESS]
    if options.theme not in themes:
        problems.append(f"console.theme: no theme {visible(options.theme, 40)}; there are {', '.join(sorted(themes))}")
    return themes.get(options.theme, themes[DEFAULT])


@contextlib.contextmanager
def _signals(app: RouterConsoleApp) -> Iterator[None]:
    """While the console runs SIGINT asks, SIGTERM quits and SIGHUP ends it; the handlers before are put back after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def when(act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        return lambda _signum, _frame: act()

    wanted = {
        signal.SIGINT: when(app.interrupt),
        signal.SIGTERM: when(lambda: app.request_leave(ConsoleExit(ExitReason.QUIT))),
        signal.SIGHUP: when(lambda: app.request_leave(ConsoleExit(ExitReason.HANGUP))),
    }
    touched = (*wanted, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTOU, signal.SIGTTIN)
    before = {number: signal.getsignal(number) for number in touched}
    for number, handler in wanted.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier if earlier is not None else signal.SIG_DFL)


def run_console(control: Control, options: ConsoleOptions) -> ConsoleExit:
    """Draw the console on this process's terminal until it ends; main thread only.

    A console that failed ends like a lost terminal (code 1): its traceback is on stderr, and the engine is not its to
    stop.
    """
    app = RouterConsoleApp(control, options)
    with stderr_aside(), _signals(app):
        ending = app.run()
    return ending if ending is not None else ConsoleExit(ExitReason.HANGUP, 1)
