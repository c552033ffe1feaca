"""DVC composes conf/ for `dvc exp run -S ...` without importing mlsys, but it loads Hydra plugins from here.

Importing this module is all that is needed: it registers the resolvers that conf/ uses.
"""

from mlsys.pipeline.config import register_resolvers

register_resolvers()
