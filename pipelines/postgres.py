"""A PostgreSQL cluster of this project's own, as Debian installs the server: no system service, nothing on the network.

It listens on a socket in a folder that only its user may enter. What is kept in it is `services`' concern.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from vrft_core import io
from vrft_core.errors import InputError

OWNER = "vrft"  # the cluster's superuser
ACCOUNT = "postgres"  # PostgreSQL refuses to run as root: it runs as Debian's account for it
PASSWORD = "password"
DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path:
    """The folder of the newest installed server's programs. Raises InputError where there is none."""
    found = [folder for folder in DEBIAN.glob("*/bin") if (folder / "initdb").is_file()]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    if server := shutil.which("postgres"):
        return Path(server).resolve().parent
    raise InputError("postgres", "is not installed", "apt-get install postgresql")


def prepare(folder: Path) -> str:
    """Make the cluster in `folder`/cluster, unless it is there; returns its superuser's password.

    Raises InputError where it cannot be made.
    """
    cluster, password, half = folder / "cluster", folder / PASSWORD, folder / "cluster.new"
    folder.mkdir(parents=True, exist_ok=True)
    if not cluster.is_dir():
        shutil.rmtree(half, ignore_errors=True)  # left by a start that was killed
        give(folder)  # before there is anything to read in it
        io.write_text(password, secrets.token_urlsafe(24))
        give(password)
        done = subprocess.run(
            as_account([programs() / "initdb", "-D", half, "-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8",
                        "--auth=scram-sha-256", f"--pwfile={password}"]),
            cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"initdb ended with status {done.returncode}"]
            remedy = f"let {ACCOUNT} enter the folders above it, or start as another user" if _is_root() else ""
            raise InputError(folder, f"no database can be made: {lines[0].removeprefix('initdb: ')}", remedy)
        half.rename(cluster)
    return password.read_text(encoding="utf-8")


def server(folder: Path, socket: Path) -> list[str]:
    """The command that serves the cluster by a socket in the folder `socket`, and by nothing else."""
    give(socket)
    options = ["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-k", socket]
    return as_account([programs() / "postgres", "-D", folder / "cluster", *options])


def run(script: str, socket: Path, environment: Mapping[str, str], database: str = "postgres") -> str:
    """What psql prints for a script of SQL, one value a line. Raises InputError with its first complaint."""
    words = [programs() / "psql", "-h", socket, "-U", OWNER, "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(list(map(str, words)), input=script, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError("PostgreSQL", (done.stderr.strip().splitlines() or ["psql failed"])[0])
    return done.stdout


def accepts(socket: Path) -> bool:
    words = [str(programs() / "pg_isready"), "-q", "-h", str(socket)]
    return subprocess.run(words, check=False).returncode == 0


def url(database: str, socket: Path) -> str:
    """For SQLAlchemy; the driver takes the password from PGPASSWORD, so that no address and no process list has it."""
    return f"postgresql+psycopg2://{OWNER}@/{database}?host={socket}"


def give(path: Path) -> None:
    """Make it the server's own."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if _is_root():
        account = _account()
        os.chown(path, account.pw_uid, account.pw_gid)


def as_account(words: Sequence[str | Path]) -> list[str]:
    """The command, where this is root as another user, which ends with its parent as well."""
    prefix = []
    if _is_root():
        account = _account()
        prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        prefix += ["--pdeathsig=INT"]
    return [*prefix, *map(str, words)]


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise InputError("postgres", f"there is no account `{ACCOUNT}`, and it does not run as root",
                         "apt-get install postgresql, or start as another user") from None  # fmt: skip


def _is_root() -> bool:
    return os.geteuid() == 0
