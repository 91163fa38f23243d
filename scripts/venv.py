"""
Makes .venv with what a requirements file asks for; instant when nothing changed, and safe to call twice at once.

    python3 scripts/venv.py requirements.txt

Needs nothing but an interpreter, and is written so that an old one can read it and say what is missing.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

PYTHON_MIN = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")


def main():  # type: () -> int
    if sys.version_info < PYTHON_MIN:
        return use_newer_python()
    requirements = sys.argv[1] if len(sys.argv) > 1 else "requirements.txt"
    stamp = os.path.join(VENV, "installed-" + requirements)
    wanted = requirements_hash()
    if read(stamp) == wanted:
        return 0
    os.makedirs(os.path.join(ROOT, "var"), exist_ok=True)
    with open(os.path.join(ROOT, "var", "venv.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second command waits here, and then finds the work done
        if read(stamp) == wanted:
            return 0
        print("Installing {} into .venv (once)".format(requirements), flush=True)
        status = install(requirements)
        if status == 0:
            with open(stamp, "w") as file:
                file.write(wanted)
        return status


def use_newer_python():  # type: () -> int
    for minor in range(20, PYTHON_MIN[1] - 1, -1):
        newer = shutil.which("python3.{}".format(minor))
        if newer:
            os.execv(newer, [newer, *sys.argv])
    found = "{}.{}".format(*sys.version_info[:2])
    sys.stderr.write("Python 3.11 or newer is needed, and python3 is {}: install one and try again.\n".format(found))
    return 1


def install(requirements):  # type: (str) -> int
    if os.path.exists(VENV) and not can_run(PYTHON):
        shutil.rmtree(VENV)  # made by an interpreter that is gone, or half made
    if not os.path.exists(VENV):
        made = subprocess.run([sys.executable, "-m", "venv", VENV], check=False)
        if made.returncode != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            sys.stderr.write("Python's venv module does not work; on Debian and Ubuntu: apt install python3-venv\n")
            return made.returncode
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    return subprocess.run([*pip, "-r", os.path.join(ROOT, requirements)], check=False).returncode


def can_run(python):  # type: (str) -> bool
    try:
        return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def requirements_hash():  # type: () -> str
    digest = hashlib.sha256(sys.version.encode())
    for name in sorted(os.listdir(ROOT)):
        if name.startswith("requirements") and name.endswith(".txt"):
            with open(os.path.join(ROOT, name), "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


def read(path):  # type: (str) -> str
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
