"""One trained person as a folder on disk, and the library of those at hand."""

from being.avatar.consent import ConsentRecord
from being.avatar.folder import Avatar, amend_avatar, load_avatar, save_avatar
from being.avatar.library import Library
from being.avatar.motion import Motion
from being.avatar.schema import AvatarManifest

__all__ = [
    "Avatar",
    "AvatarManifest",
    "ConsentRecord",
    "Library",
    "Motion",
    "amend_avatar",
    "load_avatar",
    "save_avatar",
]
