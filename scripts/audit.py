"""
Asks what is known about every locked package, and writes down what the desk is made of.

    python -m scripts.audit [--advisories COPY]

First that the locks are what the requirements come to, and that every Python and machine we run on finds a wheel whose
hash is there. Then the advisory services are asked, one after the other until one has answered for every package; or
instead a COPY of their records in OSV's form, a folder or a zip, where no service can be reached. The bill of
materials goes to var/sbom.json. Exit status 1 if anything is wrong, 2 if nobody could be asked: then nothing is shown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from scripts import environment, lock

SBOM = environment.VAR / "sbom.json"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
SERVICES = ("pypi", "osv")
UNANSWERED = 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.audit", description="Ask about every locked package.")
    parser.add_argument("--advisories", type=Path, metavar="COPY", help="Records in OSV's form, to be read instead.")
    chosen = parser.parse_args(arguments)
    packages = locked()
    print(f"{len(packages)} packages are locked", flush=True)
    found_wheels = [has_wheels(python, machine) for python in PYTHONS for machine in MACHINES]
    if lock.main(["--check"]) != 0 or not all(found_wheels):
        return 1
    write_sbom()
    if chosen.advisories is not None:
        found = list(known_of(packages, records(chosen.advisories)))
    else:
        answer = asked(packages)
        if answer is None:
            print("No advisory service has answered for every package, so nothing is known about them", file=sys.stderr)
            return UNANSWERED
        found = answer
    for one in found:
        print(f"VULNERABLE  {one}")
    print(f"{len(found)} known vulnerabilities in {len(packages)} packages")
    return 1 if found else 0


def locked() -> dict[str, str]:
    """Every package of every lock, with its version."""
    return {name: version for source in lock.sources() for name, version in lock.packages(source)}


def has_wheels(python: str, machine: str) -> bool:
    """Whether an installation there would find a file of every package whose hash is locked."""
    everything = [argument for source in lock.sources() for argument in ("-r", lock.lock_of(source).name)]
    options = ["--dry-run", "--target", str(environment.VAR / "nowhere"), "--only-binary", ":all:", "--require-hashes"]
    where = ["--python", sys.executable, "--python-version", python, "--python-platform", machine]
    command = [sys.executable, "-m", "uv", "pip", "install", *options, *where, *everything]
    done = subprocess.run(command, cwd=environment.ROOT, capture_output=True, text=True, check=False)
    print(f"  Python {python} on {machine}: {'wheels for all' if done.returncode == 0 else done.stderr}", flush=True)
    return done.returncode == 0


def write_sbom() -> None:
    """What is installed with the desk, as CycloneDX; what tests and checks take is none of it."""
    SBOM.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "requirements",
        "requirements.lock",
        "--pyproject",
        "pyproject.toml",
    ]
    command += ["--output-format", "JSON", "--output-file", str(SBOM)]
    subprocess.run(command, cwd=environment.ROOT, check=True)
    bill = json.loads(SBOM.read_text())
    for component in bill["components"]:
        del component["description"]  # the lines of the lock, which the fields say better
    SBOM.write_text(json.dumps(bill, indent=1) + "\n")
    print(f"{SBOM}: {len(bill['components'])} components", flush=True)


# --- Those who can be reached -----------------------------------------------------------------------------------------


def asked(packages: dict[str, str]) -> list[str] | None:
    """What the first service that knows every package has to say about them; None if there is none."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        # Without the conditions: what another Python needs is asked about here, too.
        listed.writelines(f"{name}=={version}\n" for name, version in packages.items())
        listed.flush()
        for service in SERVICES:
            print(f"  asking {service}", flush=True)
            options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
            command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, *options]
            done = subprocess.run([*command, "-r", listed.name], capture_output=True, text=True, check=False)
            answer = findings(done.stdout, packages)
            if answer is not None:
                return answer
            said = (done.stderr.strip() or "nothing said").splitlines()[-1][:200]
            print(f"  {service} did not answer for every package: {said}", flush=True)
    return None


def findings(text: str, packages: dict[str, str]) -> list[str] | None:
    """What pip-audit found, read from its JSON; None where it passed over a package, which it takes for good news."""
    try:
        answered = {entry["name"]: entry for entry in json.loads(text)["dependencies"] if "vulns" in entry}
    except (ValueError, KeyError):
        return None
    if {canonicalize_name(name) for name in answered} != set(packages):
        return None
    return [
        f"{name} {entry['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for name, entry in answered.items()
        for flaw in entry["vulns"]
    ]


# --- A copy -----------------------------------------------------------------------------------------------------------


def records(copy: Path) -> Iterator[dict[str, Any]]:
    """Every record of a copy: a folder of JSON files, or a zip of them."""
    if copy.is_dir():
        yield from (json.loads(path.read_bytes()) for path in sorted(copy.rglob("*.json")))
        return
    with zipfile.ZipFile(copy) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def known_of(packages: dict[str, str], of: Iterable[dict[str, Any]]) -> Iterator[str]:
    """
    What the records know of these versions.

    :raises SystemExit: if there is not one record, which is no good news either
    """
    count = 0
    for record in of:
        count += 1
        if "withdrawn" in record:
            continue
        for affected in record.get("affected", []):
            package = affected.get("package", {})
            name = canonicalize_name(package.get("name", ""))
            if package.get("ecosystem") == "PyPI" and name in packages and is_affected(packages[name], affected):
                yield f"{name} {packages[name]}: {record['id']}"
    if count == 0:
        raise SystemExit("the copy holds no records")
    print(f"{count:,} records read")


def is_affected(version: str, affected: dict[str, Any]) -> bool:
    """Whether the version is listed, or lies in a range from where a flaw came in to where it was mended."""
    if version in affected.get("versions", []):
        return True
    events = [one["events"] for one in affected.get("ranges", []) if one.get("type") == "ECOSYSTEM"]
    return any(_is_within(Version(version), course) for course in events)


def _is_within(version: Version, course: list[dict[str, str]]) -> bool:
    is_in = False
    for kind, at in sorted(_readable(course), key=itemgetter(1)):
        if kind == "introduced" and version >= at:
            is_in = True
        if (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            is_in = False
    return is_in


def _readable(course: list[dict[str, str]]) -> Iterator[tuple[str, Version]]:
    """Each event with its version. Where that is none, what came in was always there, and what went never did."""
    for event in course:
        ((kind, at),) = event.items()
        try:
            yield kind, Version(at)
        except InvalidVersion:
            if kind == "introduced":
                yield kind, Version("0.dev0")


if __name__ == "__main__":
    sys.exit(main())
