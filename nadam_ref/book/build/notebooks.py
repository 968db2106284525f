"""One notebook: what a source must be, what its executed form keeps, and which parameters it knows."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import user_path
from .. import BookError

#: Metadata and output that change from run to run although the results are the same.
VOLATILE_NOTEBOOK = ("papermill", "widgets")
VOLATILE_CELL = ("papermill", "execution")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
#: Parameters that are a path; empty is none. A notebook runs elsewhere, so it is given the whole path.
PATHS = ("store",)
INJECTED = "injected-parameters"
STAMP = "nadam_ref"


def read(path: Path) -> Any:
    """The notebook at `path`, in the current notebook format.

    Raises `BookError` where there is none, or what is there is no notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise BookError(f"{path} is in book/_toc.yml, but there is no such file") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, UnicodeDecodeError) as error:
        raise BookError(f"{path} is no notebook: {str(error).splitlines()[0]}") from None


def code_cells(notebook: Any) -> list[Any]:
    """The cells that hold code; an empty cell holds none."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def check_source(path: Path) -> None:
    """Refuse a source notebook with outputs, or without exactly one cell tagged `parameters`."""
    cells = read(path).cells
    tagged = [n for n, cell in enumerate(cells, 1) if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        cells_are = f"cells {', '.join(map(str, tagged))} are" if tagged else "none is"
        raise BookError(f"{path}: exactly one cell must be tagged `parameters`, {cells_are}")
    for n, cell in enumerate(cells, 1):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            raise BookError(f"{path}: cell {n} holds outputs; clear all outputs, the build makes them afresh")


def known_parameters(path: Path) -> dict[str, Any]:
    """The names a notebook's `parameters` cell assigns, with their defaults, as text where one is no literal."""
    import papermill

    return {name: _literal(about["default"]) for name, about in papermill.inspect_notebook(read(path)).items()}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def choose_parameters(
    known: Mapping[str, Mapping[str, Any]], profile: str, asked: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """What to inject into each notebook: of `profile` and what was `asked` for, what it knows and has another value of.

    `known`: for every notebook, its parameters with their defaults. Raises `BookError` where no notebook knows a name.
    """
    everywhere = sorted(set().union(*known.values()))
    for name in asked:
        if name not in everywhere:
            raise BookError(f"no notebook has a parameter `{name}`; the parameters are {', '.join(everywhere)}")
    wanted = {"profile": profile, **asked}
    return {
        notebook: {name: value for name, value in wanted.items() if name in defaults and defaults[name] != value}
        for notebook, defaults in known.items()
    }


def with_whole_paths(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, with those that are a path counted from the working directory."""
    return {name: str(user_path(str(x))) if name in PATHS and x else x for name, x in parameters.items()}


def normalise(notebook: Any) -> Any:
    """Drop, in place, what differs between two runs with the same results; then equal results are equal bytes."""
    for name in VOLATILE_NOTEBOOK:
        notebook.metadata.pop(name, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for name in VOLATILE_CELL:
            cell.metadata.pop(name, None)
        if INJECTED in cell.metadata.get("tags", []):
            cell["id"] = INJECTED
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    return notebook


def stamped(notebook: Any, key: str) -> str:
    """The text of an executed notebook that carries the key of everything its results depend on."""
    import nbformat

    notebook.metadata[STAMP] = {"key": key}
    return f"{nbformat.writes(notebook)}\n"  # type: ignore[no-untyped-call]


def fault(path: Path, key: str) -> str | None:
    """Why an executed notebook must not stand behind a page, or None: its results are whole and of this `key`."""
    try:
        notebook = read(path)
    except BookError as error:
        return str(error)
    if notebook.metadata.get(STAMP, {}).get("key") != key:
        return f"{path.name}: the results are stale, what they depend on has changed"
    if any(cell.execution_count is None for cell in code_cells(notebook)):
        return f"{path.name}: a code cell was not executed"
    return None
