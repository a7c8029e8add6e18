"""YAML in which nothing means what it does not look like."""

from __future__ import annotations

import re
from typing import Any

import yaml

OCTAL = re.compile(r"[-+]?0[0-9_]+")
SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its surprises: a key given twice, numbers to the base of 8 or 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise _error(key, f"the key {key.value!r} is given twice; remove one of them")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        if OCTAL.fullmatch(text):
            number = text.lstrip("+-0") or "0"
            raise _error(
                node, f"{text!r} would be read to the base of 8; write {number}, or quote it"
            )
        if SEXAGESIMAL.fullmatch(text):
            raise _error(node, f"{text!r} would be read to the base of 60; write a plain number")
        if node.tag.endswith(":int"):
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)


for tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{tag}", _Loader.construct_number)


def _error(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def load(text: str) -> Any:
    """The plain values that ``text`` holds. Raises ``yaml.YAMLError``."""
    return yaml.load(text, Loader=_Loader)


def has_comment(text: str) -> bool:
    """Whether a part of a single line, which is valid YAML, would be left out as a comment."""
    tokens = (token for token in yaml.scan(text) if token.start_mark.index < token.end_mark.index)
    return max((token.end_mark.index for token in tokens), default=0) < len(text.rstrip())
