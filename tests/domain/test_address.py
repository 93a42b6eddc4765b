"""Which addresses are never contacted, and which are local."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.address import forbidden_address, is_local, parse_address

METADATA = int(ipaddress.IPv4Address("169.254.169.254"))


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        str(METADATA),
        hex(METADATA),
        "0251.0376.0251.0376",
        "0" * 30 + "251.0376.0251.0376",
        "169.254.43518",
        "::ffff:169.254.169.254",
        "[::ffff:a9fe:a9fe]",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::a9fe:a9fe",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        " 169.254.169.254 ",
        "instance-data",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_X08_forbidden_in_every_spelling(host: str) -> None:
    """Link-local, metadata and multicast, however they are written or wrapped."""
    assert forbidden_address(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "fd12::1",
        "8.8.8.8",
        "example.com",
        "localhost",
        "a.b.169",
    ],
)
def test_private_and_public_hosts_are_fine(host: str) -> None:
    """Any other configured host may be private."""
    assert forbidden_address(host) is None


@given(st.ip_addresses(v=4), st.sampled_from(["decimal", "hex", "octal", "dotted hex", "mapped", "nat64"]))
def test_spelling_never_changes_the_verdict(address: ipaddress.IPv4Address, how: str) -> None:
    """An address is judged by its value."""
    value, parts = int(address), address.packed
    spelled = {
        "decimal": str(value),
        "hex": hex(value),
        "octal": ".".join(f"0{part:o}" for part in parts),
        "dotted hex": ".".join(f"0x{part:x}" for part in parts),
        "mapped": f"::ffff:{address}",
        "nat64": f"64:ff9b::{value >> 16:x}:{value & 0xFFFF:x}",
    }[how]
    if how not in ("mapped", "nat64"):
        assert parse_address(spelled) == address
    assert (forbidden_address(spelled) is None) == (forbidden_address(str(address)) is None)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("box.local", True),
        ("host.docker.internal", True),
        ("::ffff:127.0.0.1", True),
        ("2130706433", True),
        ("10.0.0.1", False),
        ("local", False),
        ("notlocal", False),
        ("a.local.com", False),
    ],
)
def test_local_hosts(host: str, local: bool) -> None:
    """Loopback, `*.local` and host.docker.internal."""
    assert is_local(host) is local
