"""tpu_vm.sh with a stand-in for gcloud that records calls and runs commands in a folder a host."""

import os
import re
import signal

import pytest
from waiting import wait_for

# Refuses what the real one (528.0.0) does not list; install and mount are only recorded.
GCLOUD = r"""
[ "$1 $2 $3" = "compute tpus tpu-vm" ] || exit 90
verb=$4
shift 4
quoted "$verb" "$@" >>"$HOME/calls"
case $verb in
  create) known="zone accelerator-type version spot" ;;
  describe) known="zone format" ;;
  delete) known="zone quiet" ;;
  start) known="zone" ;;
  ssh) known="zone worker command" ;;
  scp) known="zone worker" ;;
  *) exit 91 ;;
esac
for flag; do
  flag=${flag%%=*}
  [[ $flag != --* ]] || [[ " $known " == *" ${flag#--} "* ]] || exit 92
done
cloud=$HOME/cloud
state=$cloud/state
needs_ready() {
  [ "$(cat "$state")" = READY ] && [ ! -e "$cloud/no-ssh" ] && return
  echo "ERROR: not reachable" >&2
  exit 255
}
hosts() {
  local worker
  worker=$(value_of worker "$@")
  if [ "$worker" = all ]; then worker=$(seq 0 $(($(cat "$cloud/hosts") - 1))); fi
  echo "$worker"
}
case $verb in
  create) [ ! -e "$cloud/no-capacity" ] || exit 1; echo READY >"$state" ;;
  start) echo READY >"$state" ;;
  delete) rm "$state" && rm -rf "$cloud"/host-* ;;
  describe)
    [ ! -e "$cloud/denied" ] || { echo "ERROR: PERMISSION_DENIED" >&2; exit 1; }
    [ -e "$state" ] || { echo "ERROR: (…) NOT_FOUND: Resource 'a' was not found" >&2; exit 1; }
    printf '%s\t%s\n' "$(cat "$state")" "$(cat "$cloud/hosts")"
    ;;
  scp)
    needs_ready
    for host in $(hosts "$@"); do
      mkdir -p "$cloud/host-$host" && cp "$1" "$cloud/host-$host/${2#*:}"
    done
    ;;
  ssh)
    needs_ready
    command=$(value_of command "$@")
    [[ $command != *"worker.sh install"* ]] && [[ $command != *"worker.sh mount"* ]] || exit 0
    for host in $(hosts "$@"); do
      cd "$cloud/host-$host" 2>/dev/null || exit 1
      HOME=$PWD bash -c "$command" || exit
      if [[ $command == *"tar -x"* ]]; then # what install would have made
        mkdir -p jaxalign/.venv && cp -r "$VENV_BIN" jaxalign/.venv
      fi
    done
    ;;
esac
"""
FLAGS = ("--name=a", "--zone=z")
MOUNT = "--mount=gs://b"


@pytest.fixture
def cloud(checkout):
    folder = checkout.bin.parent / "cloud"
    folder.mkdir()
    (folder / "hosts").write_text("1\n")
    checkout.program("gcloud", GCLOUD)
    checkout.environment["VENV_BIN"] = str(checkout.root / ".venv" / "bin")

    def call(*flags: str, **environment: str) -> tuple[int, str, list[str]]:
        """Status, output, and calls as `verb [where] what`."""
        calls = checkout.bin.parent / "calls"
        calls.write_text("")
        status, output = checkout.call("tpu_vm.sh", *flags, **environment)
        lines = calls.read_text().replace("--zone=z ", "").replace("--zone=z", "").splitlines()
        return status, output, [shorten(line) for line in lines]

    checkout.cloud, checkout.tpu = folder, call
    return checkout


def shorten(line: str) -> str:
    line = line.strip().removesuffix("'")
    line = re.sub(r"^ssh a --worker=(\S+) --command='(cd jaxalign && ./launch/)?", r"\1: ", line)
    line = re.sub(r"^scp \S+ a:(\S+) --worker=", r"copy \1 to ", line)
    return line.replace("--format='value(state,networkEndpoints.len())", "").strip()


def run(workdir) -> tuple[str, ...]:
    return ("--", "--config=sa.py", f"--workdir={workdir}")


def test_a_machine_is_made_the_run_started_on_all_hosts_and_the_machine_deleted(cloud, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "steps").write_text("token\n" * 2)
    (cloud.cloud / "hosts").write_text("2\n")
    status, output, calls = cloud.tpu(
        *FLAGS, "--type=v5litepod-16", "--spot", MOUNT, "--delete", *run(shared), HF_TOKEN="secret"
    )
    assert status == 0, output
    assert "\ntrain token\n" in output  # what the first host says
    assert (shared / "token").read_text() == "secret\n"
    assert calls == [
        "describe a",
        "create a --accelerator-type=v5litepod-16 --version=v2-alpha-tpuv5-lite --spot",
        "describe a",
        "copy jaxalign.tgz to all",
        "all: mkdir -p jaxalign && tar -xzf jaxalign.tgz -C jaxalign && rm jaxalign.tgz",
        "all: worker.sh install tpu",
        "all: worker.sh mount gs://b",
        f"all: worker.sh start --distributed --config=sa.py --workdir={shared}",
        f"0: worker.sh follow --workdir={shared}",
        "delete a --quiet",
    ]
    assert not any("secret" in call for call in calls)


def test_a_machine_is_used_again_and_a_run_that_goes_on_is_shown(cloud, tmp_path):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "steps").write_text("wait\ndone\n")
    first = cloud.start("tpu_vm.sh", *FLAGS, *run(run_folder))
    wait_for(run_folder / "waiting")
    os.killpg(first.pid, signal.SIGINT)  # Ctrl-C ends the script and not the run
    first.communicate(timeout=120)

    second = cloud.start("tpu_vm.sh", *FLAGS, *run(run_folder))
    for line in second.stdout:
        if line == "train wait\n":
            break
    status, output, calls = cloud.tpu(*FLAGS, "--stop", *run(run_folder))
    assert status == 0, output
    assert calls[0] == f"all: worker.sh stop --workdir={run_folder}"  # then the other call's
    second.communicate(timeout=120)
    assert second.returncode == 75
    assert (run_folder / "signals").read_text() == "wait TERM\n"

    status, output, calls = cloud.tpu(*FLAGS, *run(run_folder))  # the machine is still there
    assert status == 0, output
    assert [call.split()[0] for call in calls] == ["describe", "0:", "copy", *["all:"] * 3, "0:"]
    assert (cloud.cloud / "state").exists()


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        ("PREEMPTED", ["describe", "delete", "create", "describe", "copy"]),
        ("TERMINATED", ["describe", "delete", "create", "describe", "copy"]),
        ("STOPPED", ["describe", "start", "describe", "0:", "copy"]),
    ],
)
def test_a_machine_that_is_gone_is_made_anew(cloud, tmp_path, state, verbs):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "steps").write_text("done\n")
    (cloud.cloud / "state").write_text(f"{state}\n")
    status, output, calls = cloud.tpu(*FLAGS, *run(tmp_path / "run"))
    assert status == 0, output
    assert [call.split()[0] for call in calls][: len(verbs)] == verbs


@pytest.mark.parametrize(
    ("words", "ends"), [("done", 0), ("mistake", 2), ("crash\n" * 10, 1)], ids=["0", "2", "1"]
)
def test_the_status_is_that_of_the_run(cloud, tmp_path, words, ends):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "steps").write_text(words + "\n")
    status, output, calls = cloud.tpu(*FLAGS, "--delete", *run(tmp_path / "run"))
    assert status == ends, output
    assert ("delete a --quiet" in calls) == (ends == 0)  # its log is needed otherwise


def test_a_machine_taken_away_while_it_runs_is_told_by_75(cloud, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "steps").write_text("wait\ncrash\n")
    process = cloud.start("tpu_vm.sh", *FLAGS, *run(tmp_path / "run"))
    wait_for(tmp_path / "run" / "waiting")
    (cloud.cloud / "state").write_text("PREEMPTED\n")
    pid = next((cloud.cloud / "host-0" / "jaxalign" / "runs" / ".launch").glob("*/pid"))
    os.kill(int(pid.read_text()), signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75
    assert "a was taken away or cannot be reached; the same call goes on" in output


def test_no_capacity_is_told_by_75_so_that_the_watch_asks_again(cloud):
    (cloud.cloud / "no-capacity").touch()
    assert cloud.tpu(*FLAGS, *run("/data/a"))[0] == 75


def test_a_machine_that_cannot_be_reached_is_told_by_75_and_no_secret_stays(cloud, tmp_path):
    (cloud.cloud / "no-ssh").touch()
    (tmp_path / "temporary").mkdir()
    status, output, calls = cloud.tpu(
        *FLAGS, *run("/data/a"), HF_TOKEN="secret", TMPDIR=str(tmp_path / "temporary")
    )
    assert status == 75, output
    assert [call.split()[0] for call in calls] == ["describe", "create", "describe", "copy"]
    assert "the same call goes on" in output
    assert list((tmp_path / "temporary").iterdir()) == []


def test_delete_alone_deletes_now_and_only_what_is_there(cloud):
    (cloud.cloud / "state").write_text("READY\n")
    assert cloud.tpu(*FLAGS, "--delete")[::2] == (0, ["describe a", "delete a --quiet"])
    assert cloud.tpu(*FLAGS, "--delete")[::2] == (0, ["describe a"])


def test_a_fault_of_gcloud_is_shown_and_nothing_is_made(cloud):
    (cloud.cloud / "denied").touch()
    status, output, calls = cloud.tpu(*FLAGS, *run("/data/a"))
    assert (status, calls) == (1, ["describe a"])
    assert "PERMISSION_DENIED" in output


def test_several_hosts_without_a_common_folder_are_refused(cloud):
    (cloud.cloud / "hosts").write_text("4\n")
    (cloud.cloud / "state").write_text("READY\n")
    status, output, calls = cloud.tpu(*FLAGS, *run("/data/a"))
    assert (status, calls) == (2, ["describe a"])
    assert output == "error: a has 4 hosts, which need a common folder: give --mount=…\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--zone=z", *run("/a")), "give --name=NAME and --zone=ZONE"),
        (FLAGS, "give the flags of the run after --"),
        ((*FLAGS, "--stop", "--delete"), "give the flags of the run after --"),
        ((*FLAGS, "--config=sa.py"), "--config=sa.py: not a flag of tpu_vm.sh"),
        ((*FLAGS, "--", "--config=sa.py"), "no --workdir=DIR among the flags"),
        ((*FLAGS, "--type=v9-8", *run("/a")), "--type=v9-8: give --version too"),
    ],
)
def test_a_mistake_costs_nothing(cloud, flags, message):
    status, output, calls = cloud.tpu(*flags)
    assert status == 2
    assert output.startswith(f"error: {message}") and output.count("\n") == 1
    assert [call for call in calls if call != "describe a"] == []
