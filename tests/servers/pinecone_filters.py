"""Conditions on metadata, in the query language of Pinecone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

Metadata = dict[str, Any]


class FilterError(ValueError):
    """A condition that is not of the language."""


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_in(value: object, wanted: Sequence[object]) -> bool:
    """Whether a value, or any of a list of values, is among these; 1 and true differ."""
    values = value if isinstance(value, list) else [value]
    return any(v == w and isinstance(v, bool) == isinstance(w, bool) for v in values for w in wanted)


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    return lambda value, bound: is_number(value) and compare(value, bound)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, wanted: is_in(value, [wanted]),
    "$ne": lambda value, wanted: not is_in(value, [wanted]),
    "$in": is_in,
    "$nin": lambda value, wanted: not is_in(value, wanted),
    "$gt": ordered(lambda a, b: a > b),
    "$gte": ordered(lambda a, b: a >= b),
    "$lt": ordered(lambda a, b: a < b),
    "$lte": ordered(lambda a, b: a <= b),
    "$exists": lambda value, wanted: (value is not None) is wanted,
}


def check_operand(operator: str, operand: object) -> None:
    """Refuse an operator that is not known, or a value that it cannot take."""
    if operator not in OPERATORS:
        raise FilterError(f"{operator} is not a valid operator")
    if operator in ("$in", "$nin"):
        fits = isinstance(operand, list) and all(isinstance(v, str) or is_number(v) for v in operand)
    elif operator == "$exists":
        fits = isinstance(operand, bool)
    elif operator in ("$eq", "$ne"):
        fits = isinstance(operand, str | bool) or is_number(operand)
    else:
        fits = is_number(operand)
    if not fits:
        raise FilterError(f"the {operator} operator does not take {json.dumps(operand)}")


def matcher(condition: object) -> Callable[[Metadata], bool]:
    """A filter as a function of a record's metadata; an empty one fits all."""
    if not isinstance(condition, dict):
        raise FilterError("a filter must be an object")
    parts = [_part(key, value) for key, value in condition.items()]
    return lambda metadata: all(fits(metadata) for fits in parts)


def _part(key: str, value: object) -> Callable[[Metadata], bool]:
    """One entry of a filter: a combination of filters, or the conditions on one field."""
    if key in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            raise FilterError(f"the {key} operator must be followed by a list of objects")
        inner, every = [matcher(each) for each in value], all if key == "$and" else any
        return lambda metadata: every(fits(metadata) for fits in inner)
    if key.startswith("$"):
        raise FilterError(f"{key} is not allowed at this level")
    conditions = value if isinstance(value, dict) else {"$eq": value}
    for operator, operand in conditions.items():
        check_operand(operator, operand)
    return lambda metadata: all(OPERATORS[name](metadata.get(key), operand) for name, operand in conditions.items())
