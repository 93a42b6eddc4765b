"""`routerconsole completions bash|zsh|fish`: the grammar as a script for a shell.

Each script follows the words typed so far down the same tree and offers what the parser would accept next.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from routerconsole.cli.output import show_json
from routerconsole.cli.parser import build
from routerconsole.cli.tree import Command, Taken, Value, tree

Pair = tuple[str, str]
"""A word that may come next, and what it means."""


@dataclass(frozen=True, slots=True)
class Table:
    """What the scripts switch on; keys are the command's words, each after a blank, then the option or `:position`.

    A key that begins with `*` holds for every command.
    """

    routes: tuple[str, ...]
    valued: tuple[str, ...]
    values: Mapping[str, tuple[Pair, ...] | Value]
    options: Mapping[str, tuple[Pair, ...]]
    positions: Mapping[str, tuple[Pair, ...] | Value]


def run(args: argparse.Namespace) -> int:
    """Print the script of one shell."""
    script = SCRIPTS[args.shell](table(tree(build())))
    if args.json:
        show_json({"shell": args.shell, "script": script})
    else:
        print(script, end="")
    return 0


def table(root: Command) -> Table:
    """Return what the grammar lets come next, wherever one is in it."""
    everywhere = {name for option in root.options for name in option.names}
    routes: list[str] = []
    valued: list[str] = []
    values: dict[str, tuple[Pair, ...] | Value] = {}
    options: dict[str, tuple[Pair, ...]] = {}
    positions: dict[str, tuple[Pair, ...] | Value] = {}
    for command in root.walk():
        route = "".join(f" {word}" for word in command.words)
        if route:
            routes.append(route)
        for option in command.options:
            for name in option.names if option.value is not Value.NOTHING else ():
                key = f"* {name}" if name in everywhere else f"{route} {name}"
                if key not in values:
                    valued.append(key)
                    values[key] = _offered(option)
        options[route] = tuple((name, option.help) for option in command.options for name in option.names)
        for place, argument in enumerate(command.arguments):
            positions[f"{route}:{'*' if argument.many else place}"] = _offered(argument)
        if command.below:
            positions[f"{route}:0"] = tuple((each.words[-1], each.help) for each in command.below)
    return Table(tuple(routes), tuple(valued), values, options, positions)


def _offered(taken: Taken) -> tuple[Pair, ...] | Value:
    return tuple((choice, taken.help) for choice in taken.choices) if taken.choices else taken.value


def _pattern(key: str) -> str:
    """Return a key as a pattern that matches it alone; only a `*` at either end stands for anything."""
    head, tail = "*" if key.startswith("*") else "", "*" if key.endswith("*") else ""
    return f"{head}{_quoted(key.strip('*'))}{tail}"


def _quoted(text: str) -> str:
    """Return a text as one word of bash or zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _cases(given: Mapping[str, tuple[Pair, ...] | Value], said: Callable[[tuple[Pair, ...]], str]) -> Iterator[str]:
    """Yield the branches of a bash or zsh `case`; what is an unlisted word is offered nothing."""
    for key, what in given.items():
        if isinstance(what, Value):
            if what in (Value.FILE, Value.FOLDER):
                yield f"      {_pattern(key)}) kind={what.value} ;;"
        else:
            yield f"      {_pattern(key)}) {said(what)} ;;"


def _one_of(keys: Iterable[str]) -> str:
    return "|".join(_pattern(key) for key in keys)


def bash(known: Table) -> str:
    """Return the script for bash 3.2 and later."""

    def words(pairs: tuple[Pair, ...]) -> str:
        return f"offered={_quoted(' '.join(word for word, _ in pairs))}"

    return f"""\
# bash completion of routerconsole, made by `routerconsole completions bash`
_routerconsole() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} route='' option='' offered='' kind='' glued='' word line
  local -i i count=0
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    # bash cuts words at = and : (a model is llama3.1:8b), so what follows one belongs to the word before it
    if [[ $word =~ ^[=:]+$ ]]; then glued=1; continue; fi
    if [[ -n $glued ]]; then glued=''; option=''; continue; fi
    if [[ -n $option ]]; then option=''; continue; fi
    case "$route $word" in
      {_one_of(known.valued)}) option=$word; continue ;;
      *' -'*) [[ $word == -* ]] && continue ;;
    esac
    case "$route $word" in
      {_one_of(known.routes)}) route="$route $word"; count=0 ;;
      *) count+=1 ;;
    esac
  done
  [[ $cur =~ ^[=:]+$ ]] && cur=''
  if [[ -n $option ]]; then
    case "$route $option" in
{_lines(_cases(known.values, words))}
    esac
  elif [[ $cur == -* ]]; then
    case "$route" in
{_lines(_cases(known.options, words))}
    esac
  else
    case "$route:$count" in
{_lines(_cases(known.positions, words))}
    esac
  fi
  COMPREPLY=()
  case $kind in
    file) compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur") ;;
    folder) compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$cur") ;;
    *) while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -W "$offered" -- "$cur") ;;
  esac
}}
complete -F _routerconsole routerconsole
"""


def zsh(known: Table) -> str:
    """Return the script for zsh: as `_routerconsole` on `$fpath`, or sourced after `compinit`."""

    def described(pairs: tuple[Pair, ...]) -> str:
        return "offered=(" + " ".join(_quoted(f"{word}:{_brief(text)}") for word, text in pairs) + ")"

    return f"""\
#compdef routerconsole
# zsh completion of routerconsole, made by `routerconsole completions zsh`
_routerconsole() {{
  local cur=$words[CURRENT] route='' option='' kind='' word
  local -a offered
  integer i count=0
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ -n $option ]]; then option=''; continue; fi
    case "$route $word" in
      {_one_of(known.valued)}) option=$word; continue ;;
      *' -'*) [[ $word == -* ]] && continue ;;
    esac
    case "$route $word" in
      {_one_of(known.routes)}) route="$route $word"; count=0 ;;
      *) count+=1 ;;
    esac
  done
  if [[ $cur == --*=* ]]; then option=${{cur%%=*}}; compset -P 1 '*='; fi
  if [[ -n $option ]]; then
    case "$route $option" in
{_lines(_cases(known.values, described))}
    esac
  elif [[ $cur == -* ]]; then
    case "$route" in
{_lines(_cases(known.options, described))}
    esac
  else
    case "$route:$count" in
{_lines(_cases(known.positions, described))}
    esac
  fi
  case $kind in
    file) _files ;;
    folder) _files -/ ;;
    *) (( $#offered )) && _describe routerconsole offered ;;
  esac
}}
if [[ ${{funcstack[1]}} == _routerconsole ]]; then _routerconsole "$@"; else compdef _routerconsole routerconsole; fi
"""


def fish(known: Table) -> str:
    """Return the script for fish: a file of `completions/`, or sourced."""

    def cases(given: Mapping[str, tuple[Pair, ...] | Value]) -> str:
        out: list[str] = []
        for key, what in given.items():
            if isinstance(what, Value):
                if what not in (Value.FILE, Value.FOLDER):
                    continue
                helper = "path" if what is Value.FILE else "directories"
                does = f"__fish_complete_{helper} $cur | string replace -r '^' -- $pre"
            else:
                does = 'printf "$pre%s\\t%s\\n" ' + " ".join(
                    f"{_fished(word)} {_fished(_brief(text))}" for word, text in what
                )
            out += [f"            case {_fished(key)}", f"                {does}"]
        return "\n".join(out)

    return f"""\
# fish completion of routerconsole, made by `routerconsole completions fish`
function __routerconsole_next
    set -l route ''
    set -l option ''
    set -l count 0
    set -l typed (commandline -opc)
    set -e typed[1]
    for word in $typed
        if test -n "$option"
            set option ''
            continue
        end
        switch "$route $word"
            case {" ".join(_fished(key) for key in known.valued)}
                set option $word
                continue
        end
        string match -q -- '-*' $word; and continue
        switch "$route $word"
            case {" ".join(_fished(key) for key in known.routes)}
                set route "$route $word"
                set count 0
            case '*'
                set count (math $count + 1)
        end
    end
    set -l cur (commandline -ct)
    set -l pre ''
    if string match -q -- '--*=*' $cur
        set option (string replace -r '=.*' '' -- $cur)
        set pre "$option="
        set cur (string replace -r '^[^=]*=' '' -- $cur)
    end
    if test -n "$option"
        switch "$route $option"
{cases(known.values)}
        end
    else if string match -q -- '-*' $cur
        switch "$route"
{cases(known.options)}
        end
    else
        switch "$route:$count"
{cases(known.positions)}
        end
    end
end
complete -c routerconsole -e
complete -c routerconsole -f -a '(__routerconsole_next)'
"""


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _brief(text: str) -> str:
    """Return a help text as one line without tabs."""
    return " ".join(text.split())


def _fished(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Final[Mapping[str, Callable[[Table], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
"""A script maker per shell."""
