"""The Capabilities view: tree, models of a node, layers of one, and what its keys change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.console.bare_host import BareHost
from tests.console.capability_scene import (
    CHAT,
    PARALLEL,
    TOOLS,
    VISION,
    CapabilityScene,
    Named,
    lab,
    layer,
)
from tests.console.fake_control import FakeControl, at, failed, provider, request
from tests.console.stage import Stage, stage
from tests.support.effort import calls

from routerconsole.console.demand import Demand, Figure
from routerconsole.console.foliage import Foliage, extension_problem
from routerconsole.console.render.capabilities import change_text, coverage, coverage_words
from routerconsole.console.render.cells import line_width, plain
from routerconsole.console.state import ConsoleState, Link, RequestStore
from routerconsole.console.views.capabilities import CapabilitiesView
from routerconsole.control.commands import Receipt
from routerconsole.control.port import ControlError, EngineUnreachable
from routerconsole.control.registry_commands import (
    ClearCapability,
    ClearGap,
    ExtendCapabilities,
    SetCapability,
    Undo,
)
from routerconsole.control.registry_views import Impact, ModelPage, NodeView
from routerconsole.domain.events import EventType

SIZES = [(80, 24), (120, 40), (200, 60)]
WIDE = (120, 40)


async def opened(on: Stage, node: str = "tools") -> None:
    """Open the view, go to a node, and from there to its models."""
    await on.press("3")
    await on.until(lambda: on.desk.capabilities.tree.rows and on.desk.capabilities.models.rows, "tree and models")
    on.desk.show("capabilities", node)
    await on.press("enter")
    await on.sees("Models")


def selected(on: Stage) -> str:
    """Return the model under the cursor."""
    key: str = on.desk.capabilities.models.current_key
    return key


async def select(on: Stage, model: str) -> None:
    """Put the cursor on a model."""
    assert on.desk.capabilities.models.go(model)
    on.desk.capabilities.sync()
    on.desk.redraw()
    await on.pilot.pause()


# -- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("form", ["dark", "ascii"])
@pytest.mark.parametrize("pane", ["tree", "models", "layers"])
async def test_snapshot(pane: str, form: str, size: tuple[int, int], snapshot: Callable[[str, str], None]) -> None:
    """Each pane looks as it was approved at each size, with glyphs and in ASCII."""
    async with stage(lab(), size=size, ascii=form == "ascii") as on:
        await opened(on)
        await on.until(lambda: on.desk.capabilities._demand.of(TOOLS).count, "requests counted")
        if pane == "tree":
            await on.press("h")
        elif pane == "layers":
            await select(on, "groq/llama-3.3-70b")
            await on.press("enter")
            await on.sees("supported_parameters")
        snapshot(f"capabilities-{pane}-{size[0]}x{size[1]}-{form}", on.text())
        if form == "ascii":
            assert on.text().isascii()


async def test_models_stand_as_a_request_would_ask_them() -> None:
    """Those that say yes come in the pool's order, then those nobody knows of, then those that say no."""
    async with stage(lab(), size=WIDE) as on:
        await opened(on)
        assert [model.id for model in on.desk.capabilities.models.rows] == [
            "groq/llama-3.3-70b",
            "openai/gpt-x",
            "local/llama3.1:8b",
            "openai/gpt-x-mini",
            "local/deepseek-r1:8b",
            "local/mystery",
            "groq/qwen-32b",
        ]


@pytest.mark.parametrize(
    ("total", "routable", "mark", "words"),
    [
        (0, 0, "", "no model has it"),
        (3, 3, "", "3 of 3 can be asked"),
        (3, 1, "!", "single point of failure"),
        (1, 1, "!", "single point of failure"),
        (2, 0, "!!", "none of 2 can be asked now"),
    ],
)
def test_coverage_is_marked_and_said_in_words(total: int, routable: int, mark: str, words: str) -> None:
    """One model that can be asked is `!`, none although some have it `!!`; the words say the same."""
    node = NodeView("a", (), False, total, routable, ())
    assert coverage(node)[0] == mark
    assert words in coverage_words(node)[0]


async def test_layers_name_the_one_that_counts_and_the_gap_of_one_key() -> None:
    """Every layer is shown with its evidence, the winning one marked; a gap with its key and when it is forgotten."""
    async with stage(lab(), size=WIDE) as on:
        await opened(on)
        await select(on, "groq/llama-3.3-70b")
        await on.sees(
            "▶ discovery ✓ yes", "counts", "supported_parameters: tools", "key key2", "forgotten in", "29m00s"
        )
        assert "▶ gap" not in on.text()
        await select(on, "groq/qwen-32b")
        await on.sees("▶ operator  ✗ no")
        assert "▶ discovery" not in on.text()


async def test_a_yes_from_below_says_where_it_comes_from() -> None:
    """A node that is yes because of a descendant names it, in the list and beside it."""
    async with stage(lab(), size=(200, 60)) as on:
        await opened(on)
        await select(on, "local/llama3.1:8b")
        await on.sees("says guess of", "Below it", "none of this node itself")


async def test_requests_of_the_last_hour_are_counted_by_node() -> None:
    """The detail says how many requests needed the node and how many of them failed."""
    async with stage(lab(), size=WIDE) as on:
        await opened(on)
        await on.sees("24 requests needed it in the last", "3 failed")


def test_demand_counts_nodes_above_once_and_forgets_after_an_hour() -> None:
    """A request counts once for every node at or above what it needs; older ones than an hour do not."""
    demand, store = Demand(), RequestStore()
    demand.name({"tools": TOOLS, "parallel_tools": PARALLEL, "text": CHAT})
    store.merge([request(1, needed=("tools", "parallel_tools")), failed(2, needed=("tools",)), request(3, needed=())])
    noon = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    demand.refresh(store, now=noon, clock=0.0, full=False)
    assert demand.of(TOOLS) == Figure(2, 1)
    assert demand.of(PARALLEL) == Figure(1, 0)
    assert demand.of("interaction") == Figure(2, 1)
    assert demand.of(CHAT) == Figure(3, 1)
    store.merge([request(4, needed=("tools",))])
    demand.refresh(store, now=noon, clock=0.5, full=False)
    assert demand.of(TOOLS) == Figure(2, 1), "not counted more than once a second"
    demand.refresh(store, now=noon + timedelta(hours=1, seconds=4), clock=5.0, full=True)
    assert demand.of(TOOLS) == Figure(1, 0)
    assert demand.since is None


def test_demand_says_when_the_log_does_not_reach_back_an_hour() -> None:
    """Where older rows were let go the count names its own beginning."""
    demand, store = Demand(), RequestStore()
    store.merge([request(1)])
    demand.refresh(store, now=datetime(2026, 3, 1, 12, 30, tzinfo=UTC), clock=0.0, full=True)
    assert demand.since == at(1)


async def test_L_goes_to_the_requests_that_needed_the_node() -> None:
    """The log is filtered by the node's word; a node without one says so."""
    async with stage(lab(), size=WIDE) as on:
        await opened(on, "reasoning")
        await on.press("L")
        await on.until(lambda: on.desk.view.mode == "requests", "the log")
        await on.until(lambda: len(on.desk.requests.table.rows) == 6, "six requests")
        await on.press("minus")
        on.desk.show("capabilities", "x-rays")
        await on.press("L")
        await on.sees("no request can name x-rays")


# -- the tree ---------------------------------------------------------------------------------------------------------


async def test_h_and_l_fold_and_go_between_the_panes() -> None:
    """`l` opens a node, then goes to its models; `h` comes back, closes it, goes to its parent."""
    async with stage(lab(), size=WIDE) as on:
        view = on.desk.capabilities
        await opened(on)
        await on.press("h")
        assert view.focus == 0
        await on.press("h")
        assert view.tree.current.open is False
        await on.press("l")
        assert view.tree.current.open is True
        await on.press("l")
        assert view.focus == 1
        await on.press("h", "h", "h")
        assert view.tree.current_key == "interaction"


async def test_narrow_terminals_push_models_and_layers() -> None:
    """At 80x24 Enter leads from tree to models to layers, Esc back again; one of them fills the screen."""
    async with stage(lab()) as on:
        await on.press("3")
        await on.sees("Capabilities", "can/has")
        await on.press("enter")
        await on.loses("can/has")
        await on.sees("source", "now")
        await on.press("enter")
        await on.sees("Layers, the strongest first")
        await on.press("escape", "escape")
        await on.sees("can/has")


async def test_go_finds_nodes_by_path_word_and_leaf() -> None:
    """Links, palette and command line reach a node by any of its names and open what is above it."""
    async with stage(lab(), size=WIDE) as on:
        await on.press("3")
        await on.sees("can/has")
        for name, path in (("vision", VISION), (PARALLEL, PARALLEL), ("x-rays", "understanding.x-rays")):
            on.desk.show("capabilities", name)
            assert on.desk.capabilities.tree.current_key == path
        on.desk.show("capabilities", "no-such")
        await on.sees("there is no no-such")


def test_what_operators_closed_stays_closed() -> None:
    """A tree read again keeps what is open; a node that comes is shown where its parent is open."""
    foliage = Foliage()
    nodes = [NodeView(path, (), False, 0, 0, ()) for path in ("a", "a.b", "c")]
    foliage.take(nodes)
    assert [row.node.path for row in foliage.rows] == ["a", "c"]
    assert foliage.unfold("a")
    foliage.take([*nodes, NodeView("a.d", (), True, 0, 0, ())])
    assert [row.node.path for row in foliage.rows] == ["a", "a.b", "a.d", "c"]
    assert foliage.fold("a.b") == "a"
    assert foliage.fold("a") == "a"
    assert [row.node.path for row in foliage.rows] == ["a", "c"]
    assert foliage.fold("c") is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("interaction.tool-calling.forced", ""),
        ("medical", ""),
        ("", "lower-case words"),
        ("interaction.", "lower-case words"),
        ("Interaction.X", "lower-case words"),
        ("interaction.tool-calling", "in the tree already"),
        ("nowhere.new", "no nowhere to put it under"),
        ("retrieval.parallel", "is the name of interaction.tool-calling.parallel already"),
    ],
)
def test_a_new_node_is_looked_at_as_it_is_typed(path: str, problem: str) -> None:
    """What the engine would refuse is said before it is sent."""
    found = extension_problem(path, lab().node_views)
    assert (problem in found) if problem else not found


# -- changes ----------------------------------------------------------------------------------------------------------


async def test_y_changes_one_model_at_once_and_z_takes_it_back() -> None:
    """A change of one model asks nothing, shows before and after with the pools, and is undone by one key."""
    control = lab()
    control.impact_view = Impact(500, 500, 12, 0, 0)
    async with stage(control, size=WIDE) as on:
        await opened(on)
        await select(on, "local/deepseek-r1:8b")
        await on.press("y")
        await on.sees("✓ yes, says operator", "unknown → yes (operator); pools +tools", "12 of the last 500 requests")
        assert control.commands == [SetCapability("local", "deepseek-r1:8b", TOOLS, "yes")]
        assert control.tried == [(Undo(1),)]
        assert on.desk.question is None
        await on.press("z")
        await on.until(lambda: control.commands[-1] == Undo(1), "undone")
        await on.sees("· unknown: nobody says")


async def test_n_and_u_say_no_and_take_it_away() -> None:
    """`n` writes the operator's layer, `u` takes it away and the next one counts again."""
    control = lab()
    async with stage(control, size=WIDE) as on:
        await opened(on)
        await select(on, "openai/gpt-x")
        await on.press("n")
        await on.sees("✗ no, says operator")
        await on.press("u")
        await on.sees("✓ yes, says discovery")
        assert control.commands == [
            SetCapability("openai", "gpt-x", TOOLS, "no"),
            ClearCapability("openai", "gpt-x", TOOLS),
        ]


@pytest.mark.parametrize(
    ("model", "key", "says"),
    [
        ("groq/qwen-32b", "n", "an operator said no of tool-calling already"),
        ("openai/gpt-x", "u", "nothing to take away"),
        ("openai/gpt-x", "F", "no gap was learned of tool-calling here"),
        ("openai/gpt-x", "a", "nothing to accept: no evaluation has measured tool-calling yet"),
    ],
)
async def test_keys_that_would_change_nothing_say_so(model: str, key: str, says: str) -> None:
    """What would change nothing is not sent; the bottom line says why."""
    async with stage(lab(), size=(200, 60)) as on:
        await opened(on)
        await select(on, model)
        await on.press(key)
        await on.sees(says)
        assert on.control.commands == []


async def test_F_forgets_a_learned_gap() -> None:
    """The gap has a key of its own; other layers stay."""
    control = lab()
    async with stage(control, size=WIDE) as on:
        await opened(on)
        await select(on, "groq/llama-3.3-70b")
        await on.sees("key key2")
        await on.press("F")
        await on.loses("key key2")
        assert control.commands == [ClearGap("groq", "llama-3.3-70b", TOOLS)]


async def test_marked_models_are_changed_after_one_question() -> None:
    """Several marked models are named and counted in one question; yes changes all of them and takes the marks away."""
    control = lab()
    async with stage(control, size=WIDE) as on:
        await opened(on)
        await select(on, "openai/gpt-x-mini")
        await on.press("space", "space")
        await on.sees("◆ 2 marked")
        await on.press("y")
        await on.sees("Say yes of tool-calling for 2 models?", "openai/gpt-x-mini, local/deepseek-r1:8b")
        await on.until(lambda: on.desk.question.ready, "previewed")
        assert control.commands == []
        await on.press("y")
        await on.until(lambda: len(control.commands) == 2, "both sent")
        await on.loses("marked")
        await on.until(lambda: on.desk.capabilities._at.value(view(on, "local/deepseek-r1:8b")) == "yes", "changed")


async def test_marks_work_from_the_tree_node_by_node() -> None:
    """Marks stay while another node is looked at; without marks the tree asks which model is meant."""
    control = lab()
    async with stage(control, size=WIDE) as on:
        await opened(on)
        await on.press("h", "y")
        await on.sees("for which model?")
        await on.press("l", "space", "space", "h")
        on.desk.show("capabilities", "reasoning")
        await on.press("n")
        await on.sees("Say no of reasoning for 2 models?")
        await on.until(lambda: on.desk.question.ready, "previewed")
        await on.press("n")
        assert control.commands == []
        await on.press("l", "escape")
        await on.loses("marked")


async def test_thousands_of_marked_models_are_refused_at_once() -> None:
    """What would keep the engine busy for minutes is not asked for: the bottom line says how many can be marked."""
    async with stage(big(600), size=WIDE) as on:
        await opened(on)
        await on.press("v", "G", "v", "n")
        await on.sees("600 models are too many at once: mark 500 at most")
        assert on.desk.question is None


async def test_A_adds_a_node_and_goes_there() -> None:
    """A new node is typed below the selected one, refused while it cannot be, added, and selected once it is there."""
    control = lab()
    async with stage(control, size=WIDE) as on:
        await opened(on, "vision")
        await on.press("A")
        await on.sees(f"new node: {VISION}.")
        await on.press(*"ocr", "enter")
        await on.sees("it is in the tree already")
        await on.press(*"-by-hand", "enter")
        await on.until(lambda: on.desk.capabilities.tree.current_key == f"{VISION}.ocr-by-hand", "selected")
        assert control.commands == [ExtendCapabilities(f"{VISION}.ocr-by-hand")]


async def test_T20_a_refused_change_is_told_and_the_old_value_stays() -> None:
    """What the engine refuses is said in its words; nothing is shown as changed."""
    control = lab()
    control.refuses = ControlError("storage_unavailable", "Changes cannot be written down now.", status=503)
    async with stage(control, size=(200, 60)) as on:
        await opened(on)
        await select(on, "openai/gpt-x")
        await on.press("n")
        await on.sees("Changes cannot be written down now", "✓ yes, says discovery")


async def test_T14_a_model_that_goes_leaves_the_view_alive() -> None:
    """The selected model is unregistered elsewhere: the next one is selected, its layers are shown."""
    control = lab()
    async with stage(control, size=WIDE) as on:
        await opened(on)
        await select(on, "groq/llama-3.3-70b")
        del control.models_there["groq/llama-3.3-70b"]
        control.rebuild()
        control.publish(EventType.REGISTRY_CHANGED)
        await on.until(lambda: selected(on) == "openai/gpt-x", "the next one")
        control.models_there.clear()
        control.rebuild()
        control.publish(EventType.REGISTRY_CHANGED)
        await on.sees("No models yet", "routerconsole models register")


async def test_read_only_offers_no_change() -> None:
    """With --read-only no key changes anything and the footer names none of them."""
    async with stage(lab(), size=WIDE, read_only=True) as on:
        await opened(on)
        await on.press("y", "n", "u", "F", "a", "A", *"x", "escape")
        assert on.control.commands == []
        assert on.desk.prompt is None
        assert "unknown  a accept" not in on.lines()[-1]
        await on.press("space")
        await on.sees("◆ 1 marked")


async def test_filter_shows_only_models_with_the_words() -> None:
    """`/` narrows the models as it is typed; Esc shows all again; hidden marked ones are not meant."""
    async with stage(lab(), size=WIDE) as on:
        await opened(on)
        await on.press("space", "slash", *"gpt", "enter")
        await on.sees("/gpt 2 shown")
        assert {model.id for model in on.desk.capabilities.models.rows} == {"openai/gpt-x", "openai/gpt-x-mini"}
        assert list(on.desk.capabilities.models.marked) == []
        await on.press("escape")
        assert len(on.desk.capabilities.models.rows) == 7
        await on.sees("◆ 1 marked")


# -- empty, loading, stale, error -------------------------------------------------------------------------------------


async def test_says_that_it_is_loading_then_shows() -> None:
    """Until the engine has answered the panes say what they wait for."""
    control = lab()
    control.gate.clear()
    async with stage(control, size=WIDE) as on:
        await on.press("3")
        await on.sees("asking the engine for its capability tree", "asking the engine for its models")
        control.gate.set()
        await on.sees("can/has")


async def test_says_that_no_engine_answers_and_that_what_is_shown_is_old() -> None:
    """Without an engine the panes point to the line above; what was read stays and is called old."""
    control = lab()
    control.fails = EngineUnreachable("nothing listens")
    async with stage(control, size=WIDE) as on:
        await on.press("3")
        await on.sees("no engine answers yet")
    control.fails = None
    async with stage(control, size=WIDE) as on:
        await opened(on)
        control.fails = EngineUnreachable("nothing listens")
        await on.sees("disconnected", "· old")
        assert on.desk.state.link is Link.DISCONNECTED
        await on.sees("groq/llama-3.3-70b")


async def test_says_why_the_tree_could_not_be_read() -> None:
    """A read that is refused is told in the pane."""

    class Broken(FakeControl):
        async def capabilities(self) -> tuple[NodeView, ...]:
            raise ControlError("internal", "the tree is on fire.")

    async with stage(Broken(provider("groq")), size=WIDE) as on:
        await on.press("3")
        await on.sees("The capability tree could not be read: the tree is on fire")


async def test_no_models_at_all_says_what_to_do() -> None:
    """A registry without models names the next step, the tree is there all the same."""
    async with stage(CapabilityScene([]), size=WIDE) as on:
        await on.press("3")
        await on.sees("evaluation", "No models yet", "routerconsole models register")


# -- size and hostile names -------------------------------------------------------------------------------------------


def big(count: int) -> CapabilityScene:
    """Return so many models and a tree fifty nodes deep."""
    deep = [".".join(f"level-{n}" for n in range(depth)) for depth in range(1, 51)]
    yes = {CHAT: (layer("config", "yes"),), TOOLS: (layer("guess", "yes", "family"),)}
    return CapabilityScene([Named(f"p{n % 40}/model-{n:05d}", yes) for n in range(count)], extensions=deep)


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_T23_thousands_of_models_and_a_deep_tree_open_fast_and_draw_what_is_visible(count: int) -> None:
    """0, 1 and 5,000 models and 50 levels: a few calls a model to open; a frame draws the visible rows, no others."""
    scene, host = big(count), BareHost()
    host.state = ConsoleState(link=Link.LIVE, loaded=True)
    snapshots = host.state.snapshots
    snapshots.nodes, snapshots.models, snapshots.pools = scene.node_views, scene.model_page, scene.pool_views
    host.state.requests.merge(request(n, needed=("tools",)) for n in range(2000))
    view = CapabilitiesView(host)
    view.settle(wide=True)
    assert calls(view.sync) < 6_000 + 8 * count
    assert calls(lambda: [pane.paint(100, 50, focused=True) for pane in view.panes]) < 20_000
    assert view.go(".".join(f"level-{n}" for n in range(50)))
    assert len(view.models.rows) == count
    view.models.move(1)

    class Untouchable:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"a frame looked at {name} of a model that is not visible")

    top, visible = view.models.window(48)
    rows = [*visible, *([Untouchable()] * max(0, count - len(visible)))]
    view.models._rows = rows  # the rows behind the visible ones now refuse to be looked at
    assert top == 0
    for _ in range(3):
        view.sync()
        lines = view.lists[1].paint(100, 50, focused=True)
    assert len(lines) == min(count, 48) + 2 or count == 0


def test_T23_a_node_fifty_levels_deep_stays_in_its_pane() -> None:
    """Levels beyond the fourth are numbered instead of indented; no line is wider than its pane."""
    scene, host = big(1), BareHost()
    snapshots = host.state.snapshots
    snapshots.nodes, snapshots.models, snapshots.pools = scene.node_views, scene.model_page, scene.pool_views
    view = CapabilitiesView(host)
    view.sync()
    assert view.go(".".join(f"level-{n}" for n in range(50)))
    lines = view.lists[0].paint(50, 40, focused=True)
    assert max(map(line_width, lines)) <= 50
    assert any("49› level-49" in plain(line) for line in lines)


async def test_T04_T05_hostile_names_and_evidence_are_shown_literally() -> None:
    """Control characters and markup in model names and evidence arrive as text."""
    evil = "[red]x\x1b]52;c;aGk=\x07[/]"
    scene = CapabilityScene([Named(f"groq/{evil}", {TOOLS: (layer("discovery", "yes", evil),)})])
    async with stage(scene, size=(200, 60)) as on:
        await opened(on)
        await on.sees("[red]x\\x1b]52")
        assert "\x1b" not in on.text()


def test_a_receipt_reads_as_before_and_after_with_pools() -> None:
    """The last change names value and source on both sides and the pools gained and lost."""
    receipt = Receipt(
        "set_capability",
        "a/b",
        {"value": "unknown", "source": None},
        {"value": "yes", "source": "operator", "pools": {"added": ["tools"], "removed": ["old"]}},
    )
    assert change_text(receipt) == "unknown → yes (operator); pools +tools -old"
    nothing = replace(receipt, after={"value": "unknown", "source": None, "pools": {"added": [], "removed": []}})
    assert change_text(nothing) == "unknown → unknown; no pool changes"
    assert change_text(Receipt("clear_gap", "a/b", {"gaps": [1, 2]}, {"gaps": []})) == "2 learned → 0 learned"


def view(on: Stage, model: str) -> object:
    """Return a model as the registry shows it now."""
    page: ModelPage = on.desk.state.snapshots.models
    return next(each for each in page.models if each.id == model)
