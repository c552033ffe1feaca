"""Hand the metadata of settings.ini to setuptools."""

import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(ROOT / "settings.ini")
settings = config["DEFAULT"]

# What `mlsys new` makes projects from. An editable install reads it here; a wheel gets a copy when it is built.
TEMPLATES = (
    "conf", "dvc.yaml", "nbs/_static", "nbs/stages", "template", ".dvcignore", ".gitattributes", ".gitignore", ".pre-commit-config.yaml",
)  # fmt: skip


class BuildWithTemplates(build_py):
    """Copy the templates into the package that is built, in the places that they have here."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "mlsys" / "_template"
        shutil.rmtree(target, ignore_errors=True)
        for name in TEMPLATES:
            source = ROOT / name
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
            else:
                shutil.copyfile(source, target / name)


def requirements(key):
    """Return the requirements under KEY, one a line or separated by blanks."""
    return settings.get(key, "").split()


setup(
    cmdclass={"build_py": BuildWithTemplates},
    version=settings["version"],
    description=settings["description"],
    install_requires=requirements("requirements"),
    extras_require={extra: requirements(f"{extra}_requirements") for extra in ("dev", "spark", "redis", "postgres", "bench")},
)
