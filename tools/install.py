"""Install a lock file into .venv: `python3 tools/install.py requirements.lock`.

Needs only Python; runs before anything is installed, on whatever python3 there is, so its syntax
stays old until the version is checked. Uses uv when it can be had and pip otherwise.
"""
# ruff: noqa: I002, S603, SIM115, T201

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
ENVIRONMENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ".venv")
PYTHON = os.path.join(ENVIRONMENT, "bin", "python")


def main():
    """Make the environment when it is missing or broken, then install the given lock file."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"Python 3.11 or newer is needed and {sys.executable} is {sys.version.split()[0]}.\n"
            "Install one, or name it: make PYTHON=/path/to/python3.11 ..."
        )
    with one_at_a_time():
        if not is_usable():
            make_environment()
        if not (with_uv(sys.argv[1]) or with_pip(sys.argv[1])):
            sys.exit("The packages could not be installed; the reason stands above.")


def one_at_a_time():
    """Hold a lock, so that `make run` and `make test` may start together in a fresh checkout."""
    import fcntl  # noqa: PLC0415 - not on every platform that can read the message above

    os.makedirs(ENVIRONMENT, exist_ok=True)
    lock = open(os.path.join(ENVIRONMENT, ".installing"), "w")  # uv itself locks .lock
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def is_usable():
    """Tell whether .venv has a Python that runs and is new enough."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    return os.path.exists(PYTHON) and succeeds([PYTHON, "-c", check])


def make_environment():
    """Make .venv without pip: Debian's Python may lack ensurepip, and uv does not need it."""
    say("Making .venv with Python " + sys.version.split()[0])
    for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg"):
        path = os.path.join(ENVIRONMENT, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.remove(path)
    if not succeeds([sys.executable, "-m", "venv", "--without-pip", ENVIRONMENT], quiet=False):
        sys.exit("Python's module venv does not work here (on Debian: apt install python3-venv).")


def with_uv(lock):
    """Install with uv; answer False when it cannot be had or fails."""
    uv = find_uv()
    if uv is None:
        return False
    say(f"Installing {os.path.basename(lock)} with uv")
    command = [uv, "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes", "-r", lock]
    # The hashes say which file is right, so it does not matter which index has it.
    command += ["--index-strategy", "unsafe-best-match"]
    return succeeds(command, quiet=False, extra=indexes())


def find_uv():
    """Return a uv on the PATH or in .venv, installed there when pip can."""
    ours = os.path.join(ENVIRONMENT, "bin", "uv")
    found = shutil.which("uv") or (ours if os.path.exists(ours) else None)
    if found is None and ensure_pip() and succeeds(pip("install", "--quiet", "uv")):
        found = ours
    return found


def indexes():
    """Return what pip is told about indexes under the names that uv reads: it has no pip.conf."""
    if not ensure_pip():
        return {}
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "cert": "SSL_CERT_FILE",
    }
    found = {}
    listing = subprocess.run(pip("config", "list"), stdout=subprocess.PIPE, check=False).stdout
    for line in listing.decode().splitlines():
        key, _, value = line.partition("=")
        name = names.get(key.split(".")[-1])
        if name and name not in os.environ:
            separator = "," if name == "UV_FIND_LINKS" else " "
            found[name] = separator.join(value.strip("'\"").split())
    return found


def with_pip(lock):
    """Install with pip; slower than uv."""
    if not ensure_pip():
        say("There is neither uv nor pip (on Debian: apt install python3-venv).")
        return False
    say(f"Installing {os.path.basename(lock)} with pip")
    return succeeds(pip("install", "--quiet", "--require-hashes", "-r", lock), quiet=False)


def ensure_pip():
    """Put pip into .venv and tell whether it is there."""
    has_pip = [PYTHON, "-m", "pip", "--version"]
    return succeeds(has_pip) or (succeeds([PYTHON, "-m", "ensurepip"]) and succeeds(has_pip))


def pip(*arguments):
    """Return the command line of .venv's pip."""
    return [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments]


def succeeds(command, *, quiet=True, extra=None):
    """Run the command and tell whether it succeeded."""
    output = subprocess.DEVNULL if quiet else None
    environment = dict(os.environ, **(extra or {}))
    return subprocess.call(command, stdout=output, stderr=output, env=environment) == 0


def say(text):
    """Tell what takes the time."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
