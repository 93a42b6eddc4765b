"""Addresses no upstream may have: link-local ranges and clouds' metadata services, in every spelling (safety.md §3)."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "168.63.129.16",  # Azure's wire server
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
    )
)
_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_NAT64: Final = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/96", "::/96"))


@lru_cache(1024)
def forbidden_host(host: str) -> str | None:
    """Return why a host (a name, or an address in any spelling) is refused, or None; resolves nothing."""
    name = host.strip().strip("[]").partition("%")[0].rstrip(".").lower()
    if name in _METADATA_NAMES:
        return "a cloud metadata service"
    address = parse_address(name)
    return None if address is None else forbidden_address(address)


def forbidden_address(address: _Address) -> str | None:
    """Return why an address is refused, or None; an IPv4 address wrapped in an IPv6 one is judged as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _wrapped(address)
        if inner is not None:
            return forbidden_address(inner)
    if address.is_link_local:
        return "a link-local address"
    if address in _METADATA:
        return "a cloud metadata address"
    return None


def parse_address(text: str) -> _Address | None:
    """Read an address as inet_aton would, decimal, octal, hexadecimal and short forms included; None for a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    parts = text.split(".")
    if not 1 <= len(parts) <= 4:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    *head, last = (number for number in numbers if number is not None)
    if any(number > 0xFF for number in head) or last >= 256 ** (4 - len(head)):
        return None
    value = last
    for position, number in enumerate(head):
        value += number << (8 * (3 - position))
    return ipaddress.IPv4Address(value)


def _number(part: str) -> int | None:
    base = 16 if part[:2].lower() == "0x" else 8 if part.startswith("0") and len(part) > 1 else 10
    digits = part[2:] if base == 16 else part
    if not digits or not digits.isascii() or not digits.isalnum() or len(digits) > 32:
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64) and int(address) > 0xFFFF:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
