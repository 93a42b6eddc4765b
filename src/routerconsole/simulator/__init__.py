"""The scripted upstream: a real HTTP server whose models behave, and misbehave, as a script says."""

from routerconsole.simulator.behaviour import (
    Answering,
    Behaviour,
    Cut,
    Delay,
    Phase,
    Wire,
    flapping,
    lognormal,
    uniform,
)
from routerconsole.simulator.http import Greeting
from routerconsole.simulator.script import (
    Listed,
    Pull,
    Script,
    ScriptError,
    Window,
    behaviour_of,
    load_script,
    script_of,
)
from routerconsole.simulator.serve import serve
from routerconsole.simulator.simulator import PeerClosed, Received, Simulator

__all__ = [
    "Answering", "Behaviour", "Cut", "Delay", "Greeting", "Listed", "PeerClosed", "Phase", "Pull", "Received", "Script",
    "ScriptError", "Simulator", "Window", "Wire", "behaviour_of", "flapping", "load_script", "lognormal", "script_of",
    "serve", "uniform",
]  # fmt: skip
