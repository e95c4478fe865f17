"""Where a cluster keeps checkpoints: a folder that every node sees, or a URI of any fsspec file system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from being.errors import InputError

ARROW_SCHEMES = {"file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"}  # others go through fsspec


@dataclass(frozen=True)
class Storage:
    """Where Ray Train keeps checkpoints: a path on a pyarrow file system, made from a folder or a URI."""

    said: str
    path: str
    filesystem: Any

    @staticmethod
    def of(said: str) -> Storage:
        """Raises InputError for a scheme nothing here can read."""
        import fsspec
        import pyarrow.fs

        scheme = said.split("://", 1)[0] if "://" in said else ""
        try:
            if not scheme:
                return Storage(said, str(Path(said).resolve()), pyarrow.fs.LocalFileSystem())
            if scheme in ARROW_SCHEMES:
                filesystem, path = pyarrow.fs.FileSystem.from_uri(said)
                return Storage(said, path, filesystem)
            remote, path = fsspec.core.url_to_fs(said)
            return Storage(said, path, pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(remote)))
        except (ImportError, ValueError, OSError) as error:
            raise InputError(
                f"storage {said} cannot be used ({reason(error)})",
                "Give a folder that all nodes share, or a URI; install the fsspec package of its scheme",
            ) from error

    def prepare(self, run: str, restart: bool) -> None:
        """Make the run's folder, empty after `restart`. Raises InputError where it cannot be written."""
        import pyarrow.fs

        folder = f"{self.path}/{run}"
        try:
            if restart and self.filesystem.get_file_info(folder).type != pyarrow.fs.FileType.NotFound:
                self.filesystem.delete_dir(folder)
            self.filesystem.create_dir(folder, recursive=True)
            with self.filesystem.open_output_stream(f"{folder}/.writable"):
                pass
            self.filesystem.delete_file(f"{folder}/.writable")
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise InputError(
                f"storage {self.said} cannot be written ({reason(error)})", "Choose another --storage, or its rights"
            ) from error


def reason(error: BaseException) -> str:
    """The last line of an error that says something; Ray and Arrow put tracebacks and contexts first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
