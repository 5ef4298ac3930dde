"""The changes of a module: each is one splice of its text.

Left alone are docstrings, prose, f-strings, annotations, decorators, lists of names, and calls of logs.
"""

from __future__ import annotations

import ast
import re
from hashlib import sha256
from itertools import accumulate
from typing import Any, Final, NamedTuple

__all__ = ["Mutant", "mutants_of", "sample"]

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
_LOGGING = re.compile(r"(\w*log\w*\.\w+|warnings\.warn)\Z", re.IGNORECASE)
_PROSE = re.compile(r"\w\W* \W*\w|.{25}", re.DOTALL)  # two words, or a long text
_LISTS_OF_NAMES = {"__all__", "__slots__"}


class Mutant(NamedTuple):
    """One change of a module; the old and new text are the lines that it touches, with single spaces."""

    line: int
    place: str
    old: str
    new: str
    source: str


class _Finder(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.source, self.text = source, source.encode()
        self.starts = [0, *accumulate(map(len, self.text.splitlines(keepends=True)))]
        self.place: tuple[str, ...] = ()
        self.found: list[Mutant] = []

    def add(self, node: ast.expr | ast.stmt, new: str | ast.expr) -> None:
        """Note that `new` stands where `node` stood."""
        last = node.end_lineno or node.lineno
        begin, end = self.starts[node.lineno - 1], self.starts[last]
        left = begin + node.col_offset
        right = self.starts[last - 1] + (node.end_col_offset or 0)
        spliced = new if isinstance(new, str) else f"({ast.unparse(new)})"
        lines = self.text[begin:left] + spliced.encode() + self.text[right:end]
        old, shown = (" ".join(text.decode().split()) for text in (self.text[begin:end], lines))
        source = (self.text[:begin] + lines + self.text[end:]).decode()
        if source != self.source:
            self.found.append(Mutant(node.lineno, ".".join(self.place), old, shown, source))

    def visit_scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        outside, self.place = self.place, (*self.place, node.name)
        if not isinstance(node, ast.ClassDef):
            self.visit(node.args)
        for statement in node.body:
            self.visit(statement)
        self.place = outside

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_scope  # noqa: N815  # names of ast

    def visit_arg(self, node: ast.arg) -> None:
        """Pass over the annotation of an argument."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Pass over f-strings: they are prose, and before Python 3.12 their parts have no true places."""

    def visit_Assign(self, node: ast.Assign) -> None:
        if not _LISTS_OF_NAMES & {target.id for target in node.targets if isinstance(target, ast.Name)}:
            self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if other := _ARITHMETIC.get(type(node.op)):
            self.add(node, ast.unparse(_with(node, op=other())))
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not (isinstance(node.value, ast.Name) and node.value.id == "Literal"):
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        if test not in {"TYPE_CHECKING", "__name__ == '__main__'"}:
            self.visit_condition(node)

    def visit_condition(self, node: ast.If | ast.IfExp | ast.While) -> None:
        self.add(node.test, "False")
        if not isinstance(node, ast.While):
            self.add(node.test, "True")
        self.generic_visit(node)

    visit_IfExp = visit_While = visit_condition  # noqa: N815  # names of ast

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.add(test, "True")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for place, operator in enumerate(node.ops):
            operators = [*node.ops[:place], _COMPARISONS[type(operator)](), *node.ops[place + 1 :]]
            self.add(node, _with(node, ops=operators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.add(node, _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And()))
        for place in range(len(node.values)):
            self.add(node, _with(node, values=[*node.values[:place], *node.values[place + 1 :]]))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.add(node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if other := _ARITHMETIC.get(type(node.op)):
            self.add(node, _with(node, op=other()))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool(value):
                self.add(node, repr(not value))
            case int(value) | float(value):
                self.add(node, repr(value + 1))
            case str(text) if not _PROSE.search(text):
                self.add(node, repr("XX" + text))
            case bytes(data):
                self.add(node, repr(b"XX" + data))
            case _:
                pass

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.add(node.value, "None")
            self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call) and not _LOGGING.match(ast.unparse(call.func)):
            self.add(node, "pass")
        if not isinstance(call, ast.Constant):
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if _LOGGING.match(name):
            return
        if name in {"min", "max"}:
            self.add(node.func, "max" if name == "min" else "min")
        for keyword in node.keywords:
            if keyword.arg is not None:
                rest = [other for other in node.keywords if other is not keyword]
                self.add(node, ast.unparse(_with(node, keywords=rest)))
        if name == "cast":
            node = _with(node, args=node.args[1:])
        self.generic_visit(node)


def _with(node: Any, **fields: object) -> Any:  # Any: a node has the fields of its class
    """Return a node like `node` but for some fields."""
    return ast.copy_location(type(node)(**{**dict(ast.iter_fields(node)), **fields}), node)


def mutants_of(source: str) -> list[Mutant]:
    """Return every change of a module, each once."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    return list({mutant.source: mutant for mutant in finder.found}.values())


def sample(mutants: list[Mutant], count: int, *, seed: int) -> list[Mutant]:
    """Return `count` of the changes, in their order; a later edit leaves the choice elsewhere as it was."""
    dealt = sorted(mutants, key=lambda it: sha256(repr((seed, it[1:4])).encode()).digest())
    for mutant in dealt[:count]:
        ast.parse(mutant.source)  # what is no Python would be killed without any test
    return sorted(dealt[:count])
