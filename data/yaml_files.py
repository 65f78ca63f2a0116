"""YAML from strangers: plain values only, and no more of them than the file is long."""

from __future__ import annotations

from typing import Any

import yaml

LARGEST = 1_000_000  # values, each use of an alias counted


def load_yaml(text: str) -> Any:
    """Return the value of a YAML document; None for an empty one.

    A few lines in which each value names the last one nine times ("billion laughs") stand for more values than any
    memory holds. They are read in an instant, but not printed, compared or copied, so they are refused.

    Raises:
        ValueError: the text is not valid YAML, or not of plain values, or refers to itself, or is nested too deeply, or
            has more than `LARGEST` values, or a name stands twice in one place.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _size(node, {}, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise ValueError("not valid YAML (nested too deeply)") from None


def _size(node: yaml.Node, known: dict[yaml.Node, int], above: tuple[yaml.Node, ...]) -> int:
    """Count the values below a node, those of aliases as often as they are named."""
    if node in known:
        return known[node]
    if node in above:
        raise ValueError("not usable YAML (a value contains itself)")
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    nodes = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
    known[node] = 1 + sum(_size(part, known, (*above, node)) for part in nodes)
    if known[node] > LARGEST:
        raise ValueError(f"not usable YAML (aliases make more than {LARGEST:,} values of it)")
    return known[node]


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise ValueError if a name stands twice, of which YAML's reader would take the last one."""
    lines: dict[tuple[str, str], int] = {}
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        line, first = key.start_mark.line + 1, lines.get((key.tag, key.value))
        if first is not None:
            raise ValueError(
                f"not usable YAML ({key.value[:40]} stands twice, in lines {first} and {line}; delete one)"
            )
        lines[key.tag, key.value] = line
