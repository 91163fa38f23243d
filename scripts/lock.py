"""
Writes beside each requirements file what it comes to: every package, with the hashes of all its files.

    python -m scripts.lock [--check] [--upgrade]

What is locked stays as it is until a requirements file or `--upgrade` asks for something else. A lock leaves to another
what its requirements file leaves to another (`-r`). `--check` writes nothing, and fails if something would be written.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_MIN = "3.11"
HEADER = "# Made by `make lock` from {name} ({digest}): every package, with the hashes of all its files.\n"

#: One package: its line, the hashes that belong to it, and the comments that say who asked for it.
PACKAGE = re.compile(
    r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+).*\n(?:[ ]+(?:--hash=sha256:[0-9a-f]{64}.*|#.*)\n)+", re.MULTILINE
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.lock", description="Lock what the requirements come to.")
    parser.add_argument("--check", action="store_true", help="Write nothing; fail if a lock is not what it should be.")
    parser.add_argument("--upgrade", action="store_true", help="Take the newest of what is not pinned by hand.")
    chosen = parser.parse_args(arguments)
    stale = []
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources():
            text = resolved(source, Path(scratch), upgrade=chosen.upgrade)
            if text == read(lock_of(source)):
                continue
            stale.append(lock_of(source).name)
            if not chosen.check:
                lock_of(source).write_text(text)
    print(f"{'Not what they come to' if chosen.check else 'Written'}: {', '.join(stale)}" if stale else "Up to date")
    return 1 if stale and chosen.check else 0


def sources() -> list[Path]:
    """Every requirements file, after those that it is on top of."""
    return sorted(ROOT.glob("requirements*.txt"), key=lambda source: (len(below(source)), source.name))


def below(source: Path) -> list[Path]:
    """The requirements files that this one is on top of, nearest first."""
    nearest = [ROOT / name for name in re.findall(r"^-r (\S+)", source.read_text(), re.MULTILINE)]
    return nearest + [deeper for path in nearest for deeper in below(path)]


def lock_of(source: Path) -> Path:
    return source.with_suffix(".lock")


def packages(source: Path) -> list[tuple[str, str]]:
    """The name and version of each package that a requirements file's own lock adds."""
    return PACKAGE.findall(read(lock_of(source)))


def digest(source: Path) -> str:
    """Changes with what is asked for, and not with the reasons."""
    asked = "\n".join(re.sub(r"#.*", "", path.read_text()) for path in [source, *below(source)])
    return hashlib.sha256(" ".join(asked.split()).encode()).hexdigest()[:16]


def resolved(source: Path, scratch: Path, *, upgrade: bool) -> str:
    """The text of a requirements file's lock; what the locks below it say, it takes over."""
    known = "".join(read(lock_of(path)) for path in below(source))
    said = re.sub(r"^-r .*\n", "", read(lock_of(source)), flags=re.MULTILINE)
    made, constraints = scratch / lock_of(source).name, scratch / "constraints.txt"
    made.write_text(said + known)
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in PACKAGE.findall(known)))
    options = ["--universal", "--python-version", PYTHON_MIN, "--generate-hashes", "--no-header", "--quiet"]
    command = [sys.executable, "-m", "uv", "pip", "compile", source.name, *options, "--constraints", str(constraints)]
    command += ["--output-file", str(made), *(["--upgrade"] if upgrade else [])]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    taken_over = {name for name, _ in PACKAGE.findall(known)}
    ours = [match for match in PACKAGE.finditer(made.read_text()) if match[1] not in taken_over]
    includes = [f"-r {lock_of(path).name}\n" for path in below(source)[:1]]
    # Who else asked for a package is no news: those comments would change with every file that is made on top.
    blocks = [re.sub(r"^ +#.*\n", "", match[0], flags=re.MULTILINE) for match in ours]
    return "".join([HEADER.format(name=source.name, digest=digest(source)), *includes, *blocks])


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
