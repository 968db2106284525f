"""Change one thing in a module and see whether a test fails; then the next thing.

    pip install --no-deps --target _build/cosmic-ray cosmic-ray stevedore
    PYTHONPATH=_build/cosmic-ray .venv/bin/python -W ignore tests/mutation.py                # all, half an hour
    PYTHONPATH=_build/cosmic-ray .venv/bin/python -W ignore tests/mutation.py rules kernels

The operators that make mutants are those of cosmic-ray, which is not among the pins. To start Python with torch takes
longer than most tests do, so that happens once, and each mutant is a fork. A mutant within a function replaces the code
of that function after the tests were collected; for one outside of functions the package is imported and the tests are
collected again. Then the tests that reach the function run until one fails or they have had `BUDGET` seconds.

Nothing is written into the checkout but the counts, `tests/mutation.json`. What survives is printed.
Where no test can tell it from the original, say why in that file, under `equivalent`; then it is not tried again. The
exit code is 1 while there are others.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import importlib.abc
import importlib.metadata
import importlib.util
import inspect
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import coverage
import hypothesis
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.provider import OperatorProvider

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests" / "mutation.json"
#: Seconds of tests that a mutant has to survive, as they take without it.
BUDGET = 4.0
#: Seconds of CPU time after which a mutant counts as one that does not end.
LIMIT = 10 + 3 * BUDGET
#: Bytes of address space that it may take.
MEMORY = 6 << 30


def _tests(folder: str, names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/test_{name}" for name in names.split())


#: The tests that are to notice the mutants of some modules.
TESTS = {
    ("rules", "kernels"): _tests("core", "rules kernels"),
    ("state",): _tests("core", "state optimizer rows conformance_state refused_steps"),
    ("experiments/statistics/intervals", "experiments/statistics/significance"): _tests(
        "experiments", "intervals significance"
    ),
    (
        "experiments/statistics/summary",
        *(f"experiments/verdicts/{name}" for name in ("arms", "claims", "measures", "report", "seed_luck", "verdicts")),
    ): _tests("experiments", "summary verdicts claims report arms measures choices"),
}

#: One other operator for each, and the neighbour where there is an order: more of them are killed by a TypeError alone.
OPERATORS = (
    *(f"ReplaceBinaryOperator_{x}" for x in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{x}" for x in ("BitOr_BitAnd", "BitAnd_BitOr", "Mod_Mul")),
    *(f"ReplaceComparisonOperator_{x}" for x in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{x}" for x in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt")),
    *(f"ReplaceComparisonOperator_{x}" for x in ("Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")),
    *("ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not", "AddNot"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *("NumberReplacer", "RemoveDecorator", "ExceptionReplacer"),
)

#: Imported once, before any fork; not the package.
HEAVY = (
    "torch",
    "torch._dynamo",
    "torch.testing._internal.common_optimizers",
    "scipy.stats",
    "mpmath",
    "sympy",
    "yaml",
)


# ---------------------------------------------------------------- mutants


@dataclass
class Mutant:
    """A changed module: its first changed line as it was and as it is, and the lines of the function that it is in."""

    module: str
    line: int
    was: str
    now: str
    code: CodeType
    function: range | None  # None: outside of functions

    @property
    def key(self) -> tuple[str, str, str]:
        """What the record knows it by."""
        return self.module, self.was, self.now


def path(module: str) -> Path:
    return ROOT / "nadam_ref" / f"{module}.py"


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module whose code differs from the original's and from the other mutants'."""
    source = path(module).read_text(encoding="utf-8")
    compiled = functools.partial(compile, filename=str(path(module)), mode="exec", dont_inherit=True)
    original = compiled(source)
    seen, found, nodes = {_text(original)}, [], list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = OperatorProvider()[name]()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, ((line, column), _) in enumerate(places):
            if any(first <= (line, column) < last for first, last in _annotations(source)):
                continue
            changed = MutationVisitor.mutate_code(source, operator, occurrence)
            try:
                code = compiled(changed)
            except SyntaxError:
                continue
            if (text := _text(code)) not in seen:
                seen.add(text)
                was, now = source.splitlines(), changed.splitlines()
                gone = len(now) < len(was)  # a decorator with its line
                changes = was[line - 1].strip(), "" if gone else now[line - 1].strip()
                found.append(Mutant(module, line, *changes, code, _function(original, code)))
    return sorted(found, key=lambda mutant: mutant.line)


def unchanged(module: str) -> Mutant:
    code = compile(path(module).read_text(encoding="utf-8"), path(module), "exec", dont_inherit=True)
    return Mutant(module, 0, "", "", code, range(sys.maxsize))


@functools.cache
def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations are, which are never evaluated."""
    nodes = [getattr(node, name, None) for node in ast.walk(ast.parse(source)) for name in ("annotation", "returns")]
    return [
        ((x.lineno, x.col_offset), (x.end_lineno or 0, x.end_col_offset or 0)) for x in nodes if isinstance(x, ast.expr)
    ]


def _text(code: CodeType) -> str:
    """What runs, without where it is in the source."""
    consts = [_text(x) if isinstance(x, CodeType) else x for x in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_exceptiontable, consts))


def _functions(code: CodeType) -> Iterator[CodeType]:
    """The functions and methods of a module, in order."""
    for x in code.co_consts:
        if isinstance(x, CodeType):
            if x.co_flags & inspect.CO_OPTIMIZED:
                yield x
            else:
                yield from _functions(x)  # the body of a class


def _function(original: CodeType, code: CodeType) -> range | None:
    """The lines within the one function that differs; None where something else does."""
    pairs = list(zip(_functions(original), _functions(code), strict=True))
    differ = [a for a, b in pairs if _text(a) != _text(b)]
    if len(differ) != 1 or _around(original) != _around(code):
        return None
    return range(differ[0].co_firstlineno + 1, _last_line(differ[0]) + 1)


def _around(code: CodeType) -> str:
    """The text of a module without its functions."""
    consts = [x for x in code.co_consts if not (isinstance(x, CodeType) and x.co_flags & inspect.CO_OPTIMIZED)]
    consts = [_around(x) if isinstance(x, CodeType) else x for x in consts]
    return repr((code.co_code, code.co_names, consts))


def _last_line(code: CodeType) -> int:
    nested = [_last_line(x) for x in code.co_consts if isinstance(x, CodeType)]
    return max([line or 0 for *_, line in code.co_lines()] + nested)


# ---------------------------------------------------------------- processes


def in_child(work: Callable[[], Any], seconds: float = 0.0) -> Any:
    """What `work` returns in a fork; None where it died, or took more CPU time than `seconds` if that is not 0."""
    read, write = os.pipe()
    if not (child := os.fork()):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                os.write(write, json.dumps(work()).encode())
        except BaseException:
            if not seconds:
                traceback.print_exc()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def run(tests: Sequence[str], plugin: object) -> None:
    files = [str(ROOT / "tests" / f"{name}.py") for name in tests]
    pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *files], [plugin])


def fails(items: Sequence[pytest.Item]) -> bool:
    """Whether one of these tests does; they run up to that one."""
    from _pytest.runner import runtestprotocol

    for item, after in zip(items, [*items[1:], None], strict=True):
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=after)):
            return True
    return False


Reached = dict[str, tuple[float, dict[str, list[int]]]]


@dataclass
class Reference:
    """How long each test takes, and which lines of some modules it reaches."""

    modules: Sequence[str]
    reached: Reached = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        paths = [str(path(module)) for module in self.modules]
        measured = coverage.Coverage(data_file=None, config_file=False, include=paths)
        measured.start()
        for item in session.items:
            measured.switch_context(item.nodeid)
            start = time.process_time()
            assert not fails([item]), item.nodeid
            self.reached[item.nodeid] = time.process_time() - start, {}
        measured.stop()
        for module, file in zip(self.modules, paths, strict=True):
            for line, contexts in measured.get_data().contexts_by_lineno(file).items():
                for context in filter(None, contexts):
                    self.reached[context][1].setdefault(module, []).append(line)
        return True


def chosen(items: Sequence[pytest.Item], mutant: Mutant, reached: Reached) -> list[pytest.Item]:
    """The tests for a mutant, for `BUDGET` seconds: those that reach its function, first those that reach its line.

    Of these the shortest case of each test comes first, then the second of each: cases of one test are much alike.
    """
    known = [(item, *reached.get(item.nodeid, (0.0, {}))) for item in items]
    ordered, cases = [], Counter[str]()
    for item, seconds, lines in sorted(known, key=lambda x: x[1]):
        at = lines.get(mutant.module, [])
        if mutant.function is None or any(line in mutant.function for line in at):
            test = item.nodeid.partition("[")[0]
            cases[test] += 1
            ordered.append((mutant.line not in at, cases[test], seconds, item))
    tests, spent = [], 0.0
    for _, _, seconds, item in sorted(ordered, key=lambda x: x[:3]):
        spent += seconds
        if tests and spent > BUDGET:
            break
        tests.append(item)
    return tests


@dataclass
class Within:
    """Tries mutants of functions, each in a fork of the session that has collected the tests."""

    mutants: Sequence[Mutant]
    reached: Reached
    survived: list[int] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        everything = gc.get_objects()
        functions = [x for x in everything if type(x) is FunctionType]  # to ask some for their class is deprecated
        caches = [x for x in everything if type(x) is functools._lru_cache_wrapper]
        caches = [x for x in caches if str(x.__module__).startswith("nadam_ref")]
        del everything
        gc.freeze()  # or each fork would copy what it looks at
        for i, mutant in enumerate(self.mutants):
            tests = chosen(session.items, mutant, self.reached)

            def survives(mutant: Mutant = mutant, tests: Sequence[pytest.Item] = tests) -> bool:
                codes = {code.co_firstlineno: code for code in _functions(mutant.code)}
                for function in functions:
                    old = function.__code__
                    if old.co_filename == str(path(mutant.module)) and old.co_firstlineno in codes:
                        function.__code__ = codes[old.co_firstlineno]
                for cache in caches:
                    cache.cache_clear()
                return not fails(tests)

            if not tests or in_child(survives, LIMIT):
                self.survived.append(i)
        return True


@dataclass
class Outside:
    """Tries a mutant that the package is imported with."""

    mutant: Mutant
    reached: Reached
    survived: bool = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.survived = not (session.testsfailed or fails(chosen(session.items, self.mutant, self.reached)))
        return True


class Import(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the code of a mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = f"nadam_ref.{mutant.module.replace('/', '.')}"

    def find_spec(self, name: str, *_: Any) -> Any:
        if name == self.name:
            return importlib.util.spec_from_file_location(name, path(self.mutant.module), loader=self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.mutant.code, module.__dict__)


# ---------------------------------------------------------------- the whole


def survivors(
    modules: Sequence[str], tests: Sequence[str], explained: set[tuple[str, str, str]]
) -> tuple[list[Mutant], list[Mutant]]:
    """All mutants of some modules, and those that neither the tests notice nor the record explains."""

    def reference() -> Reached:
        plugin = Reference(modules)
        run(tests, plugin)
        return plugin.reached

    def within(mutants: Sequence[Mutant]) -> list[int]:
        plugin = Within(mutants, reached)
        run(tests, plugin)
        return plugin.survived

    def outside(mutant: Mutant) -> bool:
        sys.meta_path.insert(0, Import(mutant))
        plugin = Outside(mutant, reached)
        run(tests, plugin)
        return plugin.survived

    everything = [mutant for module in modules for mutant in mutants(module)]
    tried = [mutant for mutant in everything if mutant.key not in explained]
    reached = in_child(reference)
    # The first is no mutant: it has to survive.
    inner = [unchanged(modules[0]), *(mutant for mutant in tried if mutant.function is not None)]
    outer = [unchanged(modules[0]), *(mutant for mutant in tried if mutant.function is None)]
    left = [inner[i] for i in in_child(functools.partial(within, inner))]
    left += [mutant for mutant in outer if in_child(functools.partial(outside, mutant), LIMIT)]
    assert [mutant.line for mutant in left].count(0) == 2, f"the tests fail without a mutant: {', '.join(tests)}"
    return everything, [mutant for mutant in left if mutant.line]


def prepare(cache: str) -> None:
    """Import what takes long, and keep the tests to themselves."""
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "XDG_CACHE_HOME": cache}
    sys.dont_write_bytecode = True
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    settings = hypothesis.settings(derandomize=True, database=None, phases=phases)
    hypothesis.settings.register_profile("mutation", settings)
    hypothesis.settings.load_profile("mutation")
    for module in HEAVY:
        importlib.import_module(module)


def main(names: Sequence[str]) -> int:
    """Try the mutants of the modules named, or of all; print the survivors that the record does not explain."""
    exit_code = 0
    for group, tests in TESTS.items():
        if modules := [module for module in group if not names or module.split("/")[-1] in names]:
            explained = {(x["module"], x["line"], x["mutant"]) for x in recorded()["equivalent"]}
            everything, left = survivors(modules, tests, explained)
            record = recorded()
            for module in modules:
                made = [mutant for mutant in everything if mutant.module == module]
                equivalent = sum(mutant.key in explained for mutant in made)
                killed = len(made) - equivalent - sum(mutant.module == module for mutant in left)
                record["modules"][module] = {"mutants": len(made), "killed": killed, "equivalent": equivalent}
                print(module, record["modules"][module], flush=True)
            write(record)
            for mutant in left:
                exit_code = 1
                print(f"{mutant.module}.py:{mutant.line}: {mutant.was}\n    {mutant.now}", flush=True)
    return exit_code


def recorded() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def write(record: dict[str, Any]) -> None:
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    record |= {"tool": f"cosmic-ray {importlib.metadata.version('cosmic-ray')}", "commit": git.stdout.strip()}
    part = RECORD.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(RECORD)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        prepare(cache)
        sys.exit(main(sys.argv[1:]))
