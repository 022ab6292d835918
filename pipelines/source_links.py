"""Links from an asset to the code that makes it: in an editor, and at the commit, here or at the repository's host.

The page of `make ui` shows files of the project's own repository; that is `webserver`'s.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import dagster as dg

from pipelines.pages import CODE, PREFIX, served

HOSTS = {"github.com": "blob", "gitlab.com": "-/blob"}  # what such a host puts before a commit
REMOTE = re.compile(r"(?:https://(?:[^@/]+@)?|ssh://git@|git@)(?P<host>[\w.-]+)[:/](?P<path>[\w./~-]+?)(?:\.git)?/?")


@dataclass(frozen=True)
class Source:
    """A project's files at its commit; without git there are none."""

    root: Path
    commit: str = ""
    files: frozenset[str] = frozenset()
    host: str = ""  # where the project's files of this commit begin on the web; empty for a host that is not known

    @classmethod
    def of(cls, root: Path) -> "Source":
        commit = git(root, "rev-parse", "HEAD")
        if not commit:
            return cls(root)
        names = git(root, "-c", "core.quotePath=off", "ls-tree", "-r", "--name-only", "HEAD").splitlines()
        folder = git(root, "rev-parse", "--show-prefix")  # of the project in its repository: empty, or `folder/`
        found = REMOTE.fullmatch(git(root, "config", "--get", "remote.origin.url"))
        known = found and HOSTS.get(found["host"])
        host = f"https://{found['host']}/{found['path']}/{known}/{commit}/{quote(folder)}" if found and known else ""
        return cls(root, commit, frozenset(names), host)

    def link(self, files: Sequence[str]) -> dict[str, dg.MetadataValue]:
        """{"code": the first of the files at the commit}; empty where it is not part of it, or nobody serves it."""
        file = next(iter(files), "")
        if file not in self.files or not (self.host or served()):
            return {}
        where = self.host or f"{PREFIX}/{CODE}/{self.commit}/"
        return {"code": dg.MetadataValue.url(f"{where}{quote(file)}")}

    def references(self, files: Sequence[str]) -> dg.CodeReferencesMetadataValue:
        """For Dagster's own entry: open it in an editor, or at the repository's host."""
        found: list = [dg.LocalFileCodeReference(file_path=str(self.root / file), label=file) for file in files]
        if self.host:
            found += [
                dg.UrlCodeReference(url=f"{self.host}{quote(file)}", label=file) for file in files if file in self.files
            ]
        return dg.CodeReferencesMetadataValue(code_references=found)


def git(root: Path, *arguments: str) -> str:
    """What git answers; empty where it has no answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, encoding="utf-8", errors="replace", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
