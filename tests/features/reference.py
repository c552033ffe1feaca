"""The seven rules of `mlsys.features.view` in plain Python, one row at a time: slow, and nothing to be clever about."""

import math
import statistics
from typing import Any


def empty(value: Any) -> bool:
    "Rule 7: None and NaN are no value."
    return value is None or (isinstance(value, float) and math.isnan(value))


def same(found: Any, wanted: Any) -> bool:
    "Whether two values are the same feature."
    if empty(wanted):
        return found is None
    if isinstance(wanted, float) or isinstance(found, float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-6)
    return found == wanted


def order(value: Any) -> tuple:
    "Rule 3: an empty value is smaller than any other."
    return (0, 0) if empty(value) else (1, value + 0.0 if isinstance(value, float) else value)


def visible_rows(rows, view, entity, moment):
    "Rules 1 and 4: the rows of an entity that count at a moment. Times are whole microseconds."
    def known(row):
        return row[view.known_column] if view.known_column else row[view.event_time] + view.delay

    def has_come(*times):
        return all(time <= moment if view.closed == "right" else time < moment for time in times)

    def rank(row):
        return (known(row), row[view.event_time], *(order(row[name]) for name in view.columns))

    whole = [row for row in rows if known(row) is not None and not any(row[name] is None for name in view.entity)]
    if view.row_key:
        versions = {}
        for row in whole:
            if has_come(known(row)):
                versions.setdefault(tuple(row[name] for name in view.row_key), []).append(row)
        whole = [max(found, key=rank) for found in versions.values()]
    own = [row for row in whole if tuple(row[name] for name in view.entity) == entity]
    return [row for row in own if has_come(known(row), row[view.event_time])]


def newest(rows, view):
    "Rule 3: the row that gives the value of a column."
    def known(row):
        return row[view.known_column] if view.known_column else row[view.event_time]

    return max(rows, key=lambda row: (row[view.event_time], known(row), *(order(row[name]) for name in view.columns)))


def aggregate(function, rows, column, view):
    "Compute one figure over the rows of a window."
    if function == "count" and not column:
        return len(rows)
    with_value = [row for row in rows if not empty(row[column])]
    values = [row[column] for row in with_value]
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len(set(values))
    if function == "sum":
        return math.fsum(values)
    if not values:
        return None
    if function in ("mean", "rate"):
        return math.fsum(map(float, values)) / len(values)
    if function == "std":
        return statistics.stdev(map(float, values)) if len(values) > 1 else None
    if function == "last":
        return newest(with_value, view)[column]
    return min(values) if function == "min" else max(values)


def reference_features(rows, view, entity, moment):
    "Return the features of one entity at one moment, and the status of the view."
    names = {part["name"]: part for part in view.parts()}
    blank = {name: part["default"] for name, part in names.items()}
    if any(empty(value) for value in entity):
        return blank, "null_entity"
    seen = visible_rows(rows, view, entity, moment)
    if not seen:
        return blank, "unknown"
    from mlsys.features.view import duration

    last = newest(seen, view)
    if view.ttl and moment - last[view.event_time] > duration(view.ttl):
        return blank, "expired"
    values = {}
    for name, part in names.items():
        if part["function"] == "value":
            value = last[part["column"]]
        else:
            end = moment - part["offset"]
            start = -math.inf if part["window"] is None else end - part["window"]
            right = view.closed == "right"
            inside = [row for row in seen if (start < row[view.event_time] <= end if right else start <= row[view.event_time] < end)]
            value = aggregate(part["function"], inside, part["column"], view)
        values[name] = part["default"] if empty(value) else value
    return values, "known"
