"""`routerconsole profiles list|show|doctor`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.models import default_profile
from routerconsole.cli.output import Item, show_items, show_json, text
from routerconsole.cli.registry import show_findings, with_registry
from routerconsole.control.wire import plain
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.control.registry_views import ProfileView


def list_(args: argparse.Namespace) -> int:
    """Print every profile, under the one that holds where a request names none."""

    async def work(control: Control) -> int:
        profiles = await control.profiles()
        default = default_profile(profiles)
        if args.json:
            show_json({"profiles": [plain(each) for each in profiles], "default_profile": default})
        else:
            print(f"default_profile={visible(default)}")
            show_items((_item(each) for each in profiles), plain=args.plain, empty="no profiles")
        return Exit.OK

    return with_registry(args, work)


def show(args: argparse.Namespace) -> int:
    """Print one profile."""

    async def work(control: Control) -> int:
        profiles = await control.profiles()
        found = next((each for each in profiles if each.id.casefold() == args.id.casefold()), None)
        if found is None:
            known = ", ".join(each.id for each in profiles) or "none"
            raise Stop(Exit.USAGE, f"there is no profile {args.id!r}; there are: {known}")
        if args.json:
            show_json(plain(found))
        elif args.plain:
            show_items([_item(found)], plain=True, empty="")
        else:
            for name, value in plain(found).items():
                print(f"{name}: {text(_item(found)['needs'] if name == 'requirements' else value)}")
        return Exit.OK

    return with_registry(args, work)


def doctor(args: argparse.Namespace) -> int:
    """Print what is wrong with profiles."""

    async def work(control: Control) -> int:
        return show_findings(await control.doctor("profiles"), as_json=args.json)

    return with_registry(args, work)


def _item(profile: ProfileView) -> Item:
    needs = [f"{name}={value}" if not isinstance(value, bool) else name for name, value in profile.requirements.items()
             if value not in (None, False)]  # fmt: skip
    return {
        "id": profile.id,
        "model": f"{profile.provider}/{profile.model}",
        "default": "yes" if profile.default else None,
        "tags": profile.tags,
        "needs": tuple(needs),
        "fallbacks": (*profile.fallback_profiles, *profile.fallback_models),
        "available": profile.available,
        "problem": profile.problem or None,
    }
