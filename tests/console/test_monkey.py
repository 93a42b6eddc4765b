"""Ten thousand random keys, clicks, wheel turns and sizes over all views: nothing raises, nothing unasked is sent."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.console.fake_control import failed, failed_over, request, running
from tests.console.stage import Stage, stage
from tests.console.whole import whole
from tests.engine.parts import running_engine, serve
from tests.support.node import chain, simulated

from routerconsole.console.actions import ACTIONS, Context
from routerconsole.console.keymap import _SYMBOLS
from routerconsole.console.widgets.canvas import Canvas
from routerconsole.control.commands import CancelRequest, Disable, Drain, ForceClose, Isolate
from routerconsole.control.registry_commands import RemoveModel
from routerconsole.simulator import Behaviour

SIZES = [(80, 24), (80, 24), (120, 40), (120, 40), (200, 60), (40, 10), (20, 5)]
DESTRUCTIVE = (Disable, Drain, Isolate, ForceClose, RemoveModel, CancelRequest)
CHARACTERS = {name: char for char, name in _SYMBOLS.items()}
KEYS = sorted({key for action in ACTIONS for key in action.keys} | set("abc:/>=.-4z") | {"backspace", "delete", "f5"})


class Monkey:
    """Presses what it likes; only when it has found the way out it stays."""

    def __init__(self, on: Stage, seed: int) -> None:
        self.on = on
        self.dice = random.Random(seed)
        self.modes: set[str] = set()

    async def play(self, steps: int) -> None:
        """Take so many steps; look at the panes every now and then."""
        for step in range(steps):
            if self.on.app._ending is not None:
                return
            self.step()
            self.modes.add(self.on.desk.view.mode)
            if step % 50 == 49:
                await self.on.pilot.pause()
                self.check()
            if step % 400 == 399:
                await self.on.pilot.resize_terminal(*self.dice.choice(SIZES))

    def step(self) -> None:
        """Press a key, click, or turn the wheel."""
        desk, dice = self.on.desk, self.dice
        if desk.question is not None and desk.question.context is Context.QUIT:
            desk.key("escape", None)
            return
        luck = dice.random()
        canvases = [canvas for canvas in self.on.app.screen.query(Canvas) if canvas.display]
        if luck < 0.85 or not canvases:
            key = dice.choice("123456") if luck < 0.05 else dice.choice(KEYS)
            desk.key(key, key if len(key) == 1 else CHARACTERS.get(key))
            return
        canvas = dice.choice(canvases)
        if luck < 0.95 and canvas._on_line is not None:
            canvas._on_line(dice.randrange(max(1, canvas.size.height)), dice.randrange(max(1, canvas.size.width)))
        elif canvas._on_wheel is not None:
            canvas._on_wheel(dice.choice((3, -3)))

    def go(self, mode: str) -> None:
        """Leave whatever is open and go to a view, by keys as anybody would."""
        desk = self.on.desk
        for _ in range(20):
            if desk.typing is None and desk.question is None and desk.page is None:
                break
            desk.key("escape", None)
        desk.key(str([*desk.views].index(mode) + 1), None)
        assert desk.view.mode == mode

    def check(self) -> None:
        """No pane failed, no key failed, and the console is still there."""
        assert self.on.app._exception is None
        failures = [canvas.failure for canvas in self.on.app.screen.query(Canvas) if canvas.failure]
        assert failures == []
        last = self.on.desk.state.last
        assert last is None or not (" failed: " in last.text and "Error" in last.text), last.text


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let what is written land in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize("seed", [15, 16, 17, 18])
async def test_T15_monkey_on_a_scripted_fleet(seed: int, elsewhere: Path) -> None:
    """Ten thousand steps in four runs: each begins in all six views, and what destroys was asked for first."""
    control = whole()
    async with stage(control, size=(120, 40)) as on:
        monkey = Monkey(on, seed)
        for wave, mode in enumerate(monkey.dice.sample([*on.desk.views], 6)):
            monkey.go(mode)
            base = 1000 * (wave + 1)
            control.arrive(request(base), failed_over(base + 1), failed(base + 2), running(base + 3))
            await monkey.play(420)
            assert on.app.return_value is None
        assert monkey.modes == {"overview", "health", "capabilities", "registry", "requests", "evals"}
        asked = [command for command in control.commands if isinstance(command, DESTRUCTIVE)]
        assert all(command in control.dry_runs for command in asked)


async def test_T15_monkey_on_a_real_engine(elsewhere: Path) -> None:
    """The same on an engine with two models and a request under way; it may find the way out, and is let in again."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        config = chain(sim, "m1", "m2", capabilities="[text, tools]")
        config = config.replace("models:", "health: {enabled: false}, models:")
        async with running_engine(config, elsewhere) as node:
            await serve(node)
            left = 1000
            for seed in range(50):
                async with stage(node.control, size=(120, 40)) as on:
                    monkey = Monkey(on, seed)
                    while left > 0 and on.app.return_value is None:
                        left -= 50
                        await monkey.play(50)
                if left <= 0:
                    break
            assert left <= 0
            assert (await node.control.status()).total == 2
