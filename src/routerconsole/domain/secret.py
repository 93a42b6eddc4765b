"""A resolved secret that cannot be shown by accident: every textual form of it is masked.

It refuses pickling and has no JSON form; the plain value leaves only through `reveal()`.
"""

from __future__ import annotations

from typing import NoReturn, Self

MASK = "[secret]"
SUBSCRIPTION = "sk-ant-oat"
"""What an Anthropic subscription token begins with; it is no API key and is refused everywhere (product.md)."""


class Secret:
    """An opaque string: equal by value, hashable, masked in repr, str and format."""

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """Return the plain value; call it only where the value goes onto the wire."""
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret is immutable")

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
