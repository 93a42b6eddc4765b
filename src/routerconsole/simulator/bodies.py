"""Error bodies captured from real servers (wire-facts.md) and made ones, each under a short name.

Owns status, content type, headers and bytes; what class they belong to is for the router to find out.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

JSON = "application/json"
HTML = "text/html; charset=utf-8"
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>Please log in.</form></body></html>"
PROXY_PAGE = (
    b"<html><head><title>Access Denied</title></head><body bgcolor=white><h1>Blocked by policy</h1>"
    b"<p>Your organisation does not permit this site.</p><script>alert(1)</script></body></html>"
)
NGINX_502 = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body>\r\n</html>\r\n"  # noqa: E501 - one captured page
CLOUDFLARE_1010 = (
    b"<!doctype html><html><head><title>Access denied | example.test used Cloudflare to restrict access</title></head>"
    b"<body>Error code: 1010. The owner of this website has banned your access based on your browser's signature."
    b"</body></html>"
)


@dataclass(frozen=True, slots=True)
class Canned:
    """A reply that is sent as it is."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def _json(status: int, value: object, *headers: tuple[str, str]) -> Canned:
    """A canned JSON reply."""
    return Canned(status, orjson.dumps(value), JSON, headers)


def _openai(status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> Canned:
    """An error in OpenAI's shape."""
    return _json(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def _llama(status: int, message: str, kind: str, **more: int) -> Canned:
    """An error in the shape of the llama.cpp server."""
    return _json(status, {"error": {"code": status, "message": message, "type": kind, **more}})


def _anthropic(status: int, kind: str, message: str, *headers: tuple[str, str]) -> Canned:
    """An error in Anthropic's shape."""
    return _json(status, {"type": "error", "error": {"type": kind, "message": message}}, *headers)


def _gemini(message: str, *details: dict[str, object]) -> Canned:
    """A 429 in the shape Gemini's OpenAI endpoint uses."""
    return _json(
        429,
        {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": list(details)}},
    )


_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_SCHEMA_ERROR = (
    "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), "
    "'msg': \"Input should be 'text' or 'json_object'\", 'input': 'json_schema'}]"
)

BODIES: dict[str, Canned] = {
    # llama.cpp server and llama-cpp-python
    "llama_no_image": _llama(
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "server_error",
    ),
    "llama_no_audio": _llama(
        500,
        "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "server_error",
    ),
    "llama_py_no_image": _openai(500, 'can only concatenate str (not "list") to str', "internal_server_error"),
    "llama_py_no_schema": _openai(500, _SCHEMA_ERROR, "internal_server_error"),
    "llama_py_null_content": _openai(500, "7 validation errors for typed-dict", "internal_server_error"),
    "llama_bad_arguments": _llama(500, "Failed to parse tool call arguments as JSON: [json.exception]", "server_error"),
    "llama_context": _llama(
        400,
        "the request exceeds the available context size, try increasing it",
        "exceed_context_size_error",
        n_prompt_tokens=9001,
        n_ctx=4096,
    ),
    "llama_py_context": _openai(
        400,
        "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    ),
    "llama_loading": _llama(503, "Loading model", "unavailable_error"),
    "llama_bad_key": _llama(401, "Invalid API Key", "authentication_error"),
    "llama_no_path": _llama(404, "File Not Found", "not_found_error"),
    "llama_no_embeddings": _llama(
        501, "This server does not support embeddings. Start it with `--embeddings`", "not_supported_error"
    ),
    "llama_router_failed": _llama(500, "model name=broken failed to load", "server_error"),
    "llama_router_missing": _llama(400, "model 'nope' not found", "invalid_request_error"),
    "llama_remote_image": _llama(500, "cannot make GET request", "server_error"),
    "llama_bad_ref": _llama(
        400, "Unable to generate parser for this template: unresolvable $ref", "invalid_request_error"
    ),
    # Ollama
    "ollama_missing": _json(404, {"error": 'model "nope" not found, try pulling it first'}),
    "ollama_no_tools": _json(400, {"error": "registry.ollama.ai/library/x:latest does not support tools"}),
    "ollama_no_thinking": _json(400, {"error": '"x" does not support thinking'}),
    # OpenAI and OpenRouter
    "openrouter_no_tools": _json(
        404, {"error": {"message": "No endpoints found that support tool use. Try disabling tools.", "code": 404}}
    ),
    "openrouter_no_image": _json(
        404, {"error": {"message": "No endpoints found that support image input", "code": 404}}
    ),
    "openai_quota": _openai(
        429, "You exceeded your current quota, please check your plan.", "insufficient_quota", "insufficient_quota"
    ),
    "openai_credit": _openai(
        429, "Your credit balance is exhausted.", "credit_balance_exhausted", "credit_balance_exhausted"
    ),
    "openai_rate": _openai(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    "openai_context": _openai(
        400,
        "This model's maximum context length is 8192 tokens, however you requested 9001 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    ),
    "openai_filter": _openai(
        400, "The response was filtered due to the prompt.", "invalid_request_error", "content_filter", "prompt"
    ),
    "openai_policy": _openai(
        400, "Your request was rejected by our safety system.", "invalid_request_error", "content_policy_violation"
    ),
    "openai_missing": _openai(
        404,
        "The model `nope` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    "openai_bad_key": _openai(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "openai_server": _openai(500, "The server had an error while processing your request.", "server_error"),
    "openai_bad_request": _openai(
        400, "'temperature' must be less than or equal to 2.", "invalid_request_error", None, "temperature"
    ),
    "openai_no_model": _openai(400, "you must provide a model parameter", "invalid_request_error"),
    "openai_forbidden": _openai(
        403, "Your account is not active, billing is required.", "permission", "billing_not_active"
    ),
    "payment": _openai(402, "Insufficient credits. Add more to continue.", "payment_required", "payment_required"),
    "too_large": _openai(413, "Request body too large.", "invalid_request_error", "request_too_large"),
    # Anthropic
    "anthropic_overloaded": _anthropic(529, "overloaded_error", "Overloaded"),
    "anthropic_spend": _anthropic(429, "enforced_spend_limit_reached", "Your spend limit has been reached."),
    "anthropic_spend_400": _anthropic(
        400, "invalid_request_error", "You have reached your specified API usage limits: enforced_spend_limit_reached"
    ),
    "anthropic_credit": _anthropic(
        400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
    ),
    "anthropic_rate": _anthropic(429, "rate_limit_error", "Number of requests has exceeded your rate limit."),
    "anthropic_bad_key": _anthropic(401, "authentication_error", "invalid x-api-key"),
    "anthropic_missing": _anthropic(404, "not_found_error", "model: nope"),
    "anthropic_context": _anthropic(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "anthropic_too_large": _anthropic(413, "request_too_large", "Request exceeds the maximum size"),
    # Gemini through its OpenAI endpoint
    "gemini_rate": _gemini("Please retry in 46s.", {"@type": _RETRY_INFO, "retryDelay": "46s"}),
    "gemini_long": _gemini("You exceeded your current quota. Please retry in 10h17m5.7s."),
    "gemini_daily": _gemini("Quota exceeded for metric: GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
    "gemini_zero": _gemini(
        "Quota exceeded for metric: generate_content_free_tier_requests, limit: 0. Please retry in 2s.",
        {"@type": _RETRY_INFO, "retryDelay": "2s"},
    ),
    # vLLM, proxies and things that are no API
    "vllm_in_band": _json(
        400, {"error": {"object": "error", "message": "engine died", "type": "InternalServerError", "code": 500}}
    ),
    "login_page": Canned(200, LOGIN_PAGE, HTML),
    "proxy_403": Canned(403, PROXY_PAGE, HTML),
    "nginx_502": Canned(502, NGINX_502, HTML),
    "cloudflare_1010": Canned(403, CLOUDFLARE_1010, HTML),
    "redirect_metadata": Canned(302, b"", HTML, (("location", "http://169.254.169.254/latest/meta-data/"),)),
    "proxy_auth": Canned(407, b"", HTML, (("proxy-authenticate", "Basic"),)),
    "leaky": _openai(
        401,
        "Incorrect API key provided: sk-proj-abcdefghijklmnopqrstuvwxyz0123456789. "
        "Authorization: Bearer sk-live-0123456789abcdef",
        "invalid_request_error",
        "invalid_api_key",
    ),
}

_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


def by_status(status: int) -> Canned:
    """A plain error body for a bare status code, in OpenAI's shape."""
    kind = _KINDS.get(status, "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "api_error")
    return _openai(status, f"The simulator was told to answer {status}.", kind, None)


def named(name: str | None, status: int | None = None) -> Canned:
    """The body with this name, or the text itself as a JSON error body; raises nothing."""
    if name is None:
        return by_status(status or 500)
    known = BODIES.get(name)
    if known is None:
        known = Canned(status or 500, name.encode(), JSON if name.lstrip()[:1] in "{[" else "text/plain")
    if status is None or status == known.status:
        return known
    return Canned(status, known.body, known.content_type, known.headers)


def missing(model: str, face: str) -> Canned:
    """A 404 for a model nobody serves, in the dialect of the face."""
    if face == "ollama":
        return _json(404, {"error": f'model "{model}" not found, try pulling it first'})
    if face == "anthropic":
        return _anthropic(404, "not_found_error", f"model: {model}")
    return _openai(404, f"The model `{model}` does not exist.", "invalid_request_error", "model_not_found")
