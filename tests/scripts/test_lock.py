"""What is installed is what was locked, file by file, and good news about it is only what somebody has said."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts import audit, lock, venv

SOURCES = [source.name for source in lock.sources()]


# --- Locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_lock_is_what_its_requirements_came_to(name: str) -> None:
    source = lock.ROOT / name
    text = lock.lock_of(source).read_text()
    assert text.startswith(lock.HEADER.format(name=name, digest=lock.digest(source))), "run `make lock`"
    assert re.findall(r"^-r (\S+)$", text, re.MULTILINE) == [lock.lock_of(path).name for path in lock.below(source)[:1]]
    locked = dict(found for path in [source, *lock.below(source)] for found in lock.packages(path))
    pinned = re.findall(r"^([\w.-]+)(?:\[[^]]+\])?==(\S+)", source.read_text(), re.MULTILINE)
    assert pinned
    assert [(wanted, version) for wanted, version in pinned if locked[wanted.lower()] != version] == []


def test_every_line_of_a_lock_is_a_package_with_hashes() -> None:
    for name in SOURCES:
        text = lock.lock_of(lock.ROOT / name).read_text()
        rest = re.sub(r"^(#|-r ).*\n", "", lock.PACKAGE.sub("", text), flags=re.MULTILINE)
        assert rest == "", name
        assert all("--hash=sha256:" in package[0] for package in lock.PACKAGE.finditer(text))


def test_no_package_is_locked_twice() -> None:
    """A requirements file and what it is on top of are installed one after the other: they have to agree."""
    for source in lock.sources():
        names = [package for path in {source, *lock.below(source)} for package, _ in lock.packages(path)]
        assert len(names) == len(set(names)) > 40, source.name


def test_whatever_installs_asks_for_the_hashes() -> None:
    makefile = (lock.ROOT / "Makefile").read_text()
    assert set(re.findall(r"scripts/venv\.py (\S+)", makefile)) == {lock.lock_of(Path(name)).name for name in SOURCES}
    assert "--require-hashes --only-binary :all: -r requirements.lock" in (lock.ROOT / "Dockerfile").read_text()


def test_a_file_that_is_not_the_one_locked_is_not_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "novel-1.0-py3-none-any.whl"
    files = {"novel.py": "", "novel-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: novel\nVersion: 1.0\n"}
    files["novel-1.0.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("novel-1.0.dist-info/RECORD", "\n".join([*record, "novel-1.0.dist-info/RECORD,,"]))

    def install(hashed: str) -> str:
        """What pip says."""
        wanted = tmp_path / "requirements.lock"
        wanted.write_text(f"novel==1.0{hashed}\n")
        where = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "into")]
        command = [sys.executable, "-m", "pip", "install", *venv.AS_LOCKED, *where, "-r", str(wanted)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    assert "DO NOT MATCH THE HASHES" in install(f" --hash=sha256:{'0' * 64}")
    assert "Hashes are required in --require-hashes mode" in install("")
    assert not (tmp_path / "into").exists()
    install(f" --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    assert (tmp_path / "into" / "novel.py").exists()


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


# --- What the services say --------------------------------------------------------------------------------------------

PACKAGES = {"django": "5.2.19", "tqdm": "4.70.1"}
SOUND = [{"name": "Django", "version": "5.2.19", "vulns": []}, {"name": "tqdm", "version": "4.70.1", "vulns": []}]


def test_nothing_known_of_any_package_is_good_news() -> None:
    assert audit.findings(json.dumps({"dependencies": SOUND}), PACKAGES) == []


def test_a_known_flaw_is_told_with_what_mends_it() -> None:
    flawed = SOUND[0] | {
        "vulns": [{"id": "PYSEC-1", "fix_versions": ["5.2.20"]}, {"id": "PYSEC-2", "fix_versions": []}]
    }
    assert audit.findings(json.dumps({"dependencies": [flawed, SOUND[1]]}), PACKAGES) == [
        "Django 5.2.19: PYSEC-1, mended in 5.2.20",
        "Django 5.2.19: PYSEC-2, mended in no version",
    ]


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Traceback",
        json.dumps({"dependencies": []}),
        json.dumps({"dependencies": SOUND[:1]}),
        json.dumps({"dependencies": [SOUND[0], {"name": "tqdm", "skip_reason": "not found"}]}),
    ],
)
def test_no_answer_is_no_good_news(said: str) -> None:
    assert audit.findings(said, PACKAGES) is None


# --- What a copy says -------------------------------------------------------------------------------------------------


def record(name: str = "Django", ecosystem: str = "PyPI", versions: Any = (), **more: Any) -> dict[str, Any]:
    events = [[{kind: at} for kind, at in course] for course in more.pop("courses", ())]
    ranges = [{"type": "ECOSYSTEM", "events": course} for course in events]
    package = {"name": name, "ecosystem": ecosystem}
    return {"id": "PYSEC-1", "affected": [{"package": package, "versions": list(versions), "ranges": ranges}], **more}


@pytest.mark.parametrize(
    "one,is_known",
    [
        (record(versions=["5.2.18", "5.2.19"]), True),
        (record(versions=["5.2.18"]), False),
        (record(courses=[[("introduced", "0"), ("fixed", "5.2.20")]]), True),
        (record(courses=[[("introduced", "0"), ("fixed", "5.2.19")]]), False),
        (record(courses=[[("introduced", "6.0")]]), False),
        (record(courses=[[("introduced", "5.2"), ("last_affected", "5.2.19")]]), True),
        (record(courses=[[("introduced", "5.2"), ("last_affected", "5.2.9")]]), False),
        (record(courses=[[("introduced", "0"), ("fixed", "4.2"), ("introduced", "5.0"), ("fixed", "5.2.30")]]), True),
        (record(courses=[[("introduced", "0"), ("fixed", "4.2")], [("introduced", "5.1")]]), True),
        (record(courses=[[("introduced", "0"), ("fixed", "who knows")]]), True),
        (record(name="django_", versions=["5.2.19"]), False),
        (record(name="DJANGO", versions=["5.2.19"]), True),
        (record(ecosystem="npm", versions=["5.2.19"]), False),
        (record(versions=["5.2.19"], withdrawn="2026-01-01T00:00:00Z"), False),
    ],
)
def test_a_copy_is_read_as_the_services_would(one: dict[str, Any], is_known: bool) -> None:
    assert list(audit.known_of(PACKAGES, [one])) == (["django 5.2.19: PYSEC-1"] if is_known else [])


def test_a_copy_is_a_folder_or_a_zip_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no records"):
        list(audit.known_of(PACKAGES, audit.records(tmp_path)))
    text = json.dumps(record())
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "PYSEC-1.json").write_text(text)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("PYSEC-1.json", text)
    assert list(audit.records(tmp_path)) == list(audit.records(tmp_path / "all.zip")) == [record()]
