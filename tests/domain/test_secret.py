"""A Secret is masked in every textual form and leaves only through reveal()."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import pytest

from routerconsole.domain.secret import Secret

VALUE = "canary-secret"


@dataclasses.dataclass(frozen=True)
class Holder:
    key: Secret


def test_every_textual_form_is_masked() -> None:
    """repr, str, format, f-strings, containers and dataclasses show the mask."""
    secret = Secret(VALUE)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>30}",
        " ".join([str(secret), repr(secret)]),
        format(secret, "40"),
    ]
    shown += [repr([secret]), repr(Holder(secret)), repr(dataclasses.asdict(Holder(secret)))]
    assert not any("canary" in text for text in shown)
    assert secret.reveal() == VALUE


def test_it_is_neither_picklable_nor_json() -> None:
    """It cannot be written out by accident."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret(VALUE))
    with pytest.raises(TypeError):
        json.dumps({"k": Secret(VALUE)})


def test_it_is_a_value() -> None:
    """Equal and hashed by value, immutable, copied as itself, and never equal to its text."""
    secret = Secret(VALUE)
    assert secret == Secret(VALUE)
    assert secret != Secret("other")
    assert secret != VALUE
    assert len({secret, Secret(VALUE)}) == 1
    assert copy.deepcopy(secret) is secret
    with pytest.raises(AttributeError):
        secret._value = "x"  # type: ignore[misc]  # the refusal is what is tested
