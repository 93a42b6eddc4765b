"""`routerconsole env`: shell lines that point OpenAI clients at the running engine (`eval "$(routerconsole env)"`)."""

from __future__ import annotations

import argparse
import shlex

from routerconsole.cli.output import show_json
from routerconsole.cli.session import engine
from routerconsole.control.discovery import TokenKind


def run(args: argparse.Namespace) -> int:
    """Print the address and the client token, quoted for a shell."""
    found = engine(args, TokenKind.CLIENT)
    variables = {"OPENAI_BASE_URL": f"{found.url}/v1", "OPENAI_API_KEY": found.token.reveal()}
    if args.json:
        show_json(variables)
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0
