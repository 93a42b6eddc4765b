"""Takes secrets out of text, by value and by pattern, and makes an upstream's error text short and readable.

Every pattern runs in linear time: each starts at a literal, and no two of its repeats can match the same text.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

from .secret import Secret

REDACTED = "[redacted]"
DETAIL_LIMIT = 300
"""Characters of an upstream's error text that are kept."""
_SCRUB_INPUT = 65_536
_MIN_VALUE = 4
_MIN_ENCODED = 6
_MIN_TAIL = 8

PLACEHOLDERS = frozenset(
    [
        "ollama",
        "none",
        "null",
        "empty",
        "dummy",
        "local",
        "lm-studio",
        "not-needed",
        "no-key",
        "no-key-required",
        "sk-no-key-required",
        "unused",
        "test",
        "xxx",
        "xxxx",
        "changeme",
        "secret",
        "token",
        "placeholder",
    ]
)
"""Values people write where a server wants any key: they protect nothing, and taking them out mangles texts."""

_SETTING = re.compile(r"\bproviders\.[0-9]{1,6}\.[\w.-]{0,100}\Z")
_SETTING_REACH = 128
"""Characters before a name that are looked at for the path it may end."""


def _without_value(match: re.Match[str]) -> str:
    """Return the name, its value taken out; after a setting's dotted path stands what is wrong with it, not a value."""
    start = match.start()
    if match[1].endswith(": ") and _SETTING.search(match.string, max(0, start - _SETTING_REACH), start):
        return match[0]
    return "".join(group for group in match.groups() if group) + REDACTED


# (texts of which one must be present in lower case, pattern, replacement); the texts keep clean text cheap
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        ("private key",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        REDACTED,
    ),
    (("://",), re.compile(r"(://)[^\s/@\"'<>]++@"), rf"\1{REDACTED}@"),
    (
        ("authorization", "cookie"),
        re.compile(
            r"((?:authorization|(?<![a-z])(?:set-)?cookie)(?:\\?[\"'])?[ \t]{0,8}[:=][ \t]{0,8}(?:\\?[\"'])?)"
            r"(?!\[redacted\])((?:bearer|basic|token|digest|apikey)[ \t]++)?[^\s\"'\\,;<>]++",
            re.IGNORECASE,
        ),
        _without_value,
    ),
    (
        ("bearer",),
        re.compile(
            r"\b(bearer(?:[ \t]{1,8}|%20|\+))(?!\[redacted\])"
            r"(?!(?:token|tokens|auth|authentication|authorization|scheme|error|realm|is|was|or|and|header)(?:[\s.,;:!?\"')]|\Z))"
            r"[^\s\"'\\,;<>&]++",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        ("key",),
        re.compile(
            r"((?:api|access|secret|private|account|subscription|auth|encryption|signing)[_ -]?key(?:[_ -]id)?"
            r"(?:[ \t]provided)?(?:\\?[\"'])?[ \t]{0,8}[:=][ \t]{0,8}(?:\\?[\"'])?)"
            r"(?!\[redacted\]|env:|file:|keyring:|\$\{)[^\s\"'\\,;&<>{}\[\]()]++",
            re.IGNORECASE,
        ),
        _without_value,
    ),
    (
        ("apikey",),
        re.compile(
            r"(apikey(?:\\?[\"'])?[ \t]{0,8}[:=][ \t]{0,8}(?:\\?[\"'])?)"
            r"(?!\[redacted\]|env:|file:|keyring:|\$\{)[^\s\"'\\,;&<>{}\[\]()]++",
            re.IGNORECASE,
        ),
        _without_value,
    ),
    (
        ("token", "secret", "passw", "credential"),
        re.compile(
            r"(?<![a-z0-9])((?:(?:access|refresh|auth|id|session|security|client|bearer|api)[_-]?)?"
            r"(?:token|secret|password|passwd|credential)(?:\\?[\"'])?"
            r"(?:=|(?<=[\"'])[ \t]{0,8}[:=]|:(?=[ \t]{0,8}\\?[\"']))[ \t]{0,8}(?:\\?[\"'])?)"
            r"(?!\[redacted\]|env:|file:|keyring:|\$\{|null\b|true\b|false\b)[^\s\"'\\,;&<>{}\[\]()]++",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        ("key=", "sig=", "signature=", "token=", "auth=", "code=", "pass=", "pwd="),
        re.compile(
            r"([?&;](?:[a-z0-9.-]{0,32}[_-])?(?:key|sig|signature|token|auth|code|pass|pwd)=)(?!\[redacted\])[^\s\"'\\&#<>]++",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (("eyj",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{4,}+(?:\.[\w-]*+)?"), REDACTED),
    # vendors' key shapes: OpenAI, Anthropic, OpenRouter, DeepSeek, Stripe; the beginning we name in messages is none
    (
        ("sk-", "sk_", "rk_", "pk_", "pk-"),
        re.compile(
            r"(?<![A-Za-z0-9])(?:sk-(?!ant-oat(?![\w*.-]))[\w*.-]*[\w*-]{3}|(?:sk|rk|pk)_(?:live|test)_\w{6,}+|pk-lf-[\w-]{8,}+)"
        ),
        REDACTED,
    ),
    (
        ("gsk_", "xai-", "hf_", "r8_", "pplx-", "fw_", "nvapi-", "csk-", "tgp_v1_", "key-", "tvly-", "jina_", "lsv2_"),
        re.compile(
            r"(?<![A-Za-z0-9])(?:gsk_|xai-|hf_|r8_|pplx-|fw_|nvapi-|csk-|tgp_v1_|key-|tvly-|jina_|lsv2_)[A-Za-z0-9_-]{16,}+"
        ),
        REDACTED,
    ),
    # GitHub, GitLab, Slack, Google, AWS
    (
        ("gh", "github_pat_", "glpat-", "xox", "aiza", "ya29.", "akia", "asia", "npm_", "pypi-"),
        re.compile(
            r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|glpat-[\w-]{12,}+|xox[a-z]-[\w-]{8,}+"
            r"|AIza[\w-]{20,}+|ya29\.[\w-]{10,}+|(?:AKIA|ASIA)[A-Z0-9]{12,}+|npm_[A-Za-z0-9]{20,}+|pypi-[\w-]{20,}+)"
        ),
        REDACTED,
    ),
)


class Redactor:
    """Removes the given secret values, in every encoding they may turn up in, and whatever looks like a key."""

    __slots__ = ("_needles", "_plain")

    def __init__(self, values: Iterable[str | Secret] = ()) -> None:
        plain = {value.reveal() if isinstance(value, Secret) else value for value in values}
        kept = {value for value in plain if len(value) >= _MIN_VALUE and value.lower() not in PLACEHOLDERS}
        needles = {form for value in kept for form in _forms(value)}
        # longest first, so that a value contained in another never leaves the rest of it behind
        self._needles = tuple(sorted(needles, key=lambda form: (-len(form), form)))
        self._plain = tuple(sorted(value for value in kept if len(value) > _MIN_TAIL))

    def __repr__(self) -> str:
        return f"Redactor({len(self._needles)} forms)"

    def redact(self, text: str) -> str:
        """Return `text` with every known value and key-like text replaced by `[redacted]`."""
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, REDACTED)
        text = self._cut_tail(text)
        low = text.lower()
        for hints, pattern, replacement in _PATTERNS:
            if any(hint in low for hint in hints):
                text = pattern.sub(replacement, text)
        return text

    def scrub(self, text: str, limit: int = DETAIL_LIMIT) -> str:
        """Return an upstream's error text fit for a trace: readable, one line, redacted, at most `limit` characters."""
        whole = text[: _SCRUB_INPUT + 1]
        readable = _readable(whole[:_SCRUB_INPUT])
        # redacting before collapsing keeps a value that holds spaces recognisable; after it, one that was split by tags
        collapsed = _collapse(self.redact(readable))
        clean = self.redact(collapsed)
        return clean if len(clean) <= limit else clean[: max(limit - 1, 0)].rstrip() + "…"

    def _cut_tail(self, text: str) -> str:
        """Remove the beginning of a value that stands at the very end, where something was cut off by a size limit."""
        for value in self._plain:
            if value[:_MIN_TAIL] not in text:
                continue
            for length in range(len(value) - 1, _MIN_TAIL - 1, -1):
                if text.endswith(value[:length]):
                    return text[:-length] + REDACTED
        return text


def scrub(text: str, limit: int = DETAIL_LIMIT, *, redactor: Redactor | None = None) -> str:
    """Return an upstream's error text readable, on one line, redacted (by pattern unless told) and short."""
    return (redactor or _BY_PATTERN).scrub(text, limit)


_BY_PATTERN = Redactor()


def _forms(value: str) -> set[str]:
    """Return the texts a value may appear as: plain, URL-quoted, JSON-escaped, and for longer ones base64 and hex."""
    raw = value.encode("utf-8", "surrogatepass")
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    escaped = json.dumps(value)[1:-1]
    forms = {
        value,
        escaped,
        json.dumps(value, ensure_ascii=False)[1:-1],
        escaped.replace("/", "\\/"),
        repr(value)[1:-1],
    }
    # JSON inside JSON: an upstream's error body quoted in a log record
    forms.add(json.dumps(escaped)[1:-1])
    forms |= {html.escape(value), *quoted, *(_lower_hex(text) for text in quoted)}
    if len(raw) >= _MIN_ENCODED:
        forms |= {raw.hex(), raw.hex().upper()}
        for shift in range(3):
            standard = _base64_core(raw, shift)
            forms |= {standard, standard.replace("+", "-").replace("/", "_"), quote(standard, safe="")}
    return {form for form in forms if len(form) >= _MIN_VALUE}


def _base64_core(raw: bytes, shift: int) -> str:
    """Return the base64 characters that depend on `raw` alone when it starts `shift` bytes into a group."""
    encoded = base64.b64encode(b"\0" * shift + raw).decode("ascii").rstrip("=")
    start = (0, 2, 3)[shift]
    # the last character also holds bits of what follows, unless the value ends a group
    end = len(encoded) if (shift + len(raw)) % 3 == 0 else len(encoded) - 1
    return encoded[start:end]


def _lower_hex(quoted: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)


def _collapse(text: str) -> str:
    """Return the text on one line: white space and control characters become single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


_HTML = re.compile(r"<(?:!doctype|html|head|body|title|center|h1|p|div)\b", re.IGNORECASE)
_EDGE_CODE = re.compile(r"error(?: code)?\s{0,8}:?\s{0,8}(1[0-9]{3}|52[0-9])\b", re.IGNORECASE)
_EDGE_REASONS = {
    "1006": "banned this IP address",
    "1007": "banned this IP address",
    "1008": "banned this IP address",
    "1009": "banned this country or region",
    "1010": "blocked this client's browser signature",
    "1012": "denied access",
    "1015": "rate limited this client",
    "1020": "denied access by a firewall rule",
}
_BARE_LIMIT = 200


def _readable(text: str) -> str:
    """Return a page's text without its markup, and a CDN's block page as one sentence; anything else unchanged."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in "{[":
        return text
    is_page = _HTML.search(stripped[:4096]) is not None
    plain = _without_tags(text) if is_page else text
    said = _edge_block(plain, text, is_page=is_page)
    return plain if said is None else said


def _edge_block(plain: str, text: str, *, is_page: bool) -> str | None:
    """Return what a Cloudflare page says in one sentence, or None where the text is not one."""
    low = text.lower()
    code = _EDGE_CODE.search(plain)
    bare = not is_page and len(plain) <= _BARE_LIMIT and plain.strip().lower().startswith("error code:")
    if not (bare or (is_page and ("cloudflare" in low or "cf-error" in low or "cf-ray" in low))):
        return None
    if code is not None and code[1] in _EDGE_REASONS:
        return f"CDN blocked the request: Cloudflare error {code[1]} ({_EDGE_REASONS[code[1]]})"
    if code is not None and code[1].startswith("1"):
        return f"CDN blocked the request: Cloudflare error {code[1]}"
    if is_page and any(
        mark in low for mark in ("attention required", "just a moment", "challenge-platform", "been blocked")
    ):
        return "CDN blocked the request: Cloudflare wants a browser challenge solved"
    return None


_SILENT = ("script", "style", "svg", "head")


def _without_tags(text: str) -> str:
    """Return the text between tags, title included, scripts, styles and comments left out; one pass."""
    low = text.lower()
    parts: list[str] = []
    title_start, title_end = low.find("<title"), low.find("</title")
    if 0 <= title_start < title_end:
        parts.append(text[text.find(">", title_start) + 1 : title_end])
        parts.append(" ")
    position = 0
    while (opening := text.find("<", position)) >= 0:
        parts.append(text[position:opening])
        position = _after_tag(low, opening)
        parts.append(" ")
    parts.append(text[position:])
    return html.unescape("".join(parts))


def _after_tag(low: str, opening: int) -> int:
    """Return where the text goes on after the tag, comment or silent element that opens at `opening`."""
    if low.startswith("<!--", opening):
        end = low.find("-->", opening)
        return len(low) if end < 0 else end + 3
    for name in _SILENT:
        if low.startswith(f"<{name}", opening) and not low[opening + 1 + len(name) : opening + 2 + len(name)].isalnum():
            closing = low.find(f"</{name}", opening)
            end = low.find(">", closing) if closing >= 0 else -1
            return len(low) if end < 0 else end + 1
    end = low.find(">", opening)
    return len(low) if end < 0 else end + 1
