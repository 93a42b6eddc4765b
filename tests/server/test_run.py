"""How many clients a process can afford (faults.md C10)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from routerconsole.server.run import RESERVED_FILES, bind


@pytest.mark.parametrize(("files", "admitted"), [(256, (256 - RESERVED_FILES) // 2), (4096, 1024)])
def test_C10_descriptors_are_reserved_for_upstreams(files: int, admitted: int) -> None:
    """Each client may need an upstream connection: where the hard limit is low, fewer clients are admitted."""
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({min(files, 128)}, {files}))\n"
        "from routerconsole.server.run import affordable_connections\n"
        "print(affordable_connections(1024), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(admitted), str(files)]


def test_a_listening_socket_names_its_protocol() -> None:
    """Or asyncio leaves Nagle's algorithm on, and every second write waits 40 ms for an ACK."""
    import socket

    with bind("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
