"""Write requirements.lock: the versions that pip chooses for settings.ini with all extras, in an empty environment.

    python tools/lock.py
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import setup_env

HEADER = "# Made by `make lock` from settings.ini with all extras; never edited by hand.\n"
LEFT_OUT = re.compile(r"^(-e |mlsys|nvidia|cuda|triton|pip==)", re.IGNORECASE)


def pin(line):
    """Return a line of pip freeze without a local version: 2.13.0+cpu is 2.13.0 elsewhere."""
    return re.sub(r"\+[\w.]+$", "", line.strip())


def main():
    """Install everything into a temporary environment and write down what came."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        setup_env.pip(python, "install", "--quiet", setup_env.torch_requirement())
        setup_env.pip(python, "install", "--quiet", "setuptools", "wheel")
        setup_env.pip(python, "install", "--quiet", "--no-build-isolation", f"{setup_env.ROOT}[dev,spark,redis,postgres]")
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze", "--all"], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    lines = sorted(pin(line) for line in frozen if line.strip() and not LEFT_OUT.match(line))
    setup_env.LOCK.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{setup_env.LOCK.name}: {len(lines)} versions")


if __name__ == "__main__":
    main()
