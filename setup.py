"""Hand the metadata of settings.ini to setuptools."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).parent / "settings.ini")
settings = config["DEFAULT"]


def requirements(key):
    """Return the requirements under KEY, one a line or separated by blanks."""
    return settings.get(key, "").split()


setup(
    version=settings["version"],
    description=settings["description"],
    install_requires=requirements("requirements"),
    extras_require={extra: requirements(f"{extra}_requirements") for extra in ("dev", "spark", "redis", "postgres")},
)
