"""The OpenAPI document, made of the one route table and its models; nothing in it is written by hand twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from routerconsole import __version__
from routerconsole.control.views import RequestDetail, RequestRow

from .routes import AnyRoute
from .schemas import EventList, JsonObject

REF = "#/components/schemas/{model}"
_Key = tuple[int, str]

ERROR: JsonObject = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param", "routerconsole"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "routerconsole": {
                    "type": "object",
                    "required": ["request_id", "attempts", "skipped"],
                    "properties": {
                        "request_id": {"type": "string"},
                        "attempts": {"type": "array", "items": {"type": "object"}},
                        "skipped": {"type": "array", "items": {"type": "object"}},
                    },
                },
            },
        }
    },
}
_REFUSALS = {
    "400": "The request is malformed",
    "401": "No valid token",
    "403": "The token or origin is not allowed this",
    "404": "There is no such thing",
    "405": "Another method is meant",
    "408": "The request did not arrive in time",
    "409": "The state is not what was assumed",
    "413": "The body is too large",
    "415": "The body is not `application/json`",
    "421": "The Host is not ours",
    "422": "Understood, and impossible",
    "429": "Too much at once",
    "431": "The headers are too large",
    "499": "Cancelled by an operator",
    "502": "No upstream answered",
    "503": "Not now; see Retry-After",
    "504": "The deadline passed",
}


def document(routes: Sequence[AnyRoute]) -> JsonObject:
    """Return the OpenAPI 3.1 document of a table."""
    schemas, components = _schemas(routes)
    paths: dict[str, JsonObject] = {}
    for number, route in enumerate(routes):
        operations = paths.setdefault(f"/api/v1/{route.path}", {})
        operations[route.method.lower()] = _operation(
            route, answer=schemas[number, "answer"], body=schemas[number, "body"]
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "RouterConsole control plane", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": ERROR},
            "securitySchemes": {
                "adminToken": {"type": "http", "scheme": "bearer"},
                "clientToken": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"adminToken": []}],
    }


def _schemas(routes: Sequence[AnyRoute]) -> tuple[dict[_Key, JsonObject], dict[str, JsonObject]]:
    """Return the schema of every route's answer and body, and what they refer to."""
    inputs: list[tuple[_Key, JsonSchemaMode, TypeAdapter[Any]]] = [
        (((-1), "row"), "serialization", TypeAdapter(RequestRow))
    ]
    for number, route in enumerate(routes):
        inputs.append(((number, "answer"), "serialization", TypeAdapter(route.answer)))
        inputs.append(((number, "body"), "validation", TypeAdapter(route.body)))
    found, shared = TypeAdapter.json_schemas(inputs, ref_template=REF)
    components: dict[str, JsonObject] = shared.get("$defs", {})
    for schema in components.values():
        _spell(schema)
    _inline_row(components)
    return {(key[0], key[1]): dict(schema) for (key, _), schema in found.items()}, components


def _spell(schema: JsonObject) -> None:
    """`class` is a Python keyword: the views say `class_`, the wire does not."""
    properties = schema.get("properties", {})
    if "class_" in properties:
        properties["class"] = properties.pop("class_")
        schema["required"] = ["class" if name == "class_" else name for name in schema["required"]]


def _inline_row(components: dict[str, JsonObject]) -> None:
    """A request's detail carries its row's fields itself."""
    row, detail = components[RequestRow.__name__], components[RequestDetail.__name__]
    del detail["properties"]["row"]
    detail["properties"] = {**row["properties"], **detail["properties"]}
    detail["required"] = [*row["required"], *(name for name in detail["required"] if name != "row")]


def _operation(route: AnyRoute, *, answer: JsonObject, body: JsonObject) -> JsonObject:
    media = {"application/json": {"schema": answer}}
    if route.answer is EventList:
        media["text/event-stream"] = {"schema": {"type": "string"}}
    responses: JsonObject = {str(route.status): {"description": "Done", "content": media}}
    refusal = {"application/json": {"schema": {"$ref": REF.format(model="Error")}}}
    responses.update({status: {"description": why, "content": refusal} for status, why in _REFUSALS.items()})
    operation: JsonObject = {
        "operationId": f"{route.method.lower()}_{route.path}".replace("/", "_").replace("{", "").replace("}", ""),
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": responses,
    }
    if route.takes_body:
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    if route.client_token:
        operation["security"] = [{"clientToken": []}, {"adminToken": []}]
    return operation


def _path_parameters(route: AnyRoute) -> list[JsonObject]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _query_parameters(route: AnyRoute) -> list[JsonObject]:
    fields = route.query.model_json_schema(ref_template=REF).get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in fields.items()]
