"""Do what deploy/kubernetes/Dockerfile says for a target, in a chroot, where there is no container engine. As root.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm ROOT
    python deploy/rehearse_image.py services ROOT

The chroot stands for the image that the Dockerfile begins with: Debian, with Python in a virtual environment. Every
ARG, COPY, ENV, WORKDIR, USER and RUN is done as it stands, in order. At the end its programs are called as its user.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DOCKERFILE = PROJECT / "deploy/kubernetes/Dockerfile"
PYTHON = "/usr/local/python"  # the virtual environment
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CALLS = {"services": ["vrft --help", "dagster --version", "dagster-daemon --help", "mlflow --version",
                      "python -c 'import pipelines.webserver, dagster_postgres, torch'"],
         "job": ["vrft --help", "python -c 'import torch, trl, mlflow, dagster_pipes'"]}  # fmt: skip


def instructions(text: str) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Target → (what it is made from, its instructions as (word, rest)), in the order of the file."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    steps: list[tuple[str, str]] = []
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            source, _, name = rest.partition(" AS ")
            steps = []
            found[name.strip()] = (source.strip(), steps)
        else:
            steps.append((word, rest.strip()))
    return found


def steps_of(target: str, every: dict[str, tuple[str, list[tuple[str, str]]]]) -> list[tuple[str, str]]:
    """Its instructions after those of what it is made from."""
    source, steps = every[target]
    return [*(steps_of(source, every) if source in every else []), *steps]


def sent(path: Path, patterns: list[str]) -> bool:
    """Whether .dockerignore lets a file of the project through; the last pattern that fits decides."""
    name, decided = path.relative_to(PROJECT), True
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        anywhere = plain.removeprefix("**/")
        for part in (name, *name.parents):
            if fnmatch(part.name if plain != anywhere else part.as_posix(), anywhere):
                decided = pattern.startswith("!")
    return decided


def copied(source: str, patterns: list[str]) -> list[Path]:
    """The files that `COPY source` takes."""
    place = PROJECT / source
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sorted(path for path in files if sent(path, patterns))


def ignored() -> list[str]:
    text = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


class Chroot:
    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.user = root, "/", "0:0"
        path = f"{PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.environment = {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8", "VIRTUAL_ENV": PYTHON}
        self.environment |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), CERTIFICATES)

    def do(self, word: str, rest: str, patterns: list[str]) -> None:
        match word:
            case "ENV":
                self.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
                self.environment["UV_SYSTEM_PYTHON"] = "0"  # here Python is in a virtual environment
            case "ARG":
                name, _, value = rest.partition("=")
                self.environment[name] = os.environ.get(name, value)
            case "WORKDIR":
                self.folder = rest
                self._inside(rest).mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = rest
            case "COPY":
                *sources, to = rest.split()
                for source in sources:
                    self._copy(source, to, patterns, folder=to == "." or to.endswith("/"))
            case "RUN":
                self.run(rest)
            case _:
                raise SystemExit(f"{word}: not known here")

    def run(self, command: str) -> str:
        """Raises SystemExit with the last lines where it fails."""
        user, _, group = self.user.partition(":")
        words = ["chroot", f"--userspec=+{user}:+{group}", "--groups=", self.root, "sh", "-euc"]
        words += [f"cd {shlex.quote(self.folder)}; {command}"]
        done = subprocess.run(words, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise SystemExit(f"{command}\nended with status {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def _copy(self, source: str, to: str, patterns: list[str], folder: bool) -> None:
        files = copied(source, patterns)
        if not files:
            raise SystemExit(f"COPY {source}: no such file is sent")
        target = self._inside(os.path.join(self.folder, to))
        for path in files:
            whole = (PROJECT / source).is_dir()
            name = path.relative_to(PROJECT / source) if whole else Path(path.name)
            place = target / name if whole or folder else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def main(target: str, root: str) -> int:
    chroot, patterns = Chroot(Path(root).resolve()), ignored()
    for path in ("/etc/resolv.conf", CERTIFICATES):  # of this machine: its network may have an authority of its own
        shutil.copy(path, chroot.root / path.lstrip("/"))
    subprocess.run(["mount", "--bind", "/dev", chroot.root / "dev"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", chroot.root / "proc"], check=True)
    try:
        chroot.run(f"test -x {PYTHON}/bin/python || python3 -m venv {PYTHON}")
        for word, rest in steps_of(target, instructions(DOCKERFILE.read_text(encoding="utf-8"))):
            print(f"{word} {rest}"[:150], flush=True)
            chroot.do(word, rest, patterns)
        for call in ["test $(id -u) != 0", *CALLS.get(target, CALLS["services"])]:
            chroot.run(call)
            print(f"as {chroot.user}: {call}", flush=True)
    finally:
        for place in ("proc", "dev"):
            subprocess.run(["umount", "-l", chroot.root / place], check=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
