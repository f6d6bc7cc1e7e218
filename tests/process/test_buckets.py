"""A model in a bucket: read in ranges by gcsfs, from a store on this machine."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from paths import ROOT
from random_models import EIGHT_HEADS, save_random
from small_models import CONFIG, numpy_model

import jaxalign.model as jm
from jaxalign.model import buckets


class Store(http.server.ThreadingHTTPServer):
    """As much of Cloud Storage's JSON API as reading takes; files by `bucket/name`."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = url.path.removeprefix("/download").removeprefix("/storage/v1/b/").split("/", 2)
        bucket, name = parts[0], urllib.parse.unquote(parts[2]) if len(parts) > 2 else None
        if bucket == "closed":
            return self._answer(403, {"error": {"code": 403, "message": "no access"}})
        if name is None:
            return self._answer(200, self._list(bucket, query))
        data = self.server.files.get(f"{bucket}/{name}")
        if data is None:
            return self._answer(404, {"error": {"code": 404, "message": "No such object"}})
        if query.get("alt") != "media":
            return self._answer(200, self._about(bucket, name, data))
        status = 200
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            data, status = data[int(first) : int(last or len(data)) + 1], 206
        self._answer(status, data)

    def _list(self, bucket, query):
        prefix = query.get("prefix", "")
        names = [name.partition("/")[2] for name in self.server.files if name.startswith(bucket)]
        inside = [name for name in names if name.startswith(prefix)]
        items = [self._about(bucket, name, self.server.files[f"{bucket}/{name}"])
                 for name in inside if "/" not in name[len(prefix):]]  # fmt: skip
        return {"items": items}

    def _about(self, bucket, name, data):
        about = {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(data))}
        return about | {"generation": "1", "updated": "2026-01-01T00:00:00Z"}

    def _answer(self, status, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the reader has ended
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def run(store: Store, *command: str, **environment: str) -> subprocess.CompletedProcess:
    """In a process of its own, since gcsfs keeps the store that it saw first."""
    told = {
        "STORAGE_EMULATOR_HOST": store.address,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks a control service, per file
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | told | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def stored(*folders: Path) -> Store:
    """A store whose bucket `models` has these folders."""
    return Store({f"models/{f.parent.name}/{f.name}": f.read_bytes()
                  for folder in folders for f in folder.iterdir()})  # fmt: skip


def save(folder: Path, shards: int = 1, dtype: str = "float32") -> Path:
    """A tiny model, in one file or cut into shards."""
    jm.save_model(folder, jax.tree.map(lambda x: x.astype(dtype), numpy_model(CONFIG)[1]), CONFIG)
    if shards > 1:
        tensors = safetensors.numpy.load_file(folder / "model.safetensors")
        names = [f"model-{n}.safetensors" for n in range(shards)]
        where = {key: names[n % shards] for n, key in enumerate(sorted(tensors))}
        for name in names:
            own = {key: value for key, value in tensors.items() if where[key] == name}
            safetensors.numpy.save_file(own, folder / name)
        index = {"metadata": {}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "model.safetensors").unlink()
    return folder


LOAD = """
import sys, numpy as np, jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.model.abstract import named_leaves
if sys.argv[1] == "without gcsfs":
    sys.modules["gcsfs"] = None
for path in sys.argv[2:]:
    try:
        folder = jm.resolve(path)
        graphdef, params, config = jm.load_model(folder, "float32")
    except UserError as error:
        print(error)
        continue
    print(jm.weights_digest(folder), jm.read_notice(folder), sorted(jm.read_stop_ids(folder)))
    rows = jm.read_embeddings(folder, [3, 1, 3])
    leaves = {name: np.asarray(leaf[...]) for name, leaf in named_leaves(params).items()}
    print(sum(np.float64(leaf).sum() for leaf in [rows, *leaves.values()]).hex(), config)
"""


def test_a_bucket_gives_the_model_that_a_folder_gives(tmp_path):
    folders = [
        save(tmp_path / "whole"),
        save(tmp_path / "cut", 3),
        save(tmp_path / "half", 1, "bfloat16"),
    ]
    names = [f"gs://models/{folder.name}" for folder in folders]
    done = run(stored(*folders), "-c", LOAD, "", *names, *map(str, folders))
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 12, done.stderr
    assert lines[:6] == lines[6:] and len(set(lines)) == 5  # two have the same weights


def test_what_cannot_be_read_is_one_line(tmp_path):
    cut = save(tmp_path / "cut")
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[:-10])
    short = save(tmp_path / "short")
    (short / "model.safetensors").write_bytes(whole[:5])
    bare = save(tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    names = ("none", "cut", "short", "bare")
    paths = [*(f"gs://models/{name}" for name in names), "gs://closed/x", "gs://no-bucket"]
    done = run(stored(cut, short, bare), "-c", LOAD, "", *paths)
    assert done.returncode == 0, done.stderr
    said = dict(zip(paths, done.stdout.splitlines(), strict=True))
    assert all(path in line for path, line in said.items())
    parts = ("no config.json", "damaged or cut short", "cut short", "holds neither", "no access")
    for line, part in zip(said.values(), parts, strict=False):
        assert part in line


def test_without_gcsfs_it_says_what_to_install(tmp_path):
    done = run(stored(), "-c", LOAD, "without gcsfs", "gs://models/x")
    assert "pip install 'jaxalign[gcs]'" in done.stdout and done.stdout.count("\n") == 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_blocks_are_those_that_safetensors_gives(dtype, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    shapes = {"matrix": (37, 12), "vector": (29,), "cube": (5, 4, 6)}
    arrays = {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"a": "b"})
    # A few rows a request, a few requests at a time.
    monkeypatch.setattr(buckets, "_REQUEST", 100)
    monkeypatch.setattr(buckets, "_AT_ONCE", 3)
    ours = buckets.RangedTensors(path)
    with safetensors.safe_open(path, framework="np") as theirs:
        assert set(ours.keys()) == set(theirs.keys()) and ours.metadata() == theirs.metadata()
        for name, shape in shapes.items():
            one, other = ours.get_slice(name), theirs.get_slice(name)
            assert one.get_shape() == other.get_shape() and one.get_dtype() == other.get_dtype()
            for _ in range(20):
                ends = [sorted(random.choice(size + 1, 2, replace=False)) for size in shape]
                index = tuple(slice(*map(int, each)) for each in ends)
                for asked in (index, index[0], index[:1], (slice(None), *index[1:])):
                    np.testing.assert_array_equal(one[asked], other[asked], strict=True)


def test_the_rows_of_a_block_are_fetched_and_those_of_its_neighbour_are_kept(tmp_path, monkeypatch):
    asked = []

    def read(file, spans, read=buckets.read_ranges):
        asked.extend(spans)
        return read(file, spans)

    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"matrix": np.ones((1000, 50), np.float32)}, path)
    tensor = buckets.RangedTensors(path).get_slice("matrix")
    monkeypatch.setattr(buckets, "read_ranges", read)
    for column in range(0, 50, 2):
        assert tensor[300:310, column : column + 2].shape == (10, 2)
    assert sum(stop - start for start, stop in asked) == 10 * 50 * 4
    buckets.let_go()
    assert tensor[300:310].shape == (10, 50)
    assert sum(stop - start for start, stop in asked) == 2 * 10 * 50 * 4


SHARDED = """
import hashlib, sys, jax, numpy as np, jaxalign.model as jm
from jaxalign.devices.mesh import make_mesh
from jaxalign.model import buckets
from jaxalign.model.abstract import named_leaves
asked = []
def read(file, spans, read=buckets.read_ranges):
    asked.extend(spans)
    return read(file, spans)
buckets.read_ranges = read
where = jm.sharding_over(make_mesh(2, 4))
for path in sys.argv[1:]:
    params = jm.load_model(jm.resolve(path), "float32", where)[1]
    leaves = named_leaves(params)
    down = leaves["block.down"][...]
    assert down.addressable_shards[0].data.size == down.size // 4
    content = b"".join(np.asarray(leaf[...]).tobytes() for leaf in leaves.values())
    print(hashlib.sha256(content).hexdigest())
print(sum(stop - start for start, stop in asked))
"""


def test_devices_that_share_the_weights_cost_one_reading(tmp_path):
    save_random(tmp_path / "eight", EIGHT_HEADS)
    paths = ["gs://models/eight", str(tmp_path / "eight")]
    flags = "--xla_force_host_platform_device_count=8"
    done = run(stored(tmp_path / "eight"), "-c", SHARDED, *paths, XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    ours, expected, read = done.stdout.splitlines()
    assert ours == expected
    assert int(read) <= (tmp_path / "eight" / "model.safetensors").stat().st_size


@pytest.mark.nightly
def test_a_run_on_a_model_in_a_bucket_is_the_run_on_the_folder(tmp_path):
    folder = jm.resolve("embedded")
    store, prompts = stored(Path(folder)), []
    for path in (f"gs://models/{folder.name}", str(folder)):
        workdir = tmp_path / str(len(prompts))
        settings = ("search.generations=2", "search.population=8", "prompt.length=2")
        done = run(
            store, "-m", "jaxalign.train", "--config=sa.py:embedded", f"--workdir={workdir}",
            f"--config.model.path={path}", *(f"--config.{each}" for each in settings),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        prompts.append((workdir / "soft_prompt.safetensors").read_bytes())
    assert prompts[0] == prompts[1]
    done = run(store, "-m", "jaxalign.export", f"--workdir={tmp_path / '0'}",
               "--format=prompt_embeds", f"--output={tmp_path / 'out'}")  # fmt: skip
    assert done.returncode == 0, done.stderr
