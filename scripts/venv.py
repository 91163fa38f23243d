"""
Makes .venv with what a lock names, each file by its hash; instant when nothing changed, and safe to call twice at once.

    python3 scripts/venv.py requirements.lock

Needs nothing but an interpreter, and is written so that an old one can read it and say what is missing.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

PYTHON_MIN = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")

#: Each file is the one that was locked, and none is built here: nothing of a package runs before it is used.
AS_LOCKED = ["--require-hashes", "--only-binary", ":all:"]

#: So much faster must another interpreter of the same version be to be taken instead of the one that was called.
WORTH_IT = 1.15
#: What our code does all day: attributes, dictionaries, calls, strings. Prints the version, the path, and the time.
RACE = """
import sys, time

class Thing:
    def __init__(self, name):
        self.name = name

def lap():
    began, kept = time.process_time(), {}
    for turn in range(20000):
        thing = Thing("%s-%d" % ("key", turn % 100))
        kept[thing.name] = kept.get(thing.name, 0) + len(thing.name)
    return time.process_time() - began

print("%d.%d" % sys.version_info[:2], min(lap() for _ in range(9)), sys.executable)
"""


def main():  # type: () -> int
    if sys.version_info < PYTHON_MIN:
        return use_newer_python()
    requirements = sys.argv[1] if len(sys.argv) > 1 else "requirements.lock"
    stamp = os.path.join(VENV, "installed-" + requirements)
    wanted = locks_hash()
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
        chosen, times = fastest([sys.executable, *of_this_version()])
        if chosen != sys.executable:
            print("Using {}, {:.1f} times as fast as {}".format(chosen, times, sys.executable), flush=True)
        made = subprocess.run([chosen, "-m", "venv", VENV], check=False)
        if made.returncode != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            sys.stderr.write("Python's venv module does not work; on Debian and Ubuntu: apt install python3-venv\n")
            return made.returncode
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    return subprocess.run([*pip, *AS_LOCKED, "-r", os.path.join(ROOT, requirements)], check=False).returncode


def of_this_version():  # type: () -> list[str]
    """What PATH has of the running version; one may be built for speed where the first one found is not."""
    name = "python{}.{}".format(*sys.version_info[:2])
    found = [os.path.join(folder, name) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return [path for path in dict.fromkeys(found) if os.access(path, os.X_OK)]


def fastest(pythons):  # type: (list[str]) -> tuple[str, float]
    """
    The interpreter to use, and how many times as fast as the first it is.

    That is the first, unless another of its version is clearly faster and can make an environment: not every build was
    made with profile-guided optimisation.
    """
    first, *others = [(raced(python), python) for python in pythons]
    best, path = first
    if best is None:
        return path, 1.0
    limit, times = best[1] / WORTH_IT, 1.0
    for result, _ in others:
        if result is not None and result[0] == best[0] and result[1] < limit and can_make(result[2]):
            limit, path = result[1], result[2]
            times = best[1] / limit
    return path, times


def raced(python):  # type: (str) -> tuple[str, float, str] | None
    """Its version, the time it took, and where it really is; None if it does not run."""
    try:
        done = subprocess.run([python, "-I", "-c", RACE], capture_output=True, text=True, timeout=30, check=False)
        version, seconds, path = done.stdout.strip().split(" ", 2)
        return version, float(seconds), path
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def can_make(python):  # type: (str) -> bool
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run([python, "-m", "venv", os.path.join(folder, "venv")], capture_output=True, check=False)
    return made.returncode == 0


def can_run(python):  # type: (str) -> bool
    try:
        return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def locks_hash():  # type: () -> str
    digest = hashlib.sha256(sys.version.encode())
    for name in sorted(os.listdir(ROOT)):
        if name.startswith("requirements") and name.endswith(".lock"):
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
