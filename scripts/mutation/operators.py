"""
Small mistakes that people make: `<` for `<=`, plus for minus, a line left out, a lock not taken.

Each is written into the code beside what is right, as `mistake if on(7) else right`, so that one process that has
imported everything can make any of them. The usual library (mutmut) leaves out what is decorated, which here is the
arithmetic of margin, and reads no SQL, which here is where the locks are.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

SWITCH = "from scripts.mutation.switch import on as _on"

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
#: In SQL: what is looked for, and what stands there instead.
_SQL = (
    (" = ", " <> "),
    (" <> ", " = "),
    (" < ", " <= "),
    (" <= ", " < "),
    (" > ", " >= "),
    (" >= ", " > "),
    (" + ", " - "),
    (" - ", " + "),
    (" AND ", " OR "),
    (" OR ", " AND "),
    ("NOT ", ""),
    ("IS NULL", "IS NOT NULL"),
    ("IS NOT NULL", "IS NULL"),
    (" DESC", ""),
    ("LIMIT ", "OFFSET "),
    ("true", "false"),
    ("false", "true"),
)
_SQL_LEFT_OUT = re.compile(r"\n *(FOR NO KEY UPDATE|ORDER BY|WHERE|AND|OR) [^\n]*")
_IS_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|FROM|WHERE|ORDER BY|FOR NO KEY UPDATE)\b")
_NUMERAL = re.compile(r"-?\d+(\.\d+)?")

#: Arguments that say, like an assertion, what holds anyhow: how a class is laid out, that two lists are as long.
_ASSERTED = {"frozen", "slots", "kw_only", "strict"}

N = TypeVar("N", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One of them: `after` in place of `before`."""

    number: int
    key: str  # the same for as long as the file is
    path: str
    is_at_import: bool
    line: int
    before: str
    after: str
    near: frozenset[int] = frozenset()  # of one made at import: those in the functions that use what it is in


def instrument(source: str, path: str, first: int) -> tuple[str, list[Mistake]]:
    """The same module with every mistake beside what is right, numbered from `first`."""
    tree = ast.parse(source)
    writer = _Writer(path, first, hashlib.sha256(source.encode()).hexdigest()[:12])
    tree.body = writer.module(tree.body)
    place = next(
        index
        for index, node in enumerate(tree.body)
        if not (isinstance(node, ast.Expr) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"))
    )
    tree.body.insert(place, ast.parse(SWITCH).body[0])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n", [writer.with_near(one) for one in writer.mistakes]


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement of a module: what it defines, what it uses, and which mistakes are in it."""

    name: str
    uses: frozenset[str]
    numbers: range
    is_code: bool


def _defined(node: ast.stmt) -> str:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return ""


class _Writer(ast.NodeTransformer):
    def __init__(self, path: str, first: int, version: str) -> None:
        self.path, self.next, self.version = path, first, version
        self.mistakes: list[Mistake] = []
        self.depth = 0  # of functions: what is outside runs at import
        self.parts: list[_Part] = []

    def module(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Its statements, remembering of each what it defines, what it uses and which mistakes are in it."""
        written = []
        for node in body:
            uses = frozenset(one.id for one in ast.walk(node) if isinstance(one, ast.Name))
            name, start = _defined(node), self.next
            written.append(self._statement(node))
            is_code = isinstance(node, ast.FunctionDef | ast.ClassDef)
            self.parts.append(_Part(name, uses, range(start, self.next), is_code))
        return written

    def with_near(self, mistake: Mistake) -> Mistake:
        """The mistake with the others of its own statement, and with those of whatever uses what that defines."""
        own = next(part for part in self.parts if mistake.number in part.numbers)
        names, near = {own.name}, set(own.numbers)
        for part in self.parts:  # from above, so that what a constant is used for is known when its users are met
            if names & part.uses:
                near |= set(part.numbers)
                names |= set() if part.is_code else {part.name}
        return replace(mistake, near=frozenset(near))

    def statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self._statement(node) for node in body]

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr):
            return self._expression(node)
        return self._inside(node)

    def _inside(self, node: N) -> N:
        """The node with what it consists of rewritten, apart from what is no code."""
        if isinstance(node, ast.keyword) and node.arg in _ASSERTED:
            return node
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "bases", "type_params", "format_spec", "type", "ctx"}:
                continue
            if name in {"body", "orelse", "finalbody"} and isinstance(value, list):
                self.depth += isinstance(node, ast.FunctionDef)
                setattr(node, name, self.statements(value))
                self.depth -= isinstance(node, ast.FunctionDef)
            elif isinstance(value, list):
                setattr(node, name, [self.visit(one) if isinstance(one, ast.AST) else one for one in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def _statement(self, node: ast.stmt) -> ast.stmt:
        if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom):
            return node  # an assertion says what holds anyhow, and goes away under -O
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return node  # a docstring
        pristine = copy.deepcopy(node)
        node = self._inside(node)
        if self.depth:
            for mistake in _other_statements(pristine):
                node = ast.If(self._chosen(pristine, mistake), [mistake], [node])
        return node

    def _expression(self, node: ast.expr) -> ast.expr:
        if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            return self._inside(node)
        if isinstance(node, ast.JoinedStr):
            others: Sequence[ast.expr] = list(_other_templates(node))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self._inside(part)
        else:
            others = [copy.deepcopy(other) for other in _other_expressions(node, is_import=not self.depth)]
            pristine = copy.deepcopy(node)
            node = self._inside(node)
        right: ast.expr = node
        for other in others:
            shown = pristine if not isinstance(node, ast.JoinedStr) else node
            right = ast.IfExp(self._chosen(shown, other, line=node.lineno), other, right)
        return right

    def _chosen(self, before: ast.AST, after: ast.AST, *, line: int | None = None) -> ast.expr:
        number, self.next = self.next, self.next + 1
        at: int = line or before.__dict__.get("lineno", 0)
        key = f"{self.path} {self.version} {len(self.mistakes)}"
        said = _short(before, after), _short(after, before)
        self.mistakes.append(Mistake(number, key, self.path, not self.depth, at, *said))
        return ast.Call(ast.Name("_on", ast.Load()), [ast.Constant(number)], [])


def _other_statements(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Expr() | ast.Raise():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.AugAssign(op=op) if type(op) in _ARITHMETIC:
            other = copy.deepcopy(node)
            other.op = _ARITHMETIC[type(op)]()
            yield other
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If(test=test) if not (isinstance(test, ast.Compare) and type(test.ops[0]) not in _ORDERS):
            other_if = copy.deepcopy(node)
            other_if.test = ast.UnaryOp(ast.Not(), test)
            yield other_if
        case _:
            return


_ORDERS = {ast.Lt, ast.LtE, ast.Gt, ast.GtE}


def _other_expressions(node: ast.expr, *, is_import: bool) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                other = copy.deepcopy(node)
                other.ops[index] = _COMPARISONS[type(op)]()
                yield other
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Constant(value=value):
            yield from (ast.Constant(other) for other in _other_values(value, is_import=is_import))
        case _:
            return


def _other_values(value: object, *, is_import: bool) -> Iterator[bool | float | str]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str) and _NUMERAL.fullmatch(value):
        yield f"{value}1" if "." in value else str(int(value) + 1)
    elif isinstance(value, str) and _IS_SQL.search(value):
        yield from other_sql(value)
    elif isinstance(value, str) and not is_import:
        yield "" if value else "mistaken"


def _other_templates(node: ast.JoinedStr) -> Iterator[ast.JoinedStr]:
    said = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    if not _IS_SQL.search(said):
        return
    for index, part in enumerate(node.values):
        if isinstance(part, ast.Constant):
            for text in other_sql(str(part.value)):
                other = copy.deepcopy(node)
                other.values[index] = ast.Constant(text)
                yield other


def other_sql(text: str) -> Iterator[str]:
    """A statement with another operator, or without a lock, an order or a condition."""
    for right, wrong in _SQL:
        for found in re.finditer(re.escape(right), text):
            yield text[: found.start()] + wrong + text[found.end() :]
    for found in _SQL_LEFT_OUT.finditer(text):
        yield text[: found.start()] + text[found.end() :]


def _short(node: ast.AST, beside: ast.AST) -> str:
    """What a node says; of a long text the part that differs."""
    text, other = (_said(one) for one in (node, beside))
    if len(text) <= 100:
        return text
    start = next((at for at, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), 0)
    return f"…{text[max(0, start - 40) : start + 40]}…"


def _said(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).replace("\\n", " ").split())
