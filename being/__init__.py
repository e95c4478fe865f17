"""Being: a person cloned from a short video, played live. The words used here stand in docs/glossary.md."""

import os

__version__ = "0.1.0"

# being.deployments and being.extern: in a checkout they lie beside this folder, installed inside it.
_beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isfile(os.path.join(_beside, "serve_config.yaml")):
    __path__.append(_beside)
