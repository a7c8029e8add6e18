"""TensorRT's interface as its bindings declare it, to hold the code to where it cannot run.

The bindings know every class, member and signature, also without a GPU and without the libraries.
A :class:`Stand` has the members of one of their classes and no others, takes the arguments that
they take, and gives what they say they give.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.libraries import make_library

LIBRARIES = {
    "nvinfer": (
        "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL", "getBuilderPluginRegistry", "getPluginRegistry",
    ),
    "nvonnxparser": (
        "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL",
        "getNvOnnxParserVersion",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
}  # fmt: skip
"""What ``tensorrt``'s bindings are linked with, and what they need of it to be imported."""


def make_libraries(folder: Path, major: int) -> None:
    """Stubs of :data:`LIBRARIES`, which do nothing, for the bindings of that version."""
    for name, symbols in LIBRARIES.items():
        source = "".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols)
        make_library(folder, f"lib{name}.so.{major}", source)


class Parameter(NamedTuple):
    name: str
    type: str
    needed: bool


class Signature(NamedTuple):
    parameters: list[Parameter]
    returns: str


def signatures(member: Any) -> list[Signature]:
    """Of a method of pybind11's, all its overloads; or of a property's getter or setter."""
    text = member.__doc__ or ""
    found = re.findall(r"^(?:\d+\. )?\w*\((.*)\) -> (.+)$", text, re.M)
    return [Signature(parameters(arguments), returns.strip()) for arguments, returns in found]


def parameters(text: str) -> list[Parameter]:
    """``self`` is left out."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text + ","):
        depth += (letter in "[(<{") - (letter in "])>}")
        if letter == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    found = []
    for part in filter(None, parts):
        name, _, rest = part.partition(":")
        kind, default, _ = rest.partition("=")
        if name.strip() not in ("self", "arg0", "*args", "**kwargs"):
            found.append(Parameter(name.strip(), kind.strip(), not default))
    return found


Answer = Callable[..., Any]


class Interface(types.ModuleType):
    """The bindings ``module``. ``answers``: what members do, by ``Class.member``, given the stand
    and the arguments; ``hidden``: names that are to be as if the bindings had none such; ``used``:
    the members that were asked for."""

    STOOD = ("Builder", "OnnxParser", "Runtime")

    def __init__(
        self,
        module: types.ModuleType,
        answers: Mapping[str, Answer],
        hidden: Collection[str] = (),
    ) -> None:
        super().__init__(module.__name__)
        self.module, self.answers, self.hidden = module, dict(answers), hidden
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        self.note(name)
        if name in self.STOOD:
            return lambda *args, **kwargs: self.construct(found, args, kwargs)
        return Enumeration(self, found) if hasattr(found, "__members__") else found

    def note(self, member: str) -> None:
        if member in self.hidden:
            raise AttributeError(f"{self.module.__name__} has no attribute {member!r}")
        self.used.add(member)

    def construct(self, kind: Any, args: Any, kwargs: Any) -> Stand:
        self.check(f"{kind.__name__}()", signatures(kind.__init__), args, kwargs)
        made = Stand(self, kind)
        made.__dict__["_arguments"] = args
        return made

    def check(self, what: str, known: list[Signature], args: Any, kwargs: Any) -> Signature:
        """The overload that takes the arguments. Raises ``TypeError`` as pybind11 does."""
        assert known, f"{what}: the bindings do not say what it takes"
        for one in known:
            if self.takes(one, args, kwargs):
                return one
        raise TypeError(f"{what}: incompatible function arguments {args} {kwargs}; takes {known}")

    def takes(self, one: Signature, args: Any, kwargs: Any) -> bool:
        names = [parameter.name for parameter in one.parameters]
        if len(args) > len(names) or set(kwargs) - set(names[len(args) :]):
            return False
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return all(
            self.fits(given[parameter.name], parameter.type)
            if parameter.name in given
            else not parameter.needed
            for parameter in one.parameters
        )

    def fits(self, value: Any, kind: str) -> bool:
        name = re.split(r"\.|::", kind)[-1]
        if kind in PLAIN:
            return isinstance(value, PLAIN[kind]) and not (kind != "bool" and value is True)
        if isinstance(value, Stand):
            return name in (base.__name__ for base in value._kind.__mro__)
        known = getattr(self.module, name, None)
        return known is not None and isinstance(value, known)

    def made(self, what: str, kind: str) -> Any:
        """What a member gives that nobody has an answer for."""
        if kind in GIVEN:
            return GIVEN[kind]
        name = re.split(r"\.|::", kind)[-1]
        name = "ParserError" if name == "IParserError" else name
        known = getattr(self.module, name, None)
        if known is None:
            raise AssertionError(f"{what} gives {kind}: say what in the answers")
        return Stand(self, known)


PLAIN: dict[str, Any] = {
    "int": int, "typing.SupportsInt": int, "bool": bool, "str": str,
    "float": (int, float), "bytes": bytes, "typing_extensions.Buffer": (bytes, bytearray),
    "collections.abc.Buffer": (bytes, bytearray), "buffer": (bytes, bytearray),
}  # fmt: skip
GIVEN: dict[str, Any] = {"None": None, "bool": True, "int": 1, "str": "text"}


class Enumeration:
    """An enumeration of the bindings, whose members are its own."""

    def __init__(self, interface: Interface, kind: Any) -> None:
        self.__dict__.update(interface=interface, kind=kind)

    def __getattr__(self, name: str) -> Any:
        if name != "__members__":
            self.interface.note(f"{self.kind.__name__}.{name}")
        return getattr(self.kind, name)


class Stand:
    """An object of the bindings' class ``kind``."""

    def __init__(self, interface: Interface, kind: Any) -> None:
        self.__dict__.update(_interface=interface, _kind=kind)

    def __getattr__(self, name: str) -> Any:
        interface, kind = self._interface, self._kind
        if name.startswith("__"):
            raise AttributeError(name)
        what = f"{kind.__name__}.{name}"
        interface.note(what)
        member = getattr(kind, name)  # as the bindings have it, or AttributeError
        answer = interface.answers.get(what)
        if isinstance(member, property):
            if answer is not None:
                return answer(self)
            return interface.made(what, signatures(member.fget)[0].returns)

        def call(*args: Any, **kwargs: Any) -> Any:
            found = interface.check(what, signatures(member), args, kwargs)
            if answer is not None:
                return answer(self, *args, **kwargs)
            return interface.made(what, found.returns)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        what = f"{self._kind.__name__}.{name}"
        self._interface.note(what)
        member = getattr(self._kind, name)
        if not isinstance(member, property) or member.fset is None:
            raise AttributeError(f"{what} cannot be set")
        declared = signatures(member.fset)
        if declared:
            self._interface.check(what, declared, (value,), {})

    def __bytes__(self) -> bytes:
        """Of what can be read as a buffer."""
        assert self._kind.__name__ == "IHostMemory", f"{self._kind.__name__} is no memory"
        content: bytes = self.__dict__.get("_content", b"content")
        return content
