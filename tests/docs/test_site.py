"""The site is whole: built without network, every link lands, every name of the program stands in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.docs.reference import leaves, settings
from tests.docs.site import ELSEWHERE, documents, write

from routerconsole.cli.parser import build
from routerconsole.console.actions import ACTIONS, shown_key
from routerconsole.domain.events import EventType


class Read(HTMLParser):
    """Collects ids, links, what is loaded, and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.code: set[str] = set()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names."""
        given = dict(attrs)
        self.tags.add(tag)
        self._inside = tag == "code"
        self.ids += [str(given["id"])] if "id" in given else []
        target = given.get("href") or given.get("src")
        if target is not None:
            (self.links if tag == "a" else self.loads).append(target)

    def handle_endtag(self, tag: str) -> None:
        """Leave a tag."""
        self._inside = False

    def handle_data(self, data: str) -> None:
        """Keep what is written as code."""
        if self._inside:
            self.code.add(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Read]:
    """The site built once, read page by page."""
    folder = tmp_path_factory.mktemp("site")
    found = {}
    for page in write(folder):
        found[page.name] = reader = Read()
        reader.feed(page.read_text(encoding="utf-8"))
        for target in (*reader.links, *reader.loads):
            path = target.partition("#")[0]
            assert target.startswith(ELSEWHERE) or not path or (folder / path).is_file(), f"{page.name}: {target}"
    return found


def test_every_document_is_a_page_and_every_page_leads_to_all(site: dict[str, Read]) -> None:
    """One page per document, each reachable from any other, README first."""
    assert len(site) == len(documents())
    assert next(iter(site)) == "index.html"
    for name, page in site.items():
        assert set(site) <= {link.partition("#")[0] for link in page.links}, name


def test_every_anchor_is_there_once(site: dict[str, Read]) -> None:
    """Links with `#` land on a heading, and no two headings share an anchor."""
    for name, page in site.items():
        assert len(page.ids) == len(set(page.ids)), name
        for target in page.links:
            path, _, anchor = target.partition("#")
            if anchor and not target.startswith(ELSEWHERE):
                assert anchor in site[path or name].ids, f"{name}: {target}"


def test_nothing_is_loaded_from_elsewhere(site: dict[str, Read]) -> None:
    """It can be read on a machine without network: style and pictures are its own, scripts there are none."""
    for name, page in site.items():
        assert [target for target in page.loads if target.startswith(("//", *ELSEWHERE))] == [], name
        assert page.tags & {"script", "iframe", "object", "video"} == set()


def test_every_setting_command_key_and_event_is_named(site: dict[str, Read]) -> None:
    """Each stands in it as code."""
    named = {text for page in site.values() for text in page.code}
    wanted = {path for path, _, _ in settings()} | {name for name, _ in leaves(build())}
    wanted |= {kind.value for kind in EventType}
    wanted |= {shown_key(key) for action in ACTIONS for key in action.keys}
    assert wanted - named == set()


def test_a_link_to_nothing_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that links a file that is gone is not published."""
    lost = tmp_path / "lost.md"
    lost.write_text("# Lost\n[there](nowhere.md)\n")
    monkeypatch.setattr("tests.docs.site.documents", lambda: [lost])
    with pytest.raises(ValueError, match=r"nowhere\.md"):
        write(tmp_path / "site")
