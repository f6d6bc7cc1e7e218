"""Several real processes on one run: the same search, one writer, and ends that lose nothing."""

import contextlib
import http.server
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from paths import ROOT

from jaxalign.devices.distributed import is_wanted

SLURM = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}


@pytest.mark.parametrize(
    ("arguments", "environment", "wanted"),
    [
        ([], {}, False),
        (["--distributed"], {}, True),
        (["--distributed=true"], {}, True),
        (["--config=sa.py", "--nodistributed"], SLURM, False),
        (["--distributed=false"], SLURM, False),
        ([], SLURM, True),
        ([], SLURM | {"SLURM_NTASKS": "1"}, False),
        ([], {"SLURM_NTASKS": "2"}, False),  # salloc's shell, outside of any step
        ([], {"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, True),
        ([], {"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        (["--distributed=True"], {}, True),
        (["--distributed=1"], {}, True),
        (["--distributed=F"], SLURM, False),
        (["--distributed", "--nodistributed"], {}, False),
        (["distributed"], {}, False),
    ],
)
def test_when_a_process_is_one_of_several(arguments, environment, wanted):
    assert is_wanted(arguments, environment) is wanted


@pytest.mark.parametrize(
    ("workers", "wanted"), [("a:0:10.0.0.1,a:1:10.0.0.2", True), ("10.0.0.1", False), (None, False)]
)
def test_a_tpu_vm_asks_its_metadata_server(workers, wanted, monkeypatch):
    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.path.endswith("/attributes/worker-network-endpoints")
            google = self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200 if workers and asked and google else 404)
            self.end_headers()
            self.wfile.write((workers or "").encode())

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        environment = {"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "libtpu" or None)
        assert is_wanted([], environment) is wanted
    assert is_wanted([], environment | {"TPU_SKIP_MDS_QUERY": "1"}) is False


def test_a_process_that_finds_no_others_says_how_to_tell_it():
    clean = {key: value for key, value in os.environ.items() if not key.startswith("JAX_COORD")}
    result = subprocess.run(
        [sys.executable, "-m", "jaxalign.train", "--config=sa.py:embedded", "--distributed"],
        capture_output=True,
        text=True,
        env=clean | {"JAX_PLATFORMS": "cpu"},
        timeout=120,
    )
    assert result.returncode == 2
    assert "JAX_COORDINATOR_ADDRESS" in result.stderr and "Traceback" not in result.stderr


GENERATIONS = 10
HEARTBEAT = 15  # seconds


class Job:
    """So many processes of one device each on one workdir; the last one may have another model."""

    def __init__(
        self,
        processes: int,
        model: Path,
        workdir: Path,
        *flags: str,
        generations: int = GENERATIONS,
        last_model: Path | None = None,
        address: str = "",
    ):
        self.workdir = workdir
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = address or f"127.0.0.1:{free.getsockname()[1]}"
        command = [
            *(sys.executable, "-m", "jaxalign.train", "--config=sa.py:embedded"),
            *(f"--workdir={workdir}", "--config.search.strategy=jDE"),
            *("--config.prompt.length=3", "--config.search.population=8"),
            *(f"--config.search.generations={generations}", "--config.evaluation.chunk=2"),
            *["--distributed"] * (processes > 1),
            *flags,
        ]
        models = [model] * (processes - 1) + [last_model or model]
        root = str(ROOT)
        self.processes = [
            subprocess.Popen(
                [*command, f"--config.model.path={models[number]}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ
                | {
                    "JAX_PLATFORMS": "cpu",
                    "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
                    "PYTHONPATH": root,
                    "JAX_COORDINATOR_ADDRESS": self.address,
                    "JAX_NUM_PROCESSES": str(processes),
                    "JAX_PROCESS_ID": str(number),
                    "JAXALIGN_HEARTBEAT_SECONDS": str(HEARTBEAT),
                },
            )
            for number in range(processes)
        ]

    def wait(self) -> list[tuple[int, str, str]]:
        ends = []
        for process in self.processes:
            try:
                out, err = process.communicate(timeout=500)
            finally:
                process.kill()
            ends.append((process.returncode, out, err))
        return ends

    def finish(self) -> "Job":
        for code, _, err in self.wait():
            assert code == 0, err
        return self

    def records(self) -> list[dict]:
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        records = []
        for line in lines:
            with contextlib.suppress(ValueError):  # the last one may be on its way
                record = json.loads(line)
                records.append({k: v for k, v in record.items() if "second" not in k})
        return records

    def reach(self, generation: int) -> None:
        until = time.monotonic() + 450
        while len(self.records()) <= generation:
            assert time.monotonic() < until and all(p.poll() is None for p in self.processes)
            time.sleep(0.02)

    def prompt(self) -> np.ndarray:
        tensors = safetensors.numpy.load_file(self.workdir / "soft_prompt.safetensors")
        return tensors["prompt_embeddings"]


@pytest.fixture(scope="module")
def undisturbed(tiny_folder, tmp_path_factory) -> Job:
    workdir = tmp_path_factory.mktemp("two") / "run"
    return Job(2, tiny_folder, workdir, "--profile=1:2").finish()


@pytest.mark.nightly
def test_two_and_four_processes_search_like_one(tiny_folder, tmp_path, undisturbed):
    one = Job(1, tiny_folder, tmp_path / "one").finish()
    four = Job(4, tiny_folder, tmp_path / "four").finish()
    for name in ("best_loss", "generation_best", "generation_mean"):
        expected = [record[name] for record in one.records()]
        assert len(expected) == GENERATIONS + 1
        for job in (undisturbed, four):
            found = [record[name] for record in job.records()]
            np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (undisturbed.workdir / "report" / "index.html").exists()
    assert len(list(undisturbed.workdir.glob("profile/**/*.xplane.pb"))) == 1  # the first one's


@pytest.mark.nightly
def test_a_mistake_on_one_ends_all(tiny_folder, tmp_path):
    begun = time.monotonic()
    job = Job(2, tiny_folder, tmp_path / "run", last_model=tmp_path / "nothing")
    (code, _, _), (code_of_last, _, err) = job.wait()
    assert code_of_last == 2 and "is not a folder" in err
    assert code != 0 and time.monotonic() - begun < 300  # 13 here


@pytest.mark.nightly
def test_killed_and_started_again_it_ends_at_the_same_bytes(tiny_folder, tmp_path, undisturbed):
    job = Job(2, tiny_folder, tmp_path / "run")
    job.reach(2)
    job.processes[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    (code, _, err), _ = job.wait()
    assert code != 0 and time.monotonic() - killed < 3 * HEARTBEAT
    assert "another process of this run is gone" in err or "distributed service detected" in err
    # At once, on the same port: what restarts a job gives it the address that it had.
    again = Job(2, tiny_folder, tmp_path / "run", address=job.address).finish()
    assert again.records() == undisturbed.records()
    assert again.prompt().tobytes() == undisturbed.prompt().tobytes()


@pytest.mark.nightly
def test_the_port_of_two_that_were_killed_is_used_again_at_once(tiny_folder, tmp_path, undisturbed):
    job = Job(2, tiny_folder, tmp_path / "run")
    job.reach(2)
    for process in job.processes:
        process.kill()
    again = Job(2, tiny_folder, tmp_path / "run", address=job.address)
    job.wait()
    assert again.finish().prompt().tobytes() == undisturbed.prompt().tobytes()


@pytest.mark.nightly
def test_sigterm_to_one_of_four_stops_all_and_two_go_on(tiny_folder, tmp_path, undisturbed):
    job = Job(4, tiny_folder, tmp_path / "run", generations=60)
    job.reach(1)
    job.processes[2].send_signal(signal.SIGTERM)
    ends = job.wait()
    assert [code for code, _, _ in ends] == [0] * 4, ends
    stopped = [out for _, out, _ in ends if "stopped by SIGTERM after generation" in out]
    reached = len(job.records()) - 1
    assert reached < 60 and len(stopped) == 1  # the first process tells, for all
    assert f"after generation {reached}," in stopped[0]
    assert not (job.workdir / "summary.json").exists()
    two = Job(2, tiny_folder, tmp_path / "run", generations=60).finish()
    ours, theirs = ([record["best_loss"] for record in j.records()] for j in (two, undisturbed))
    assert len(ours) == 61
    np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=1e-4)
