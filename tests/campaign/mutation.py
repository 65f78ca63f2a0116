"""Damage to files: bytes, words, and values inside JSON, YAML, XML and NumPy archives."""

from __future__ import annotations

import copy
import io
import json
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import yaml

DEEP = 3000  # nested lists, more than Python's stack takes
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        "",
        " ",
        "0",
        "-1",
        "x",
        "1e400",
        "nan",
        "\x00",
        "\ud7ff\u202e",
    ),
    *(0, 1, -1, 2**31, -(2**31), 2**63, 10**400, 0.5, -0.5, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *("../../x", "/etc/hostname", "C:\\x\\y.jpg", "a/b", "con", ".", "..", "~", "x" * 5000, "file:///etc/hostname"),
    *("http://127.0.0.1:9/x.jpg", "|id", "$(id)", "<script>", "é", "١٢"),
)
WORDS = (
    "-1",
    "0",
    "1e309",
    "nan",
    "inf",
    "99999999999999999999",
    "",
    "x",
    "../../x",
    "/etc/hostname",
    "a" * 3000,
    "\x00",
)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

Mutator = Callable[[bytes, Random], bytes]


def mutate(data: bytes, suffix: str, rng: Random) -> bytes:
    """Damage the contents of a file with this suffix; what is left may be readable."""
    inside = {".json": _in_json, ".yaml": _in_yaml, ".xml": _in_xml, ".npz": _in_npz}.get(suffix)
    text = suffix in {".json", ".yaml", ".xml", ".txt", ".csv"}
    kinds: list[Mutator] = [_bytes, *[_words] * (2 * text), *[inside] * (4 * bool(inside))]
    try:
        changed = rng.choice(kinds)(data, rng)
    except (ValueError, LookupError, RecursionError, OverflowError, ElementTree.ParseError, yaml.YAMLError, TypeError):
        changed = data
    return changed if changed != data else _bytes(data, rng)


def _bytes(data: bytes, rng: Random) -> bytes:
    """Flip, overwrite, cut, repeat or insert bytes."""
    out = bytearray(data or b"\x00")
    start = rng.randrange(len(out))
    length = min(len(out) - start, rng.choice((1, 1, 4, 16, 64, 1024)))
    kind = rng.randrange(8)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 2, 20))):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[start : start + length] = bytes([rng.choice((0, 0xFF, 0x20))]) * length
    elif kind == 2:
        out[start : start + length] = rng.randbytes(length)
    elif kind == 3:
        del out[start:]
    elif kind == 4:
        del out[start : start + length]
    elif kind == 5:
        out[start:start] = out[start : start + length] * rng.choice((1, 2, 50))
    elif kind == 6:
        out[start:start] = rng.randbytes(length)
    else:
        width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
        value = rng.choice(EXTREMES) & ((1 << (8 * width)) - 1)
        out[start : start + width] = value.to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(out)


def _words(data: bytes, rng: Random) -> bytes:
    """Replace a word, repeat, drop or swap lines, or write the text in another encoding."""
    text, kind = data.decode("utf-8"), rng.randrange(6)
    lines = text.split("\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    if kind == 0:
        return text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32", "utf-16-le", "utf-7")))
    if kind == 1:
        lines[i:i] = [lines[j]] * rng.choice((1, 2, 100))
    elif kind == 2:
        del lines[i]
    elif kind == 3:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        parts = lines[i].replace(",", " , ").replace(">", " > ").replace("<", " < ").split(" ")
        parts[rng.randrange(len(parts))] = rng.choice(WORDS)
        lines[i] = "".join(p if p in "<>," else f"{p} " for p in parts).strip()
    return "\n".join(lines).encode()


def _nodes(tree: Any) -> list[tuple[Any, Any]]:
    """All (container, key) of a tree of dicts and lists."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        found += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    return found


def _in_tree(tree: Any, rng: Random) -> Any:
    """Change, drop, repeat or rename some values of a tree of dicts and lists."""
    tree = {"": copy.deepcopy(tree)}
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        node, key = rng.choice(_nodes(tree) or [(tree, "")])
        kind, value = rng.randrange(8), rng.choice(VALUES)
        if kind == 0 and key != "":
            del node[key]
        elif kind == 1 and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        elif kind == 2 and isinstance(node, dict) and key != "":
            node[str(value)[:50]] = node.pop(key)
        elif kind == 3:
            other, name = rng.choice(_nodes(tree))
            node[key] = copy.deepcopy(other[name])
        else:
            node[key] = copy.deepcopy(value)
    return tree.get("")


def _in_json(data: bytes, rng: Random) -> bytes:
    text = json.dumps(_in_tree(json.loads(data), rng))
    if rng.random() < 0.02:
        return text.replace("1", "[" * DEEP + "]" * DEEP, 1).encode()
    if rng.random() < 0.02:
        return text.replace("1", "9" * 5000, 1).encode()  # more digits than int() takes
    return text.encode()


def _in_yaml(data: bytes, rng: Random) -> bytes:
    text = yaml.safe_dump(_in_tree(yaml.safe_load(data), rng), sort_keys=False, allow_unicode=True)
    if rng.random() < 0.05:
        bombs = (
            "a: &a [1]\n",
            "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '1'] * 9)}]\n" for i in range(9)),
        )
        text += rng.choice((*bombs, "c: &c [*c]\n", "!!python/object/apply:os.system [id]\n", "- " * DEEP + "1\n"))
    return text.encode()


def _in_xml(data: bytes, rng: Random) -> bytes:
    root = ElementTree.fromstring(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        parent = rng.choice([e for e in root.iter() if len(e)] or [root])
        child, kind = rng.choice(list(parent) or [root]), rng.randrange(6)
        if kind == 0 and child is not root:
            parent.remove(child)
        elif kind == 1:
            parent.append(copy.deepcopy(child))
        elif kind == 2:
            child.tag = rng.choice(("name", "bndbox", "xmin", "size", "object", "image", "box", "x"))
        elif kind == 3 and child.attrib:
            child.attrib[rng.choice(list(child.attrib))] = rng.choice(WORDS).replace("\x00", "")
        else:
            child.text = rng.choice(WORDS).replace("\x00", "")
    text = ElementTree.tostring(root, encoding="unicode")
    if rng.random() < 0.05:
        head = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname"><!ENTITY b "bbbbbbbb">]>'
        text = head + text.replace("</", rng.choice(("&e;</", "&b;" * 99 + "</")), 1)
    return text.encode()


def _in_npz(data: bytes, rng: Random) -> bytes:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = dict(archive)
    name = rng.choice(list(arrays))
    array, kind = np.array(arrays[name]), rng.randrange(9)
    if array.dtype == np.uint8 and array.tobytes()[:1] in (b"{", b"[") and kind > 2:
        arrays[name] = np.frombuffer(_in_json(array.tobytes(), rng), np.uint8)
    elif kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = array.astype(rng.choice(("f8", "f2", "i1", "u8", "U3", "c8", "?")), casting="unsafe")
    elif kind == 2:
        arrays[name] = array[: len(array) // 2] if array.ndim else array.reshape(1)
    elif kind == 3:
        arrays[name] = array.reshape(-1) if array.ndim else np.stack([array, array])
    elif kind == 4:
        arrays[name] = array[::-1].copy() if array.ndim else array
    elif kind == 5:
        return _with_member(arrays, rng.choice(("../../x.npy", "object.npy")), rng)
    elif array.size and array.dtype.kind in "fiu":
        values = (np.nan, np.inf, -np.inf, 1e38, -1e38) if array.dtype.kind == "f" else (-1, 2**31 - 1, 0, 127)
        array.flat[rng.randrange(array.size)] = rng.choice(values)
        arrays[name] = array
    else:
        other = rng.choice(list(arrays))
        arrays[name] = arrays[other]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _with_member(arrays: dict[str, Any], member: str, rng: Random) -> bytes:
    """An archive in which one array is Python objects, or a member climbs out of its folder."""
    buffer, objects = io.BytesIO(), io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    np.save(objects, np.array([{"a": 1}, None], object), allow_pickle=True)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(rng.choice((member, f"{rng.choice(list(arrays))}.npy")), objects.getvalue())
    return buffer.getvalue()
