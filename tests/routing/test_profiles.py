"""Profiles: whom a request with one may reach, in which order, and what the trace says of it (capabilities.md §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.routing.cascades import CHAT, FORCED, TOOLS, VISION, Stage, model, pool, provider, rate, server

from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import Source, Word
from routerconsole.domain.errors import ErrorCode
from routerconsole.domain.policy import RoutingPolicy
from routerconsole.domain.profile import Profile, Requirements
from routerconsole.domain.registry import Provider, Registry
from routerconsole.domain.request import Needs
from routerconsole.domain.route import ModelKey
from routerconsole.domain.trace import Decision
from routerconsole.routing import profiles
from routerconsole.routing.plan import Plan, plan
from routerconsole.routing.resolve import ResolvedKind, resolve

LARGE = replace(CHAT, estimate_tokens=200_000)
VIDEO = replace(CHAT, needed=(Word.VISION, Word.VIDEO))


def profile(name: str, where: str, **more: object) -> Profile:
    """A profile on `provider/model`."""
    return replace(Profile(name, ModelKey(*where.split("/", 1))), **more)  # type: ignore[arg-type] # fields by name


class Desk(Stage):
    """A stage with profiles: what is asked for by name is planned as the engine does."""

    def __init__(self, *providers: Provider, has: Sequence[Profile] = (), **more: object) -> None:
        super().__init__(*providers)
        self.registry: Registry = assemble(
            version=1, policy=RoutingPolicy(), providers=providers, profiles=has, **more  # type: ignore[arg-type]
        )  # fmt: skip
        self.board.configure(self.registry, self.now)

    def decide(self, needs: Needs = CHAT, *, name: str | None = None) -> Plan:
        """Plan a request as the engine does."""
        return profiles.decided(
            resolve(name, self.registry, tags=needs.tags),
            self.registry,
            lambda meant: plan(meant, needs, self.registry, self.board, now=self.now, turns=self.turns),
            enabled=self.board.enabled,
        )


def two(local: str = "", frontier: str = "tools vision video json_schema", **more: object) -> Desk:
    """`gemma4-local` on a small local model that falls back to `frontier`."""
    return Desk(
        provider("local", model("local", "gemma", local, **more), priority=1),
        provider("cloud", model("cloud", "big", frontier, context_window=1_000_000), priority=2),
        has=[
            profile("gemma4-local", "local/gemma", fallback_profiles=("frontier",), default=True),
            profile("frontier", "cloud/big"),
        ],
    )


def order(decision: Plan) -> list[str]:
    """The routes that would be asked."""
    return [item.route.label() for item in decision.ranked]


def test_a_profile_that_meets_the_need_is_used_and_its_fallbacks_stand_by() -> None:
    """Nothing is said, as nobody fell back; upper and lower case count as the same."""
    decision = two().decide(name="Gemma4-LOCAL")
    assert (decision.resolution.kind, decision.resolution.id) == (ResolvedKind.PROFILE, "gemma4-local")
    assert order(decision) == ["local/gemma", "cloud/big"]
    assert decision.because == ()


def test_C4_02_without_tools_the_fallback_answers_and_the_trace_says_why() -> None:
    """`Falling back from 'gemma4-local'` … because tool calling was required; the profile's own model is dropped."""
    decision = two("-tools").decide(TOOLS, name="gemma4-local")
    assert order(decision) == ["cloud/big"]
    (said,) = decision.because
    assert said.startswith("Falling back from 'gemma4-local' to 'frontier' because tool calling was required")
    assert [item.decision for item in decision.candidates] == [Decision.ELIGIBLE, Decision.DROPPED]


def test_C4_02_C4_16_a_fallback_known_to_meet_the_need_beats_a_profile_nobody_knows_it_of() -> None:
    """Unknown is not no, but it does not meet a need that another is known to meet: it is not called then."""
    decision = two("").decide(TOOLS, name="gemma4-local")
    assert order(decision) == ["cloud/big"]
    assert "because tool calling was required (tools: unknown)" in decision.because[0]
    told = two("").send({"cloud": server(500)}, TOOLS, name="gemma4-local")
    assert set(told.labels) == {"cloud/big"}


def test_a_profile_nobody_knows_anything_of_is_used_where_no_fallback_is_better() -> None:
    """Neither is known to, or the one that is known to cannot be asked: unknown is not no."""
    assert order(two("", "").decide(TOOLS, name="gemma4-local")) == ["local/gemma", "cloud/big"]
    desk = two("")
    desk.open("cloud", "big")
    decision = desk.decide(TOOLS, name="gemma4-local")
    assert order(decision) == ["cloud/big", "local/gemma"]
    assert desk.send(needs=TOOLS, name="gemma4-local").labels == ["local/gemma"]
    assert decision.because == ()


@pytest.mark.parametrize(
    ("needs", "caps", "words"),
    [
        (VIDEO, "vision -video", "video input was required"),
        (VISION, "-vision", "image input was required"),
        (replace(CHAT, needed=(Word.JSON_SCHEMA,)), "-json_schema", "schema-constrained output was required"),
        (LARGE, "", "context 131072 < 200000 tokens"),
    ],
)
def test_C4_04_C4_05_C4_13_the_explanation_names_what_was_required(needs: Needs, caps: str, words: str) -> None:
    """Inputs, formats and sizes; what leads supports all of it."""
    decision = two(caps, context_window=131_072).decide(needs, name="gemma4-local")
    assert order(decision) == ["cloud/big"]
    assert words in decision.because[0]


def test_C4_06_what_is_in_and_what_is_reserved_must_fit_the_window() -> None:
    """130 000 in and 8 000 reserved are too many for 131 072."""
    desk = two(context_window=131_072)
    assert order(desk.decide(replace(CHAT, estimate_tokens=138_000), name="gemma4-local")) == ["cloud/big"]
    assert order(desk.decide(replace(CHAT, estimate_tokens=131_072), name="gemma4-local"))[0] == "local/gemma"


def test_C4_07_a_reserve_is_no_minimum_of_output() -> None:
    """2 000 in and 12 000 reserved stay on a model that writes at most 8 192."""
    desk = two(context_window=131_072, max_output_tokens=8_192)
    assert order(desk.decide(replace(CHAT, estimate_tokens=14_000), name="gemma4-local"))[0] == "local/gemma"


def test_C4_08_a_broken_profile_is_named_and_its_fallback_answers() -> None:
    """Its provider has no key."""
    desk = Desk(
        provider("local", model("local", "gemma"), unavailable="missing_secret: KEY"),
        provider("cloud", model("cloud", "big")),
        has=[profile("mine", "local/gemma", fallback_models=(ModelKey("cloud", "big"),))],
    )
    told = desk.send(name="mine")
    assert told.labels == ["cloud/big"]
    assert told.plan.because == ("Falling back from 'mine' to 'cloud/big' because missing_secret: KEY",)


@pytest.mark.parametrize("key", ["gone/m", "cloud/gone"])
def test_C4_08_a_profile_on_what_is_not_there_falls_back_too(key: str) -> None:
    """Neither the provider nor the model exists (any more)."""
    desk = Desk(provider("cloud", model("cloud", "big")), has=[
        profile("mine", key, fallback_profiles=("other",)), profile("other", "cloud/big"),
    ])  # fmt: skip
    decision = desk.decide(name="mine")
    assert order(decision) == ["cloud/big"]
    assert "Falling back from 'mine' to 'other' because " in decision.because[0]


def test_C4_12_one_broken_profile_leaves_the_others_alone() -> None:
    """The default one serves, whatever is wrong with another."""
    desk = Desk(provider("a", model("a")), has=[
        profile("broken", "gone/m"), profile("fine", "a/m", default=True),
    ])  # fmt: skip
    assert desk.send().labels == ["a/m"]
    error = desk.decide(name="broken").error
    assert error is not None
    assert (error.status, error.message) == (503, "The profile 'broken' cannot be used: there is no provider 'gone'.")
    assert profiles.problem(desk.registry.profiles["broken"], desk.registry) == "there is no provider 'gone'"
    assert profiles.problem(desk.registry.profiles["fine"], desk.registry) == ""


def test_C4_16_what_does_not_meet_the_need_is_never_called_even_if_the_fallbacks_fail() -> None:
    """The gate drops it; the request fails with what the fallback said."""
    told = two("-tools").send({"cloud": server(500)}, FORCED, name="gemma4-local")
    assert set(told.labels) == {"cloud/big"}
    assert told.error.code is ErrorCode.ALL_CANDIDATES_FAILED
    told = two(context_window=4_096).send({"cloud": server(500)}, LARGE, name="gemma4-local")
    assert set(told.labels) == {"cloud/big"}


def test_C4_17_a_first_candidate_that_is_down_streams_from_the_second() -> None:
    """Failing over at run time is the cascade's; nothing is said beforehand."""
    told = two().send({"local": server(503)}, name="gemma4-local", stream=True)
    assert told.labels == ["local/gemma", "cloud/big"]
    assert told.plan.because == ()


def test_C4_18_an_unknown_window_is_eligible_and_keeps_the_chosen_profile_first() -> None:
    """Only fallbacks with an unknown window stand behind those known to fit."""
    desk = Desk(
        provider("a", model("a", "m"), model("a", "n"), model("a", "o", context_window=9_000)),
        has=[profile("p", "a/m", fallback_models=(ModelKey("a", "n"), ModelKey("a", "o")))],
    )
    decision = desk.decide(replace(CHAT, estimate_tokens=5_000), name="p")
    assert order(decision) == ["a/m", "a/o", "a/n"]
    assert decision.because == ()


def test_too_long_for_the_whole_chain_is_400_without_an_attempt() -> None:
    """It names the largest window there is."""
    told = two(context_window=4_096).send(needs=replace(CHAT, estimate_tokens=2_000_000), name="gemma4-local")
    assert (told.labels, told.error.code) == ([], ErrorCode.CONTEXT_LENGTH_EXCEEDED)
    assert "1000000" in told.error.message


# --- requirements


def strict(caps: str = "", *, asked: Requirements, **more: object) -> Desk:
    """A profile with requirements on one model, and a plain fallback."""
    return Desk(
        provider("a", model("a", "m", caps, **more)),
        provider("b", model("b", "n", "tools reasoning", context_window=64_000, max_output_tokens=4_000)),
        has=[profile("p", "a/m", requirements=asked, fallback_models=(ModelKey("b", "n"),))],
    )


@pytest.mark.parametrize(
    "word", [Word.TOOLS, Word.VISION, Word.JSON_SCHEMA, Word.REASONING, Word.PARALLEL_TOOLS, Word.AUDIO]
)
def test_a_required_word_must_be_yes(word: Word) -> None:
    """A guess counts, unknown does not."""
    asked = Requirements((word,))
    guessed = Desk(provider("a", model("a", "m", word, source=Source.GUESS)),
                   has=[profile("p", "a/m", requirements=asked)])  # fmt: skip
    assert order(guessed.decide(name="p")) == ["a/m"]
    unknown = Desk(provider("a", model("a", "m")), has=[profile("p", "a/m", requirements=asked)])
    error = unknown.decide(name="p").error
    assert error is not None
    assert (error.status, error.code) == (422, ErrorCode.CAPABILITY_UNAVAILABLE)
    assert f"requires {word}: unknown" in error.message


def test_requirements_hold_for_fallbacks_too() -> None:
    """Whoever answers for the profile offers what it requires."""
    assert order(strict("vision", asked=Requirements((Word.VISION,))).decide(name="p")) == ["a/m"]
    assert order(strict("tools vision", asked=Requirements((Word.TOOLS,))).decide(name="p")) == ["a/m", "b/n"]


def test_numbers_nobody_knows_are_neutral_and_known_ones_must_suffice() -> None:
    """For windows and for what a model writes."""
    asked = Requirements(min_context_tokens=32_000, min_output_tokens=8_000)
    assert order(strict(asked=asked).decide(name="p")) == ["a/m"]
    enough = strict(asked=asked, context_window=32_000, max_output_tokens=8_000)
    assert order(enough.decide(name="p")) == ["a/m"]


def test_what_no_candidate_meets_is_422_naming_every_item_with_numbers() -> None:
    """Each unmet requirement, and each route's reasons."""
    asked = Requirements((Word.TOOLS, Word.VISION), min_context_tokens=128_000, min_output_tokens=8_000)
    error = strict(asked=asked, context_window=8_192).decide(name="p").error
    assert error is not None
    assert error.status == 422
    for said in ("tools", "vision", "min_context_tokens 128000: context_window is 8192", "context_window is 64000",
                 "min_output_tokens 8000: max_output_tokens is 4000"):  # fmt: skip
        assert said in error.message
    assert "max_output_tokens is None" not in error.message


def test_a_fallback_profile_must_also_meet_its_own_requirements() -> None:
    """It is not eligible on a model that breaks its own promise."""
    desk = Desk(
        provider("a", model("a", "m"), model("a", "n"), model("a", "o")),
        has=[
            profile("p", "a/m", fallback_profiles=("q", "r")),
            profile("q", "a/n", requirements=Requirements((Word.TOOLS,))),
            profile("r", "a/o"),
        ],
    )
    assert order(desk.decide(name="p")) == ["a/m", "a/o"]


# --- the chain, and who is meant without a name


def test_fallbacks_are_followed_all_the_way_each_model_once() -> None:
    """A profile's model, its fallback profiles with theirs, then its fallback models; circles end."""
    desk = Desk(
        provider("a", *(model("a", each) for each in "mnopq")),
        has=[
            profile("1", "a/m", fallback_profiles=("2", "3"), fallback_models=(ModelKey("a", "q"), ModelKey("a", "n"))),
            profile("2", "a/n", fallback_profiles=("4",)),
            profile("3", "a/o"),
            profile("4", "a/p", fallback_profiles=("1", "2"), fallback_models=(ModelKey("a", "m"),)),
        ],
    )
    assert order(desk.decide(name="1")) == ["a/m", "a/n", "a/p", "a/o", "a/q"]


def test_only_the_selected_profile_and_its_fallbacks_are_candidates() -> None:
    """A profile nobody named is not asked, however well it would do."""
    desk = Desk(provider("a", model("a", "m"), model("a", "n")), has=[
        profile("p", "a/m", default=True), profile("q", "a/n"),
    ])  # fmt: skip
    assert [item.route.label() for item in desk.decide().candidates] == ["a/m"]


def test_preferred_tags_choose_the_profile_where_no_model_is_named() -> None:
    """Most tags first, then the default flag; without tags, or where none matches, the default one."""
    desk = Desk(
        provider("a", model("a", "m"), model("a", "n"), model("a", "o")),
        has=[
            profile("plain", "a/m", default=True),
            profile("private", "a/n", tags=("local",)),
            profile("both", "a/o", tags=("local", "fast")),
        ],
    )

    def chosen(*tags: str) -> str:
        return desk.decide(replace(CHAT, tags=tags)).resolution.id

    assert (chosen(), chosen("nowhere"), chosen("local"), chosen("fast", "local")) == (
        "plain", "plain", "private", "both",
    )  # fmt: skip
    assert desk.decide().because == ("no model named: the default profile 'plain'",)
    assert desk.decide(replace(CHAT, tags=("fast",))).because == ("no model named: preferred profile 'both'",)


def test_a_preferred_profile_that_cannot_serve_gives_way() -> None:
    """A preference is none that costs the answer: the next match, then the default."""
    desk = Desk(
        provider("a", model("a", "m", "tools"), model("a", "n", "-tools")),
        provider("off", model("off", "o", "tools"), enabled=False),
        has=[
            profile("plain", "a/m", default=True),
            profile("weak", "a/n", tags=("local",)),
            profile("gone", "off/o", tags=("local", "fast")),
        ],
    )
    assert desk.decide(replace(TOOLS, tags=("local", "fast"))).resolution.id == "plain"
    assert desk.decide(replace(CHAT, tags=("local", "fast"))).resolution.id == "weak"


def test_a_named_profile_keeps_its_order_whatever_tags_are_preferred() -> None:
    """Who names a profile gets it."""
    desk = Desk(
        provider("a", model("a", "m"), model("a", "n", tags=("fast",))),
        has=[profile("p", "a/m", fallback_models=(ModelKey("a", "n"),))],
    )
    assert order(desk.decide(replace(CHAT, tags=("fast",)), name="p")) == ["a/m", "a/n"]


def test_without_a_default_profile_no_model_means_auto() -> None:
    """interface.md §4: default profile, else pool `auto`."""
    desk = Desk(provider("a", model("a", "m"), model("a", "n")), has=[profile("p", "a/n")])
    assert (desk.decide().resolution.kind, order(desk.decide())) == (ResolvedKind.POOL, ["a/m", "a/n"])


def test_C4_01_without_profiles_the_implicit_default_behaves_as_auto() -> None:
    """It has a name, and gives way to a pool the user gave the same."""
    desk = Desk(provider("a", model("a", "m"), model("a", "n")))
    assert order(desk.decide()) == order(desk.decide(name="default")) == order(desk.decide(name="auto"))
    own = Desk(provider("a", model("a", "m"), model("a", "n")), pools=[pool("default", "a/n")])
    assert order(own.decide(name="default")) == ["a/n"]


def test_a_waiting_profile_steps_behind_its_fallback_and_says_so() -> None:
    """A rate limit is no fault of the request's; the profile's model is last, not gone."""
    desk = two()
    desk.send({"local": rate(60.0)}, name="gemma4-local")
    decision = desk.decide(name="gemma4-local")
    assert order(decision) == ["cloud/big", "local/gemma"]
    assert decision.because[0].startswith("Falling back from 'gemma4-local' to 'frontier' because ")
