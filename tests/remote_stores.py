"""An S3 and an SSH server on loopback: `python remote_stores.py FOLDER` prints their ports as JSON and serves.

FOLDER gets the client's key. The bucket is `store`; the user's name does not matter.
"""

import asyncio
import json
import sys
from pathlib import Path

import asyncssh
import boto3
from moto.server import ThreadedMotoServer


async def main(folder: Path) -> None:
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    _, port = s3.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id="key", aws_secret_access_key="secret",
    )  # fmt: skip
    client.create_bucket(Bucket="store")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "key")
    (folder / "key").chmod(0o600)
    (folder / "authorized").write_bytes(key.export_public_key())
    ssh = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=str(folder / "authorized"), sftp_factory=True,
    )  # fmt: skip
    print(json.dumps({"s3": port, "ssh": ssh.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1])))
