# SPDX-License-Identifier: Apache-2.0
"""A repository of `assay publish --repo`, over a static file server, in the hands of other people's TUF clients: tuf-js
(the one of npm and of sigstore-js), and python-tuf's own, without the floor and the transport of `assay fetch`.

tuf-js runs where `npm install` was done in tests/interop (or in the folder that ASSAY_INTEROP_NODE names).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer
from repository_pair import BOARD, TIMESTAMP, Pair
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater

from assay.pipeline.repository_publish import publish_withdrawals
from assay.pipeline.repository_setup import KeyChange, rotate, status
from assay.pipeline.withdrawing import withdraw

HERE = Path(__file__).parent
NODE_FOLDER = Path(os.environ.get("ASSAY_INTEROP_NODE", HERE))
RELEASE, RELEASES, WITHDRAWN = f"{BOARD}/tiny/1.0.0.json", f"{BOARD}/tiny/releases.json", "withdrawn.json"

pytestmark = pytest.mark.timeout(900)
"""A busy machine makes a repository, and starts node, slowly."""

Client = Callable[[Path, str, str], dict[str, Any]]
"""Folder, URL and name to the target's path and signed description; a refusal is `Refusal`."""


class Refusal(Exception):
    """What the client says."""


def by_tuf_js(folder: Path, url: str, name: str) -> dict[str, Any]:
    command, environment = ["node", HERE / "tuf_fetch.mjs", folder, url, name], {**os.environ}
    environment["NODE_MODULES_PARENT"] = str(NODE_FOLDER)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_python_tuf(folder: Path, url: str, name: str) -> dict[str, Any]:
    got = folder / "got"
    got.mkdir(exist_ok=True)
    try:
        client = Updater(str(folder), f"{url}/metadata", str(got), f"{url}/targets", bootstrap=None)
        client.refresh()
        target = client.get_targetinfo(name)
        if target is None:
            raise Refusal(f"no target {name}")
        path = client.download_target(target)
    except (RepositoryError, DownloadError) as error:
        raise Refusal(f"{type(error).__name__}: {error}") from error
    return {"path": path, "length": target.length, "hashes": target.hashes, "custom": target.custom}


JS = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_FOLDER / "node_modules" / "tuf-js").is_dir(),
    reason="tuf-js is not installed: run `npm install` in tests/interop",
)
CLIENTS = [pytest.param(by_tuf_js, id="tuf-js", marks=JS), pytest.param(by_python_tuf, id="python-tuf")]


@pytest.fixture
def server(served: Pair) -> Iterator[FileServer]:
    with FileServer(served.folder).running() as server:
        yield server


@pytest.fixture
def station(served: Pair, tmp_path: Path) -> Path:
    """The folder of a client that has the first root."""
    folder = tmp_path / "client"
    folder.mkdir()
    shutil.copy(served.folder / "metadata" / "1.root.json", folder / "root.json")
    return folder


@pytest.mark.parametrize("client", CLIENTS)
def test_it_fetches_a_release(served: Pair, server: FileServer, station: Path, client: Client) -> None:
    release = served.owner.store.find("tiny", "1.0.0", BOARD)
    found = client(station, server.url, RELEASE)
    assert json.loads(Path(found["path"]).read_bytes())["image"]["file_sha256"] == release.image.file_sha256
    assert found["custom"]["image_hash"] == release.image.image_hash
    assert '"1.0.0"' in Path(client(station, server.url, RELEASES)["path"]).read_text()
    with pytest.raises(Refusal, match="no target"):
        client(station, server.url, f"{BOARD}/tiny/9.9.9.json")


@pytest.mark.parametrize("client", CLIENTS)
def test_it_follows_rotations_and_new_releases(served: Pair, server: FileServer, station: Path, client: Client) -> None:
    client(station, server.url, RELEASE)
    new = served.owner.keys.repository_key("new").uri
    old = next(each for each in status(served.owner).roles if each.role == TIMESTAMP).keys[0][:16]
    rotate(served.owner, KeyChange(add=((TIMESTAMP, new),), remove=((TIMESTAMP, old),)))
    served.publish("1.1.0")
    withdraw(served.owner, "tiny@1.0.0", BOARD, "it overheats")
    publish_withdrawals(served.owner)
    assert client(station, server.url, f"{BOARD}/tiny/1.1.0.json")["custom"]["hardware_ids"] == [BOARD]
    assert client(station, server.url, WITHDRAWN)["length"] > 2


@pytest.mark.parametrize("client", CLIENTS)
def test_it_refuses_what_assay_refuses(served: Pair, server: FileServer, station: Path, client: Client) -> None:
    """An old copy, a changed target, and another repository's keys."""
    shutil.copytree(served.folder, old := served.published.root / "old")
    served.refresh()
    found = client(station, server.url, RELEASE)
    with FileServer(old).running() as older, pytest.raises(Refusal, match=r"(?i)version"):
        client(station, older.url, RELEASE)
    name = RELEASE.rpartition("/")[2]
    target = next((served.folder / "targets").rglob(f"*.{name}"))
    target.write_bytes(target.read_bytes().replace(b"1.0.0", b"1.0.1"))
    Path(found["path"]).unlink()
    with pytest.raises(Refusal, match=r"(?i)hash|length"):
        client(station, server.url, RELEASE)
    stamp = served.folder / "metadata" / "timestamp.json"
    document = json.loads(stamp.read_bytes())
    document["signed"]["version"] += 1
    stamp.write_text(json.dumps(document))
    with pytest.raises(Refusal, match=r"(?i)unsigned|signed by"):
        client(station, server.url, RELEASE)
