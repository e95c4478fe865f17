"""InsTaG's dataset folders: upgraded for Being and GaussianTalker, and written from folders of ours."""

from extern.instag.publish import Published, publish
from extern.instag.upgrade import Upgraded, upgrade

__all__ = ["Published", "Upgraded", "publish", "upgrade"]
