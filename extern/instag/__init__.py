"""InsTaG's dataset folders: upgraded for Being and GaussianTalker, and written from folders of ours."""

from being.extern.instag.publish import Published, publish
from being.extern.instag.upgrade import Upgraded, upgrade

__all__ = ["Published", "Upgraded", "publish", "upgrade"]
