"""Make the environment in .venv: every version from requirements.lock, PyTorch first.

Only the standard library is used here, because nothing else is there yet. Called by the Makefile:

    python3.11 tools/setup_env.py [EXTRA ...]     extras of settings.ini; `dev` by default
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
CUDA = re.compile(r"^(nvidia|cuda)[-_]", re.IGNORECASE)


def stop(message):
    """Say what is wrong and what to do, and exit."""
    sys.exit(f"setup: {message}")


def torch_requirement():
    """Return the pinned requirement of PyTorch in settings.ini."""
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini")
    return next(item for item in config["DEFAULT"]["requirements"].split() if item.startswith("torch=="))


def pip(python, *arguments, capture=False):
    """Run pip in the new environment and return what it printed."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE if capture else None, text=True)
    if result.returncode:
        stop(f"`pip {' '.join(arguments)}` failed; its own message is above. Run make again once it is mended.")
    return result.stdout


def has_gpu():
    """Return whether an NVIDIA driver is at work on this machine."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def install_torch(python, requirement):
    """Install PyTorch before anything that depends on it, and never its CUDA packages where there is no GPU.

    pip prefers a build with a local version (2.13.0+cpu) to the plain one, wherever its configuration lets it look.
    """
    plan = pip(python, "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", requirement, capture=True)
    metadata = json.loads(plan[plan.index("{") :])["install"][0]["metadata"]
    cuda = [item for item in metadata.get("requires_dist", []) if CUDA.match(item)]
    if cuda and sys.platform == "linux" and not has_gpu() and os.environ.get("MLSYS_ALLOW_CUDA") != "1":
        stop(
            f"pip found only a CUDA build of {requirement} (it would bring {len(cuda)} CUDA packages, several GB), and this "
            "machine has no GPU. Let pip see PyTorch's CPU wheels (PIP_FIND_LINKS=FOLDER for a folder with the wheel, or the CPU "
            "entry of PyTorch's own installation page in your pip configuration), or set MLSYS_ALLOW_CUDA=1 to take it anyway."
        )
    pip(python, "install", "--quiet", "--constraint", str(LOCK), requirement)


def main(extras):
    """Build the environment; a failed build leaves no stamp, so the next make tries again."""
    if sys.version_info < (3, 11):
        stop(f"Python {sys.version.split()[0]} is too old; 3.11 or newer is needed. Try `make PYTHON=python3.11`.")
    print(f"setup: making {VENV.name} with Python {sys.version.split()[0]} (some minutes, once)", flush=True)
    python = VENV / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        venv.create(VENV, with_pip=True, clear=True)  # none yet, or one that was cut off while it was made
    install_torch(python, torch_requirement())
    pip(python, "install", "--quiet", "--constraint", str(LOCK), "setuptools", "wheel")
    target = f".[{','.join(extras)}]" if extras else "."
    pip(python, "install", "--quiet", "--constraint", str(LOCK), "--no-build-isolation", "--editable", str(ROOT) + target[1:])
    (VENV / ".ready").touch()


if __name__ == "__main__":
    main(sys.argv[1:] or ["dev"])
