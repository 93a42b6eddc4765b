"""The leak check itself: it must pass on a clean test and name what a dirty one left."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A separate pytest run that uses this project's conftest with a short settling time."""
    source = CONFTEST.read_text().replace("SETTLE_SECONDS = 30.0", "SETTLE_SECONDS = 0.2")
    assert "SETTLE_SECONDS = 0.2" in source
    pytester.makeconftest(source)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (
            "global kept; kept = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name='stray')",
            "task stray",
        ),
        ("global kept; kept = socket.socket()", "fd "),
        ("threading.Thread(target=threading.Event().wait, name='stray', daemon=True).start()", "thread stray"),
    ],
    ids=["task", "fd", "thread"],
)
def test_a_leak_fails_the_test_and_is_named(inner: pytest.Pytester, body: str, named: str) -> None:
    """A task, a descriptor or a thread left behind fails the test that left it."""
    inner.makepyfile(f"import asyncio, socket, threading\nasync def test_dirty(leakcheck):\n    {body}\n")
    result = inner.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    assert named in result.stdout.str()


def test_what_is_closed_in_time_is_no_leak(inner: pytest.Pytester) -> None:
    """A task, a socket and a thread that end with the test pass, in coroutine tests and plain ones."""
    inner.makepyfile(
        textwrap.dedent("""
        import asyncio, socket, threading

        async def test_clean(leakcheck):
            await asyncio.get_running_loop().create_task(asyncio.sleep(0))
            socket.socket().close()
            await asyncio.to_thread(int)
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

        def test_plain(leakcheck):
            open(__file__).close()
        """)
    )
    inner.runpytest_subprocess().assert_outcomes(passed=2)
