"""Where models come from: the package, folders, the hub's cache, and a hub on this machine."""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest
from small_models import CONFIG, numpy_model

import jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.model import source

WAYS_ON = ("a local folder", "HF_TOKEN", ":embedded")
SHA = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = """
import sys
from jaxalign.errors import UserError
from jaxalign.model.source import resolve
try:
    print(resolve(sys.argv[1], sys.argv[2] or None))
except UserError as error:
    print("UserError:", error)
"""


def _resolve(path: str, revision: str = "", **environment: str) -> str:
    """Resolve in a process of its own, because the hub's library reads its settings at import."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, path, revision],
        env=kept | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_folder_is_itself(tmp_path):
    assert jm.resolve(str(tmp_path)) == tmp_path


def test_embedded_is_in_the_package():
    if source.EMBEDDED_FOLDER.is_dir():
        assert jm.resolve("embedded") == source.EMBEDDED_FOLDER
    assert source.EMBEDDED_FOLDER.parent == Path(jm.__file__).parent


def test_revision_belongs_to_hub_ids(tmp_path):
    with pytest.raises(UserError, match=r"model\.revision"):
        jm.resolve(str(tmp_path), "main")


@pytest.mark.parametrize("path", ["/no/such/folder", "./none", "a/b/c", "", "~/no such folder"])
def test_what_cannot_be_a_hub_id_never_asks_the_hub(path):
    with pytest.raises(UserError) as caught:
        jm.resolve(path)
    assert all(way in str(caught.value) for way in WAYS_ON) and "\n" not in str(caught.value)


@pytest.fixture
def cache(tmp_path):
    """The hub's own cache layout, holding org/tiny at one commit."""
    repository = tmp_path / "hub" / "models--org--tiny"
    snapshot = repository / "snapshots" / SHA
    jm.save_model(tmp_path / "made", numpy_model(CONFIG)[1], CONFIG)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(SHA)
    (repository / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (repository / "blobs" / f"blob-{name}").write_bytes((tmp_path / "made" / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/blob-{name}")
    return tmp_path / "hub"


def test_offline_cache(cache):
    environment = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    found = Path(_resolve("org/tiny", **environment))
    assert found.name == SHA
    assert jm.load_model(found, "float32")[2] == CONFIG
    assert _resolve("org/tiny", SHA, **environment) == str(found)
    for path, revision in (("org/other", ""), ("org/tiny", "v2")):
        message = _resolve(path, revision, **environment)
        assert message.startswith("UserError:") and path in message
        assert all(way in message for way in WAYS_ON)


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as fetching one gated model needs."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        path = self.path.split("?")[0]
        self.asked.append(f"{self.command} {path}")
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self._answer(401, b"", {"X-Error-Code": "GatedRepo"})
        if path.startswith("/api/models/org/tiny/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": f"{len(data):040x}"}
                for name, data in self.files.items()
            ]
            return self._answer(200, json.dumps(tree).encode())
        if path.startswith("/api/models/org/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": "org/tiny", "sha": SHA, "siblings": siblings, "tags": []}
            return self._answer(200, json.dumps(info).encode())
        data = self.files.get(path.removeprefix(f"/org/tiny/resolve/{SHA}/"))
        if data is None:
            return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        return self._answer(200, data, {"ETag": f'"{len(data):040x}"'})

    do_HEAD = do_GET

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        headers = {"X-Repo-Commit": SHA, "Content-Length": str(len(body))} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path):
    jm.save_model(tmp_path / "made", numpy_model(CONFIG)[1], CONFIG)
    _Hub.asked = []
    _Hub.files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} | {
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "pytorch_model.bin": b"pickle",
        "modeling_tiny.py": b"raise SystemExit",
        "original/params.json": b"{}",
    }
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
    }
    server.shutdown()
    server.server_close()


def test_hub_gets_the_token_and_gives_no_code(hub):
    folder = Path(_resolve("org/tiny", HF_TOKEN="hf_right", **hub))
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    }
    assert jm.load_model(folder, "float32")[2] == CONFIG
    assert not [line for line in _Hub.asked if line.endswith((".bin", ".py", "params.json"))]


def test_hub_takes_the_token_that_a_login_has_stored(hub, tmp_path):
    (tmp_path / "token").write_text("hf_right")
    folder = _resolve("org/tiny", HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "token"), **hub)
    assert Path(folder).name == SHA


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_a_gated_model_is_refused_with_its_page(hub, token, tmp_path):
    message = _resolve("org/tiny", HF_TOKEN=token, HF_TOKEN_PATH=str(tmp_path / "none"), **hub)
    assert message.startswith("UserError: model.path='org/tiny' is a gated model"), message
    assert f"{hub['HF_ENDPOINT']}/org/tiny" in message and "hf_wrong" not in message
