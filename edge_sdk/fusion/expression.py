"""Expressions of rules: a small typed language over predictions, in Python's own syntax, checked when loaded.

``smoke.p > 0.8 and temp.value > 57``. Each contributor has the fields of `FIELDS`; ``hour`` is the hour of day, UTC.
There are numbers, texts, comparisons, ``and or not``, ``+ - * /``, ``in (…)``, ``min max abs``; nothing can be called
or reached that is not in this file, nothing loops, and every name and type is checked before the first prediction.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge_sdk.base.errors import ConfigError, nearest

Kind = Literal["number", "text", "truth"]
Facts = Mapping[str, Mapping[str, Any]]

FIELDS: Mapping[str, Kind] = {
    "p": "number",  # probability of its first choice
    "label": "text",  # its first choice
    "value": "number",  # its estimate
    "std": "number",  # deviation of the estimate
    "age_s": "number",  # how old its window is, seconds
    "state": "text",  # fresh, stale, absent, rejected, failed
    "fresh": "truth",  # whether it counts
}
_STATES = ("fresh", "stale", "absent", "rejected", "failed")
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


_Test = Callable[[Facts], "bool | None"]


class _NotKnownError(LookupError):
    """A field that has no value now, such as an absent contributor's estimate."""


@dataclass(frozen=True, slots=True)
class _Part:
    kind: Kind
    run: Callable[[Facts], Any]


class Expression:
    """One condition, parsed and type-checked.

    What is not known (an absent contributor's value, a division by zero) makes a comparison unknown, and Kleene's
    logic carries that on: ``unknown or true`` is true, ``unknown and true`` is unknown, ``not unknown`` is unknown.
    A rule whose condition is unknown does not hold. Ask for ``state`` or ``fresh`` to act on absence.

    Args:
        text: The condition.
        contributors: Names that may be used.
        labels: Labels that a contributor can give; empty = not checked.

    Raises:
        ConfigError: It is no condition; the message shows the text with a mark under the place.
    """

    def __init__(self, text: str, contributors: Sequence[str], labels: Sequence[str] = ()) -> None:
        self.text = text
        self._contributors = tuple(contributors)
        self._labels = tuple(labels)
        try:
            body = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            column = (getattr(error, "offset", None) or 1) - 1
            raise self._error(column, f"cannot be read: {getattr(error, 'msg', error)}") from None
        part = self._part(body)
        if part.kind != "truth":
            raise self._error(body.col_offset, f"is a {part.kind}, wanted is a condition such as 'x.p > 0.5'")
        self._run = part.run

    def holds(self, facts: Facts) -> bool:
        """Whether it holds, given each contributor's fields and ``{"": {"hour": …}}``."""
        return self._run(facts) is True

    def _error(self, column: int, problem: str) -> ConfigError:
        text = self.text.strip()
        return ConfigError(f"Rule {problem}, at column {column + 1}:\n  {text}\n  {' ' * column}^")

    def _part(self, node: ast.expr) -> _Part:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._field(node)
        if isinstance(node, ast.BoolOp):
            parts = [self._wanted(value, "truth").run for value in node.values]
            decisive = isinstance(node.op, ast.Or)  # the value that settles it, whatever the others are
            return _Part("truth", lambda facts: _joined([run(facts) for run in parts], decisive))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self._wanted(node.operand, "truth").run
            return _Part("truth", lambda facts: _opposite(inner(facts)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            negated = self._wanted(node.operand, "number").run
            return _Part("number", lambda facts: -negated(facts))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._wanted(node.left, "number").run, self._wanted(node.right, "number").run
            act = _ARITHMETIC[type(node.op)]
            return _Part("number", lambda facts: act(left(facts), right(facts)))
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self._error(node.col_offset, f"uses {type(node).__name__}, which rules do not have")

    def _wanted(self, node: ast.expr, kind: Kind) -> _Part:
        part = self._part(node)
        if part.kind != kind:
            raise self._error(node.col_offset, f"has a {part.kind} where a {kind} is wanted")
        return part

    def _constant(self, node: ast.Constant) -> _Part:
        value = node.value
        if isinstance(value, bool):
            return _Part("truth", lambda _: value)
        if isinstance(value, (int, float)):
            return _Part("number", lambda _: value)
        if isinstance(value, str):
            return _Part("text", lambda _: value)
        raise self._error(node.col_offset, f"holds {value!r}; wanted are numbers and texts")

    def _name(self, node: ast.Name) -> _Part:
        if node.id == "hour":
            return _Part("number", lambda facts: facts[""]["hour"])
        if node.id in self._contributors:
            raise self._error(
                node.col_offset, f"names {node.id!r} without a field; say {node.id}.p, or one of {', '.join(FIELDS)}"
            )
        raise self._error(
            node.col_offset, f"names {node.id!r}, which is unknown. {nearest(node.id, [*self._contributors, 'hour'])}"
        )

    def _field(self, node: ast.Attribute) -> _Part:
        if not isinstance(node.value, ast.Name):
            raise self._error(node.col_offset, "reaches into something; wanted is CONTRIBUTOR.FIELD")
        name, field = node.value.id, node.attr
        if name not in self._contributors:
            raise self._error(node.col_offset, f"names {name!r}, which is unknown. {nearest(name, self._contributors)}")
        if field not in FIELDS:
            column = node.end_col_offset or 0
            raise self._error(column - len(field), f"asks for {field!r}, which is no field. {nearest(field, FIELDS)}")

        def run(facts: Facts) -> Any:
            value = facts[name][field]
            if value is None:
                raise _NotKnownError(name, field)
            return value

        return _Part(FIELDS[field], run)

    def _comparison(self, node: ast.Compare) -> _Part:
        tests: list[_Test] = []
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            if isinstance(op, (ast.In, ast.NotIn)):
                tests.append(self._membership(left, right, wanted=isinstance(op, ast.In)))
                continue
            compare = _COMPARE.get(type(op))
            if compare is None:
                raise self._error(right.col_offset, f"uses {type(op).__name__}, which rules do not have")
            one = self._part(left)
            other = self._wanted(right, one.kind)
            if one.kind != "number" and not isinstance(op, (ast.Eq, ast.NotEq)):
                raise self._error(left.col_offset, f"puts a {one.kind} in order; only numbers have one")
            self._check_text(left, right)
            self._check_text(right, left)
            tests.append(_compared(compare, one.run, other.run))
        return _Part("truth", lambda facts: _joined([test(facts) for test in tests], False))

    def _membership(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> _Test:
        one = self._part(left)
        if not isinstance(right, (ast.Tuple, ast.List)):
            raise self._error(right.col_offset, "wants a list behind 'in', such as ('a', 'b')")
        items = [self._wanted(item, one.kind).run for item in right.elts]
        for item in right.elts:
            self._check_text(left, item)
        return _compared(lambda value, among: (value in among) is wanted, one.run, lambda f: [i(f) for i in items])

    def _check_text(self, field: ast.expr, text: ast.expr) -> None:
        """A state or label that does not exist would make a rule that never holds."""
        if not isinstance(field, ast.Attribute) or not isinstance(text, ast.Constant):
            return
        known = {"state": _STATES, "label": self._labels}.get(field.attr, ())
        if known and text.value not in known:
            raise self._error(
                text.col_offset,
                f"compares with {text.value!r}, which is no {field.attr}. {nearest(str(text.value), known)}",
            )

    def _call(self, node: ast.Call) -> _Part:
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
            name = node.func.id if isinstance(node.func, ast.Name) else "that"
            raise self._error(node.col_offset, f"calls {name!r}, which is unknown. {nearest(name, _FUNCTIONS)}")
        act, single = _FUNCTIONS[node.func.id], node.func.id == "abs"
        if single != (len(node.args) == 1) or not node.args:
            raise self._error(
                node.col_offset,
                f"gives {node.func.id} {len(node.args)} numbers; abs takes one, min and max two or more",
            )
        parts = [self._wanted(argument, "number").run for argument in node.args]
        return _Part("number", lambda facts: act(*[run(facts) for run in parts]))


def _compared(compare: Callable[[Any, Any], bool], one: Callable[[Facts], Any], other: Callable[[Facts], Any]) -> _Test:
    def test(facts: Facts) -> bool | None:
        try:
            return compare(one(facts), other(facts))
        except (_NotKnownError, ZeroDivisionError):
            return None

    return test


def _joined(values: Sequence[bool | None], decisive: bool) -> bool | None:
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def _opposite(value: bool | None) -> bool | None:
    return None if value is None else not value
