"""LangChain's ChatOpenAI against the router: invoke, stream, a bound tool, structured output.

    eval "$(routerconsole env)"; …/langchain/bin/python langchain_scenario.py --model M --tools-model T --json-model J

Prints one JSON object of facts; the address and the key come from the environment only.
"""

from __future__ import annotations

import argparse
import json

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


class City(BaseModel):
    """A city."""

    city: str = Field(description="its name")


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


def main() -> None:
    """Run the four uses and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--tools-model", "--json-model"):
        parser.add_argument(name, required=True)
    asked = parser.parse_args()
    text = ChatOpenAI(model=asked.model).invoke("hello").content
    assert text, "no text"
    streamed = "".join(str(part.content) for part in ChatOpenAI(model=asked.model).stream("hello"))
    assert streamed, "nothing streamed"
    bound = ChatOpenAI(model=asked.tools_model, max_tokens=256).bind_tools([get_weather], tool_choice="required")
    calls = bound.invoke("weather in Oslo?").tool_calls
    assert calls[0]["name"] == "get_weather", calls
    shaped = ChatOpenAI(model=asked.json_model, max_tokens=512).with_structured_output(City, method="json_schema")
    city = shaped.invoke("name a city")
    assert isinstance(city, City), city
    print(json.dumps({"text": text, "streamed": streamed, "call": calls[0]["args"], "city": city.city}))


if __name__ == "__main__":
    main()
