"""What brings a checkpoint into memory: AirLLM layer by layer, else transformers whole. Imported by the worker only.

A checkpoint is data: no code in it is run, and nothing is fetched. AirLLM asks for that code by itself, so the ways to
it are closed here and in the environment the process is given (worker.py), not in what is asked for.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from routerconsole.providers.weights_worker import DEFAULT_TOKENS, Json, Refused, out_of_memory, serve

Library = Any
"""torch, transformers and airllm are not installed where this is checked; what they return is taken as it comes."""


def load(asked: Json) -> Checkpoint:
    """Return the model of a request; raise whatever the last library to try raised."""
    path = Path(asked["path"])
    folder = path if path.is_dir() else path.parent
    problem = ""
    _distrust()
    for way in (_airllm, _transformers):
        try:
            return Checkpoint(*way(folder), folder=folder, problem=problem)
        except Exception as exc:
            if way is _transformers and "trust_remote_code" in str(exc):
                raise Refused("cannot_load", f"{folder.name} needs code of its own, which is never run here") from exc
            if way is _transformers or out_of_memory(exc):  # what does not fit layer by layer does not fit whole
                raise
            problem = traceback.format_exc()
            sys.stderr.write(f"AirLLM cannot serve {folder}, transformers is tried:\n{problem}")
    raise AssertionError  # the loop returns or raises


def _distrust() -> None:
    """Take "trust_remote_code" back whoever gives it: AirLLM always does, and runs what a checkpoint brings along.

    Known architectures then load with the libraries' own code. Where this hook is gone from transformers, the folder
    such code is copied to before it runs still cannot exist (worker.py).
    """
    from transformers import dynamic_module_utils as dynamic  # noqa: PLC0415 - as below

    resolve = getattr(dynamic, "resolve_trust_remote_code", None)
    if resolve is not None and not getattr(resolve, "distrusting", False):

        def distrusting(_given: Library, *more: Library, **named: Library) -> Library:
            return resolve(False, *more, **named)

        distrusting.distrusting = True  # type: ignore[attr-defined] # tells it from the library's own
        dynamic.resolve_trust_remote_code = distrusting


def _fresh(folder: Path) -> None:
    """Have AirLLM split the weights again where others lie there now: it takes whatever layers it finds.

    Only its marks of what is done are removed, never weights.
    """
    layers = folder / "splitted_model"
    stamp = layers / "made_of.json"
    lying = [(file.name, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    made_of = json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in lying])
    done = list(layers.glob("*.done"))
    if stamp.is_file():
        stale = stamp.read_text(encoding="utf-8") != made_of
    else:
        stale = bool(done) and min(mark.stat().st_mtime_ns for mark in done) < max(at.st_mtime_ns for _, at in lying)
    for mark in done if stale else ():
        mark.unlink()
    with suppress(OSError):  # layers somebody prepared may lie where nothing can be written
        layers.mkdir(exist_ok=True)
        stamp.write_text(made_of, encoding="utf-8")


def _airllm(folder: Path) -> tuple[str, Library, Library]:
    import airllm  # noqa: PLC0415 - seconds and gigabytes, in this process only

    if (folder / "pytorch_model.bin.index.json").exists():
        raise ValueError("AirLLM would read the pickled weights instead of the safetensors beside them")
    _fresh(folder)
    model = airllm.AutoModel.from_pretrained(str(folder), device=_device())
    return "airllm", model, model.tokenizer


def _transformers(folder: Path) -> tuple[str, Library, Library]:
    import transformers  # noqa: PLC0415 - as above

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(folder), trust_remote_code=False, use_safetensors=True, dtype="auto"
    )
    return "transformers", model.to(_device()).eval(), tokenizer


def _device() -> str:
    import torch  # noqa: PLC0415 - as above

    if torch.cuda.is_available():
        return "cuda:0"
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))  # one core stays the engine's
    return "cpu"


class Checkpoint:
    """A causal language model with its tokenizer."""

    def __init__(self, backend: str, model: Library, tokenizer: Library, *, folder: Path, problem: str) -> None:
        self.backend, self.problem, self._folder = backend, problem, folder
        self._model, self._tokenizer = model, tokenizer
        settings = json.loads((folder / "config.json").read_bytes())
        room = settings.get("max_position_embeddings")
        self._room: int | None = room if isinstance(room, int) and room > 0 else None

    def prompt(self, asked: Json) -> list[int]:
        """Return the tokens of a text, or of messages in the model's own template."""
        if "prompt" in asked:
            return list(self._tokenizer(asked["prompt"])["input_ids"])
        messages = asked["messages"]
        if getattr(self._tokenizer, "chat_template", None):
            text = self._rendered(messages)
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        lines = [f"{message['role']}: {message['content']}" for message in messages]
        return list(self._tokenizer("\n".join([*lines, "assistant:"]))["input_ids"])

    def _rendered(self, messages: list[Json]) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except Exception as exc:
            if not any(kind.__name__ == "TemplateError" for kind in type(exc).__mro__):
                raise
            raise Refused("invalid_request", f"the model's template refuses these messages: {exc}") from exc
        return text

    def limit(self, asked: Json, tokens: int) -> int:
        """Return how many tokens the answer may have; raise Refused where the prompt leaves none."""
        wanted = int(asked.get("max_tokens") or DEFAULT_TOKENS)
        if self._room is None:
            return wanted
        if tokens >= self._room:
            what = f"This model's maximum context length is {self._room} tokens, the prompt has {tokens}."
            raise Refused("context_length_exceeded", what)
        return min(wanted, self._room - tokens)

    def generate(self, tokens: list[int], asked: Json, limit: int, stop: Callable[[], bool]) -> Iterator[str]:
        """Yield the text of one token after the other; where AirLLM makes none at all, transformers is asked."""
        begun = False
        try:
            for text in self._generate(tokens, asked, limit, stop):
                begun = True
                yield text
            return
        except Exception as exc:
            if begun or self.backend == "transformers" or out_of_memory(exc):
                raise
            self.problem = traceback.format_exc()
        self._model = self._tokenizer = None
        self.backend, self._model, self._tokenizer = _transformers(self._folder)
        yield from self._generate(tokens, asked, limit, stop)

    def _generate(self, tokens: list[int], asked: Json, limit: int, stop: Callable[[], bool]) -> Iterator[str]:
        """Yield the text of each token as the model makes them on a thread beside."""
        import torch  # noqa: PLC0415 - as above

        pieces: SimpleQueue[int | BaseException | None] = SimpleQueue()
        ended = threading.Event()

        class Streamer:
            """What `generate` hands tokens to; the first lot is the prompt."""

            def __init__(self) -> None:
                self.prompt = True

            def put(self, value: Library) -> None:
                """Hand tokens on."""
                if self.prompt:
                    self.prompt = False
                    return
                for token in value.flatten().tolist():
                    pieces.put(token)

            def end(self) -> None:
                """Nothing is to be done."""

        def enough(_ids: Library, _scores: Library, **_more: Library) -> Library:
            return torch.full((1,), stop() or ended.is_set(), dtype=torch.bool, device=_ids.device)

        def work() -> None:
            try:
                ids = torch.tensor([tokens]).to(_device())
                settings = {**_settings(asked), "max_new_tokens": limit, "use_cache": True}
                with torch.inference_mode():
                    if "seed" in asked:
                        torch.manual_seed(asked["seed"])
                    self._model.generate(ids, streamer=Streamer(), stopping_criteria=[enough], **settings)
                pieces.put(None)
            except BaseException as exc:  # noqa: BLE001 - carried to the thread that waits
                pieces.put(exc)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield from self._texts(iter(pieces.get, None))
        finally:
            ended.set()
            thread.join()

    def _texts(self, tokens: Iterator[int | BaseException | None]) -> Iterator[str]:
        """Yield what each token adds to the text; a character in several tokens comes with the last of them."""
        seen: list[int] = []
        said = ""
        last = self._tokenizer.eos_token_id
        for token in tokens:
            if isinstance(token, BaseException):
                raise token
            if token is None or token == last:
                return
            seen.append(token)
            text = self._tokenizer.decode(seen, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            if text.endswith("\ufffd"):
                yield ""
                continue
            yield text[len(said) :]
            said = text


def _settings(asked: Json) -> Json:
    """Return how the next token is chosen: the likeliest at temperature 0, drawn otherwise."""
    temperature = asked.get("temperature")
    if temperature is not None and temperature <= 0:
        return {"do_sample": False}
    found: Json = {"do_sample": True, "temperature": 1.0 if temperature is None else float(temperature)}
    if asked.get("top_p") is not None:
        found["top_p"] = float(asked["top_p"])
    return found


if __name__ == "__main__":
    serve(load)
