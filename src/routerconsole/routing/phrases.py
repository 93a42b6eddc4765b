"""What upstreams are known to say, as data: codes and narrow phrases, each with who says it. rules.py owns their order.

Codes and patterns meet lower-cased text; every pattern starts at a literal and has bounded repeats.
"""

from __future__ import annotations

import re
from typing import Final

from routerconsole.domain.capability import Word


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives))


# ---- quota: money or a daily allowance is used up; waiting a minute does not help

QUOTA_CODES: Final = frozenset(
    {
        "insufficient_quota",  # OpenAI, Azure, Perplexity
        "insufficient_balance",  # DeepSeek, Moonshot
        "insufficient_credits",  # OpenRouter
        "insufficient_funds",
        "enforced_spend_limit_reached",  # Anthropic
        "exceeded_current_quota_error",  # Moonshot
        "quota_exceeded",
        "payment_required",
    }
)
QUOTA_PREFIXES: Final = ("billing_", "credit_balance", "insufficient_quota", "spend_limit", "spending_limit", "daily_")
"""OpenAI: billing_hard_limit_reached, billing_not_active, credit_balance_exhausted; Anthropic: billing_error."""
QUOTA_TEXT: Final = _any(
    r"insufficient[_ ](?:quota|balance|credits?|funds)",
    r"credit[_ ]balance",  # Anthropic: "Your credit balance is too low"
    r"billing[_ ](?:hard[_ ]limit|not[_ ]active|disabled|error|is disabled|to be enabled)",
    r"(?:spend|spending|billing|credit)[_ ](?:limit|cap|quota|allowance)",  # xAI, Anthropic
    r"specified api usage limits",  # Anthropic's spend cap as a 400
    r"out of (?:credits?|funds)",
    r"(?:used all (?:available )?|run out of |never purchased )credits",
    r"quota (?:has been |is )?exhausted",
    r"requires (?:at least )?more credits",
)
SAYS_QUOTA: Final = _any(r"\bquota\b", r"(?<![/.\w])billing\b(?!/)")
"""Enough in a 429; not elsewhere, where the words may be the client's."""
ZERO_LIMIT: Final = re.compile(r"\blimit: ?0(?!\.?\d)")
ZERO_CODES: Final = frozenset({"quotavalue=0"})
DAILY: Final = _any(r"per[ _-]?day\b", r"perday", r"daily (?:rate |token |request )?(?:quota|limit|allowance|cap)")
RATE_CODES: Final = frozenset({"rate_limit_exceeded", "ratelimitreached", "rate_limit_reached_error"})
RATE_TEXT: Final = _any(r"rate limit (?:reached|exceeded)", r"too many requests")

# ---- credentials

KEY_CODES: Final = frozenset(
    {
        "invalid_api_key",
        "incorrect_api_key",
        "expired_api_key",
        "api_key_invalid",  # Google, with status 400
        "api_key_service_blocked",
        "authentication_error",
        "unauthenticated",
        "invalid_token",
        "account_deactivated",
    }
)
KEY_TEXT: Final = _any(
    r"(?:invalid|incorrect|expired|revoked|missing|no|bad) api[ _-]?key",
    r"api[ _-]?key (?:is |was )?(?:not valid|invalid|expired|revoked|missing|disabled|required|not found)",
    r"invalid (?:x-api-key|bearer token)",
)

# ---- prompt too long

CONTEXT_CODES: Final = frozenset(
    {
        "context_length_exceeded",  # OpenAI, Groq, llama-cpp-python
        "exceed_context_size_error",  # llama.cpp server
        "context_window_exceeded",
        "contextwindowexceedederror",
        "prompt_too_long",
        "model_max_prompt_tokens_exceeded",
    }
)
CONTEXT_TEXT: Final = _any(
    r"context_length_exceeded",
    r"exceed_context_size",
    r"maximum context length",  # OpenAI, vLLM, OpenRouter
    r"prompt (?:is )?too long",  # Anthropic
    r"exceeds? (?:the |its )?(?:available |model's |maximum |max )?context",  # llama.cpp, Ollama, Anthropic
    r"context (?:window|length|size) (?:is |was )?exceeded",
    r"input is too long",  # Bedrock
    r"longer than the maximum (?:model|context) length",  # vLLM
    r"maximum (?:prompt|model|input) length is",  # xAI
    r"input token count [^\n]{0,60}exceeds",  # Gemini
    r"too large for model with [^\n]{0,20}maximum context",  # Mistral
    r"exceeded model token limit",  # Moonshot
    r"reduce the length of the (?:messages|prompt|input)",  # Groq, OpenAI
    r"when context the overflows",  # LM Studio
    r"inputs?`? tokens? \+ [^\n]{0,40}must be <=",  # TGI, Together
)

# ---- content policy

POLICY_CODES: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "content_policy",
        "responsibleaipolicyviolation",  # Azure
        "data_inspection_failed",  # Alibaba
        "moderation_blocked",
        "prompt_blocked",
    }
)
POLICY_TEXT: Final = _any(
    r"content management policy",  # Azure
    r"content[_ ]policy[_ ]violation",
    r"(?:input|prompt|request|content) was flagged",  # OpenRouter moderation
    r"rejected as a result of our safety system",  # OpenAI images and audio
    r"violat\w{1,6} (?:our |the )?(?:usage|content|safety) polic",
)

# ---- model or path not there

MISSING_CODES: Final = frozenset(
    {
        "model_not_found",
        "model_not_available",
        "model_decommissioned",  # Groq, with status 400
        "deploymentnotfound",  # Azure
        "invalid_model",  # Mistral
        "unknown_model",
    }
)
MISSING_TEXT: Final = _any(
    r"try pulling it first",  # Ollama
    r"model [`'\"]?[^\s`'\"]{1,200}[`'\"]? (?:is |was )?not found",  # llama.cpp router mode, Ollama
    r"model [`'\"]?[^\s`'\"]{1,200}[`'\"]? does not exist",  # OpenAI, vLLM
    r"is not a valid model id",  # OpenRouter
    r"model_not_found",
    r"(?:no such|unknown) model",
    r"invalid model (?:id|name)",  # OpenAI
    r"model identifier is invalid",  # Bedrock
    r"model not (?:found|exist)",  # DeepSeek
    r"model [^\n]{1,200} has been decommissioned",  # Groq
)

# ---- loading

WARMING_TEXT: Final = _any(
    r"loading model",  # llama.cpp, Ollama
    r"model (?:[^\s]{1,200} )?is (?:still |currently )?(?:loading|being loaded|warming)",  # Hugging Face
    r"currently loading",
)

# ---- 5xx that blame the request

BLAMES_REQUEST: Final = _any(
    r"failed to parse tool call arguments",  # llama.cpp: unparsable arguments in the history
    r"\b\d{1,5} validation errors?",  # llama-cpp-python: pydantic on the request body
    r"cannot make get request",  # llama.cpp: a remote image it could not read
    r"(?:failed|unable) to (?:fetch|download|load|decode) (?:the )?(?:remote )?image",
    r"could not (?:fetch|download) (?:the )?image",
    r"unable to generate parser for this template",  # llama.cpp: unresolvable schema reference
    r"(?:unresolv\w{1,6}|error resolving) (?:\$?ref|schema)",
    r"json schema conversion failed",
    r"failed to (?:parse|initialize) (?:grammar|samplers)",
)
CLIENT_CODES: Final = frozenset({"invalid_request_error", "invalid_argument"})
"""Codes that blame the client even inside a 200."""

# ---- an error inside a 2xx: the status its words amount to, first match wins

STATUS_OF_CODES: Final[tuple[tuple[int, frozenset[str]], ...]] = (
    (529, frozenset({"overloaded_error", "overloaded", "server_overloaded"})),
    (402, frozenset({"insufficient_balance", "insufficient_credits", "payment_required", "billing_error"})),
    (429, frozenset({"insufficient_quota", "rate_limit_error", "rate_limit_exceeded", "resource_exhausted"})),
    (429, frozenset({"enforced_spend_limit_reached", "credit_balance_exhausted", "too_many_requests"})),
    (401, frozenset({"authentication_error", "invalid_api_key", "unauthenticated"})),
    (403, frozenset({"permission_error", "permission_denied"})),
    (404, frozenset({"not_found_error", "model_not_found"})),
    (413, frozenset({"request_too_large"})),
    (503, frozenset({"unavailable_error", "unavailable", "service_unavailable"})),
    (400, CLIENT_CODES),
)

# ---- a capability the route lacks

_AFTER = (
    r"(?=[`'\"]*\s*(?:$|[.,;:!?)\]}\\\n-]"
    r"|input|parameter|use|calling|yet|with |for |on |in |by |at |because|and |or |when))"
)
_SUBJECTS: Final = (
    (Word.PARALLEL_TOOLS, r"parallel[_ ]tool[_ ](?:calls?|calling|use)|parallel function calling"),
    (Word.TOOLS, r"tools|tool[_ ](?:use|using|calling|calls?|choice)|function[_ ]call(?:ing|s)?|functions"),
    (Word.TOOLS, r"the provided [`'\"]?tool_choice[`'\"]? value"),
    (Word.VISION, r"image[_ ]inputs?|images|image_urls?|input_images?|vision|multi-?modal(?:ity| inputs?)?"),
    (Word.AUDIO, r"audio(?:[_ ]inputs?)?|input_audio"),
    (Word.JSON_SCHEMA, r"json[_ ]schemas?|structured[_ ]outputs?"),
    (Word.JSON_SCHEMA, r"response[_ ]format[`'\"]?(?: of type| type|:)? [`'\"]?json_schema"),
    (Word.JSON, r"json[_ ](?:mode|object|output)|response[_ ]format[`'\"]? of type [`'\"]?json_object"),
    (Word.REASONING, r"reasoning(?:[_ ]effort)?|thinking"),
    (Word.STREAMING, r"stream(?:ing)?"),
    (Word.SYSTEM, r"(?:system|developer)[_ ](?:roles?|messages?|prompts?|instructions?)"),
    (Word.EMBEDDINGS, r"embeddings?"),
    (Word.TEXT, r"chat(?:[_ ]completions?)?"),
)


def _refusals(subject: str) -> re.Pattern[str]:
    return _any(
        r"(?:does not|doesn't|do not|don't|cannot|can't|not) support(?: the| any| use of| using| parameters?:?|:)?"
        rf" [`'\"]?(?:{subject}){_AFTER}",
        rf"(?<![\w-])(?:{subject})[`'\"]*(?: inputs?| parameter| message| content)? (?:is|are)(?: currently)? not"
        r"(?: currently| yet)? (?:supported|available|enabled)(?! (?:type|format|value))",
        rf"unsupported (?:parameter|feature|capability|content type)s?:? [`'\"]?(?:{subject}){_AFTER}",
        rf"no endpoints found that support (?:the )?(?:{subject})",
    )


REFUSALS: Final = tuple((word, _refusals(subject)) for word, subject in _SUBJECTS)
"""General forms of "X does not support Y", by word; a word counts only where the request asks for it."""

KNOWN_REFUSALS: Final[tuple[tuple[re.Pattern[str], tuple[Word, ...]], ...]] = (
    # llama.cpp server, model without a projector
    (_any(r"image input is not supported", r"\bmmproj\b"), (Word.VISION,)),
    (_any(r"audio input is not supported"), (Word.AUDIO,)),
    # llama-cpp-python concatenates parts onto a text template
    (_any(r"can only concatenate str \(not \\?[\"']list\\?[\"']\) to str"), (Word.VISION, Word.AUDIO)),
    # llama-cpp-python and others that know two formats
    (
        _any(r"input should be '?text'? or '?json_object", r"must be one of \"?text\"? (?:and|or) \"?json_object"),
        (Word.JSON_SCHEMA,),
    ),
    # llama.cpp server without --jinja; vLLM without a tool parser
    (_any(r"tools param requires --jinja", r"tool choice requires --enable-auto-tool-choice"), (Word.TOOLS,)),
    # vLLM, text models; DeepSeek and other Rust servers
    (
        _any(r"at most 0 image", r"is not a (?:multimodal|vision) model", r"unknown variant `?image_url"),
        (Word.VISION,),
    ),
    (_any(r"at most 0 audio", r"unknown variant `?input_audio"), (Word.AUDIO,)),
    # OpenAI; Ollama
    (_any(r"image_url is only supported by certain models", r"missing data required for image input"), (Word.VISION,)),
    # Groq, older llama.cpp server
    (_any(r"content must be a string", r"unsupported content\[\]\.type"), (Word.VISION, Word.AUDIO)),
    # DeepSeek
    (_any(r"this response_format type is unavailable"), (Word.JSON_SCHEMA, Word.JSON)),
    # templates without a system turn (Gemma); Google's API for the same models
    (_any(r"system role not supported", r"developer instruction is not enabled"), (Word.SYSTEM,)),
    # OpenAI, Ollama: a model of another kind
    (_any(r"this is not a chat model", r"not supported in the v1/chat/completions endpoint"), (Word.TEXT,)),
)
REFUSAL_CODES: Final = frozenset({"not_supported_error"})
"""llama.cpp server: a feature that was not switched on."""
UNNAMED_REFUSAL: Final = _any(r"no endpoints found that (?:can handle the requested parameters|support)")
"""OpenRouter: some asked capability is missing, it does not say which; nothing is learned."""
