"""Asks the usual local servers what they list, all at once: the probing half of zero configuration."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from .detect import LOCAL, from_answers, listed_ids
from .models import Settings

DETECT_TIMEOUT_S = 0.4
"""A local server that lists its models answers in milliseconds; start-up waits for nobody longer."""
_MAX_LISTING = 1 << 20


def detected(env: Mapping[str, str]) -> Settings:
    """Return settings for what this machine and its environment offer; never raises, takes about DETECT_TIMEOUT_S."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    urls = [local.listing for local in LOCAL]
    with ThreadPoolExecutor(len(urls)) as pool:
        return from_answers(env, dict(zip(urls, pool.map(partial(_listing, opener), urls), strict=True)))


def _listing(opener: urllib.request.OpenerDirector, url: str) -> list[str] | None:
    try:
        with opener.open(url, timeout=DETECT_TIMEOUT_S) as answer:
            return listed_ids(json.loads(answer.read(_MAX_LISTING)))
    except (OSError, ValueError, RecursionError, http.client.HTTPException):  # whatever listens there
        return None
