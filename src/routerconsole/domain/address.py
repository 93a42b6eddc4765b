"""Which upstream addresses are never contacted: link-local and cloud metadata, in every spelling. Resolves nothing.

Used twice: when a configuration is read, and again on the addresses a name resolved to, at connect.
"""

from __future__ import annotations

import ipaddress
import re

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.com",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "metadata.packet.net",
        "metadata.platformequinix.com",
    }
)
# AWS over IPv6, Alibaba, Oracle, Azure's wire server, Equinix' old one: metadata services outside the link-local ranges
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_PART = re.compile(r"0[xX][0-9a-fA-F]{0,64}|0[0-7]{1,64}|0|[1-9][0-9]{0,15}", re.ASCII)
_LOCAL_NAMES = frozenset({"localhost", "host.docker.internal"})


def parse_address(host: str) -> IPAddress | None:
    """Return the IP address a host names, in any spelling the C library takes (octal, hex, short); None for a name."""
    text = host.strip().strip("[]").rstrip(".").partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return _legacy_ipv4(text)


def _legacy_ipv4(text: str) -> ipaddress.IPv4Address | None:
    """Read an address as inet_aton does: one to four parts, decimal, octal or hex, the last one filling the rest."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(_PART.fullmatch(part) for part in parts):
        return None
    numbers = [_number(part) for part in parts]
    *head, tail = numbers
    if any(number > 255 for number in head) or tail >= 256 ** (4 - len(head)):
        return None
    value = tail
    for position, number in enumerate(head):
        value |= number << (8 * (3 - position))
    return ipaddress.IPv4Address(value)


def _number(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") else int(part)


def forbidden_address(host: str) -> str | None:
    """Return why `host` (a name or an address in any spelling) must not be contacted, or None."""
    name = host.strip().strip("[]").rstrip(".").lower()
    if name in _METADATA_NAMES:
        return "is a cloud metadata address"
    address = parse_address(name)
    return None if address is None else forbidden_ip(address)


def forbidden_ip(address: IPAddress) -> str | None:
    """Return why an address must not be contacted, or None; looks through IPv4 embedded in IPv6."""
    for inner in (address, *_embedded(address)):
        if inner in _METADATA_ADDRESSES:
            return "is a cloud metadata address"
        if inner.is_link_local:
            return "is a link-local or metadata address"
        if inner.is_multicast or inner == ipaddress.IPv4Address("255.255.255.255"):
            return "is a multicast or broadcast address"
    return None


def _embedded(address: IPAddress) -> tuple[ipaddress.IPv4Address, ...]:
    """Return the IPv4 addresses an IPv6 address may stand for: mapped, compatible, 6to4, Teredo, NAT64."""
    if not isinstance(address, ipaddress.IPv6Address):
        return ()
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    # the all-zero prefix is the deprecated compatible form; ::1 and :: themselves stay what they are
    if int(address) >> 32 == 0 and int(address) > 1:
        found.append(low)
    if any(address in network for network in _NAT64):
        found.append(low)
    return tuple(inner for inner in found if inner is not None)


def is_local(host: str) -> bool:
    """Whether a host counts as local by itself: loopback, `*.local`, host.docker.internal (capabilities.md §4)."""
    name = host.strip().strip("[]").rstrip(".").lower()
    if name in _LOCAL_NAMES or name.endswith((".local", ".localhost")):
        return True
    address = parse_address(name)
    if address is None:
        return False
    return address.is_loopback or any(inner.is_loopback for inner in _embedded(address))
