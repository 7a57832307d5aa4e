"""OpenAPI 3.1, made from the operations that routes and checks are made from."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from metaport import __version__
from metaport.api import fields
from metaport.api.bodies import respond
from metaport.api.groups import GROUPS
from metaport.api.operations import ANYONE, LAID, Audience, Operation
from metaport.api.problems import TITLES, problem_type
from metaport.language import Say
from metaport.roles import TITLES as ROLES
from metaport.roles import Role

PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "pattern": "^/problems/[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_PARAMETER = re.compile(r"{(\w+)(?::([^}]+))?}")


async def describe(request: web.Request) -> web.Response:
    """Return the OpenAPI document."""
    return respond(build(request.app[LAID].values()))


OPERATIONS = (
    Operation(
        "GET", "/api/v1/openapi.json", describe, Say("이 문서", "This document"), ANYONE,
    ),
)  # fmt: skip


def build(operations: Iterable[Operation]) -> dict[str, Any]:
    """Build the document of those operations that are described."""
    described = [o for o in dict.fromkeys(operations) if o.described]
    refs, components = _schemas(s for o in described for s in (o.body, o.answer) if s is not None)
    paths: dict[str, Any] = {}
    for operation in described:
        path = _PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Metaport Chat", "version": __version__},
        "tags": [
            {"name": tag, "x-title": GROUPS.get(tag, Say(tag, tag))._asdict()}
            for tag in dict.fromkeys(map(_tag, described))
        ],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": PROBLEM},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "x-problems": [
            {
                "type": problem_type(reason),
                "status": status,
                "title": {"ko": korean, "en": english},
            }
            for reason, (status, korean, english) in sorted(
                TITLES.items(), key=lambda each: (each[1][0], each[0])
            )
        ],
        "x-roles": {role.value: ROLES[role]._asdict() for role in Role},
    }


Struct = type[msgspec.Struct]
Refs = dict[Struct, dict[str, Any]]


def _schemas(structs: Iterable[Struct]) -> tuple[Refs, dict[str, Any]]:
    """Return what refers to each struct, and the schemas; two of one name get longer ones."""
    kinds = list(dict.fromkeys(structs))
    refs, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    return dict(zip(kinds, refs, strict=True)), components


def _describe(operation: Operation, refs: Refs) -> dict[str, Any]:
    answer = refs[operation.answer] if operation.answer is not None else {}
    success: dict[str, Any] = {"description": "OK"}
    if operation.status != 204:
        success["content"] = {kind: {"schema": answer} for kind in operation.media_types}
    described: dict[str, Any] = {
        "summary": f"{operation.summary.ko} / {operation.summary.en}",
        "x-summary": operation.summary._asdict(),
        "operationId": _name(operation),
        "tags": [_tag(operation)],
        "responses": {
            str(operation.status): success,
            "default": {
                "description": "RFC 9457",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                },
            },
        },
    }
    if operation.body is not None or operation.takes != "application/json":
        schema = {"type": "string"} if operation.body is None else refs[operation.body]
        described["requestBody"] = {
            "required": not operation.bodiless,
            "content": {operation.takes: {"schema": schema}},
        }
    if operation.deprecated is not None:
        described["deprecated"] = True
        described["x-sunset"] = operation.deprecated.sunset.date().isoformat()
    if operation.who is not ANYONE:
        described["security"] = [{"bearer": sorted(operation.roles)}]
    if not isinstance(operation.who, Audience):
        described["x-permission"] = operation.who.value
    parameters = [
        *_of_path(operation.path),
        *_of_query(operation.query),
        *_of_manners(operation),
    ]
    if parameters:
        described["parameters"] = parameters
    return described


def _of_path(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"} | ({"pattern": f"^({pattern})$"} if pattern else {}),
        }
        for name, pattern in _PARAMETER.findall(path)
    ]


def _of_query(kind: Struct | None) -> list[dict[str, Any]]:
    if kind is None:
        return []
    [query] = msgspec.json.schema_components([kind])[1].values()
    required = query.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in query.get("properties", {}).items()
    ]


def _of_manners(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.narrows:
        words = f"members of the answer, as in `{fields.PARAMETER}=a,b.c`"
        yield _optional(fields.PARAMETER, "query", words, fields.MAX_CHARACTERS)
    if operation.makes:
        words = "done once under it, whoever repeats it within a day is told the same"
        yield _optional("Idempotency-Key", "header", words, 255)
    reads = operation.method == "GET"
    if operation.tagged and not operation.makes:
        yield _optional("If-None-Match" if reads else "If-Match", "header", "RFC 9110 §13.1")


def _optional(name: str, place: str, words: str, most: int | None = None) -> dict[str, Any]:
    schema = {"type": "string"} | ({} if most is None else {"maxLength": most})
    return {"name": name, "in": place, "required": False, "description": words, "schema": schema}


def _name(operation: Operation) -> str:
    """Return the name that generated clients call an operation by: the same on every build."""
    words = re.findall(r"\w+", _PARAMETER.sub(r"\1", operation.path.removeprefix("/api/v1/")))
    return "_".join([operation.method.lower(), *words])


def _tag(operation: Operation) -> str:
    """Return the group of an operation in the document: the module that declares it."""
    return operation.handler.__module__.rpartition(".")[2]
