"""`fields=`: only some members of an answer, named as paths: `fields=rooms.room,next`.

A path goes through lists. A member that the answer's struct does not have is refused.
"""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import inspect

from metaport.api.operations import OPERATION
from metaport.api.problems import Handler, Problem

# Percent-encoded they are twelve times as long, and a request line has 8 KiB.
MAX_CHARACTERS = 500

PARAMETER = "fields"
# A member to None is wanted whole.
Tree = dict[str, Any]


def read_fields(raw: str, kind: type[msgspec.Struct]) -> Tree:
    """Return what is wanted of an answer. Raises `Problem`: `bad-request`."""
    if len(raw) > MAX_CHARACTERS:
        raise Problem("bad-request", f"fields: at most {MAX_CHARACTERS} characters")
    tree: Tree = {}
    for path in raw.split(","):
        _want(tree, path.strip(), inspect.type_info(kind))
    return tree


def _want(tree: Tree, path: str, kind: inspect.Type) -> None:
    *parents, last = path.split(".")
    for name in parents:
        kind = _member(kind, name, path)
        if name in tree and tree[name] is None:
            return  # wanted whole already
        tree = tree.setdefault(name, {})
    _member(kind, last, path)
    tree[last] = None


def _member(kind: inspect.Type, name: str, path: str) -> inspect.Type:
    members = _members(kind)
    if name not in members:
        known = ", ".join(sorted(members)) or "nothing"
        raise Problem("bad-request", f"fields: {path!r} is not told; there is {known}")
    return members[name]


def _members(kind: inspect.Type) -> dict[str, inspect.Type]:
    match kind:
        case inspect.StructType():
            return {field.encode_name: field.type for field in kind.fields}
        case inspect.ListType() | inspect.VarTupleType():
            return _members(kind.item_type)
        case inspect.UnionType():
            return {name: each for option in kind.types for name, each in _members(option).items()}
    return {}


def narrowed(value: Any, tree: Tree | None) -> Any:
    """Return what is wanted of a decoded answer."""
    if tree is None:
        return value
    if isinstance(value, list):
        return [narrowed(each, tree) for each in value]
    if isinstance(value, dict):
        return {name: narrowed(value[name], tree[name]) for name in value if name in tree}
    return value


@web.middleware
async def narrow(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take out of an answer what was not asked for. Raises `Problem`: `bad-request`."""
    raw = request.query.get(PARAMETER)
    operation = request.get(OPERATION, None)
    if raw is None or operation is None or not operation.narrows:
        return await handler(request)
    tree = read_fields(raw, operation.answer)
    response = await handler(request)
    if response.status == 200 and isinstance(response, web.Response):
        assert isinstance(response.body, bytes)
        whole = msgspec.json.decode(response.body)
        response.body = msgspec.json.encode(narrowed(whole, tree))
    return response
