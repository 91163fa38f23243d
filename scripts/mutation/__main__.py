"""
How many small mistakes in the code that moves money would be noticed: `python -m scripts.mutation [FILE ...]`.

Writes every mistake into a copy of the repository, collects the tests once, and for each mistake runs the tests that
come by its place until one fails. What was found is in docs/MUTATION.md; what survived is listed there. Takes hours for
everything; ends with 1 if a file's score is below the promise. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from scripts import desk, environment
from scripts.mutation.operators import Mistake, instrument
from scripts.mutation.runner import KILLED, OUTCOME, PROCESSES, TESTS_SECONDS_MAX, TOO_SLOW, UNREACHED, WORK
from scripts.mutation.switch import VARIABLE

HOME = environment.VAR / "mutation"
REPORT = environment.ROOT / "docs" / "MUTATION.md"
LEFT_OUT = shutil.ignore_patterns("var", ".venv", ".git", "__pycache__", ".*_cache", "staticfiles")
FILES = ("wallets/ledger.py", "core/db.py", "core/idempotency.py", "trading/margin/*.py")
TESTS = ("tests/core", "tests/wallets", "tests/trading", "tests/concurrency", "tests/faults")
PROMISED = 0.9
NOTICED = {KILLED, TOO_SLOW}
ALONE_SECONDS_MAX = 200
PYTEST = ["-m", "pytest", "-q", "-s", "-n0", "-p", "no:cacheprovider", "-o", "timeout=60"]
PLUGIN = ["-p", "scripts.mutation.runner"]


@dataclass(frozen=True, slots=True)
class Verdict:
    mistake: Mistake
    verdict: str
    by: str


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"Of {', '.join(FILES)}.")
    parser.add_argument("--lines", default="", metavar="FROM-TO", help="Only mistakes in these lines.")
    parser.add_argument("--again", action="store_true", help="Try again what survived.")
    options = parser.parse_args(arguments)
    tree, mistakes = copied()
    chosen = [one for one in mistakes if not options.files or any(one.path.startswith(file) for file in options.files)]
    if options.lines:
        first, _, last = options.lines.partition("-")
        chosen = [one for one in chosen if int(first) <= one.line <= int(last or first)]
    known = {key for key, (verdict, _) in outcomes().items() if not options.again or verdict in NOTICED}
    left = [one for one in chosen if one.key not in known]
    print(f"{len(chosen)} mistakes, {len(left)} of them to be tried", flush=True)
    if left:
        try_in_forks(tree, left)
    try_alone(tree, [one for one in left if outcomes()[one.key][0] == UNREACHED])
    found = outcomes()
    verdicts = [Verdict(one, *found[one.key]) for one in chosen if one.key in found]
    said = told(verdicts)
    print(said)
    if not options.files and not options.lines:
        REPORT.write_text(said)
    return 1 if any(share(few) < PROMISED for few in by_file(verdicts).values()) else 0


def sources() -> list[Path]:
    return [path for pattern in FILES for path in sorted(environment.ROOT.glob(pattern))]


def copied() -> tuple[Path, list[Mistake]]:
    """The repository with every mistake written beside what is right."""
    mistakes: list[Mistake] = []
    texts: dict[Path, str] = {}
    for path in sources():
        name = path.relative_to(environment.ROOT)
        texts[name], found = instrument(path.read_text(), str(name), len(mistakes) + 1)
        mistakes += found
    tree = HOME / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    for entry in tree.iterdir():
        if entry.name != "var":  # the tests' server there may be used again
            desk.delete(entry)
    shutil.copytree(environment.ROOT, tree, ignore=LEFT_OUT, symlinks=True, dirs_exist_ok=True)
    (tree / ".venv").symlink_to(environment.ROOT / ".venv")
    for name, text in texts.items():
        (tree / name).write_text(text)
    return tree, mistakes


def outcomes() -> dict[str, tuple[str, str]]:
    """What was found so far, also by earlier runs over the same files: the verdict, and which test gave it."""
    path = HOME / "outcome.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["key"]: (line["verdict"], line["by"]) for line in lines}


def try_in_forks(tree: Path, mistakes: Sequence[Mistake]) -> None:
    work = {"keys": {one.number: one.key for one in mistakes}, "tests": str(HOME / "tests.json")}
    run(tree, work, TESTS, {}, seconds=None)


def try_alone(tree: Path, chosen: Sequence[Mistake]) -> None:
    """What is made at import needs a process of its own: it gets tests that come by what is nearest to it."""
    tests = json.loads((HOME / "tests.json").read_text()) if chosen else []

    def judge(mistake: Mistake) -> str:
        names = _nearest(mistake, tests)
        if names:
            run(tree, {"mistake": mistake.key}, names, {VARIABLE: str(mistake.number)}, seconds=ALONE_SECONDS_MAX)
            if outcomes()[mistake.key][0] == UNREACHED:  # it did not even come to the tests, or never ended
                note(mistake.key, KILLED)
        return f"{outcomes()[mistake.key][0]}: {mistake.path} line {mistake.line}"

    with ThreadPoolExecutor(PROCESSES) as pool:
        for place, said in enumerate(pool.map(judge, chosen), start=1):
            print(f"alone {place} of {len(chosen)}, {said}", flush=True)


def _nearest(mistake: Mistake, tests: Sequence[dict[str, Any]]) -> list[str]:
    def nearness(one: dict[str, Any]) -> float:
        reached, seconds = set(one["reached"]), float(one["seconds"])
        return len(mistake.near & reached) / len(reached) / (1 + seconds)

    names, seconds = [], 0.0
    for one in sorted((one for one in tests if mistake.near & set(one["reached"])), key=nearness, reverse=True):
        if seconds + one["seconds"] < TESTS_SECONDS_MAX:
            seconds += one["seconds"]
            names.append(one["name"])
    return names


def note(key: str, verdict: str) -> None:
    with (HOME / "outcome.jsonl").open("a") as file:
        file.write(json.dumps({"key": key, "verdict": verdict, "by": ""}) + "\n")


def run(
    tree: Path, work: Mapping[str, object], tests: Sequence[str], variables: Mapping[str, str], *, seconds: float | None
) -> None:
    with NamedTemporaryFile("w", dir=HOME, prefix="work-", suffix=".json", delete=False) as file:
        json.dump(work, file)
    inherited = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "DESK_VAR"}}
    own = {WORK: file.name, OUTCOME: str(HOME / "outcome.jsonl"), **variables}
    leash = [sys.executable, "-m", "scripts.leash", "--supervisor", str(os.getpid()), "--"]
    command = [*leash, sys.executable, *PYTEST, *PLUGIN, *tests]
    try:
        subprocess.run(command, cwd=tree, env=inherited | own, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        print("it did not end")
    finally:
        Path(file.name).unlink()


def by_file(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    grouped: defaultdict[str, list[Verdict]] = defaultdict(list)
    for one in verdicts:
        path = one.mistake.path
        grouped["trading/margin/" if path.startswith("trading/margin/") else path].append(one)
    return dict(grouped)


def share(verdicts: Sequence[Verdict]) -> float:
    return sum(one.verdict in NOTICED for one in verdicts) / len(verdicts)


def told(verdicts: Sequence[Verdict]) -> str:
    lines = [
        "# How many small mistakes would be noticed",
        "",
        "`make mutation` writes small mistakes (`<` for `<=`, plus for minus, a line left out, a lock not taken,",
        "another operator in a statement) into a copy of the code that moves money, one at a time, and runs the tests",
        f"that come by until one fails, for {TESTS_SECONDS_MAX:.0f} seconds at most. It wrote this page.",
        "Assertions are left as they are, and what is like them: how a class is laid out, that two lists are as long.",
        "",
        "| file | mistakes | noticed | of them by never ending | not noticed | score |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    grouped = by_file(verdicts)
    for name, few in grouped.items():
        slow = sum(one.verdict == TOO_SLOW for one in few)
        missed = sum(one.verdict not in NOTICED for one in few)
        lines.append(f"| `{name}` | {len(few)} | {len(few) - missed} | {slow} | {missed} | {share(few):.1%} |")
    lines += ["", "## Not noticed", ""]
    for one in verdicts:
        if one.verdict not in NOTICED:
            mistake = one.mistake
            lines.append(f"- `{mistake.path}` line {mistake.line}: ``{mistake.before}`` → ``{mistake.after}``")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
