"""Read a YAML file that a person wrote, and say everything that is wrong with it at once.

Knows YAML and how pydantic complains; knows nothing of what a file means.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import Problem, did_you_mean


def read_yaml(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The mapping in a file, or an empty one and the problem that kept it from being read."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return {}, [Problem(f"line {line}", f"is not YAML: {error.problem or error.context}")]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return {}, [Problem("file", f"cannot be read: {_reason(error)}")]
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        return {}, [Problem("file", "must hold `field: value` lines")]
    return values, []


def problems_of(invalid: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Each complaint of pydantic with its place; a complaint about the whole is left out.

    What a model says about several fields together is checked by its caller on the raw values, so
    that it is reported beside the rest.
    """
    complaints = [error for error in invalid.errors() if error["loc"]]
    seen: dict[str, Problem] = {}
    for error in complaints:
        where = _place(error["loc"])
        seen.setdefault(where, Problem(where, _words(error, model)))
    return list(seen.values())


def headline(path: Path, problems: list[Problem], project: Path) -> str:
    """`assets/topics.yaml has 2 problems`."""
    shown = path.relative_to(project) if path.is_relative_to(project) else path
    return f"{shown} has {len(problems)} problem{'' if len(problems) == 1 else 's'}"


def unknown(name: str, known: Iterable[str], place: str) -> str:
    """`'newz' is not in assets/topics.yaml. Did you mean 'news'?`"""
    return f"'{name}' {place}.{did_you_mean(name, known)}"


def _place(location: tuple[int | str, ...]) -> str:
    # Members of a union are part of pydantic's location and mean nothing to the reader.
    parts = [part for part in location if not (isinstance(part, str) and "[" in part)]
    return "".join(
        f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in parts
    ).lstrip(".")


def _words(error: Any, model: type[BaseModel]) -> str:
    match error["type"]:
        case "extra_forbidden":
            name = str(error["loc"][-1])
            return f"is not a field here.{did_you_mean(name, model.model_fields)}"
        case "missing":
            return "is missing"
        case _:
            said = str(error["msg"]).removeprefix("Value error, ")
            shown = error["input"]
            if isinstance(shown, str | int | float) and repr(shown) not in said:
                return f"{shown!r}: {said[:1].lower()}{said[1:]}"
            return said[:1].lower() + said[1:]


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
