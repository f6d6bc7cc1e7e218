"""The command, in real processes: resumed, killed, stopped, and given what it must refuse."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import safetensors.numpy
from tiers import first
from train_command import (
    ENVIRONMENT,
    assert_refused,
    begin,
    ending,
    records,
    run,
    wait_for_generation,
)

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.run.tune import tune
from jaxalign.status import describe


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory) -> Path:
    """A run that nothing interrupts."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    result = run(tiny_folder, workdir)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "generation 12/12" in result.stdout and "Saudi Arabia" in result.stdout
    return workdir


@pytest.fixture
def config(tiny_config):
    """What the command runs, in this process."""
    tiny_config.search.generations = 12
    return tiny_config


def test_what_a_run_leaves(whole, tiny_folder):
    summary = json.loads((whole / "summary.json").read_text())
    lines = records(whole)
    assert [line["generation"] for line in lines] == list(range(13))
    assert lines[-1]["evaluations"] == summary["evaluations"] == 6 * 13
    assert lines[-1]["best_loss"] == summary["loss"]["best"] < lines[0]["generation_mean"]
    distance = sum(abs(summary["scores"][k] - v) for k, v in summary["target"].items())
    assert distance == pytest.approx(summary["loss"]["best"], rel=1e-5)
    naive = sum(abs(summary["naive_scores"][k] - v) for k, v in summary["target"].items())
    assert naive == pytest.approx(summary["loss"]["naive"], rel=1e-5)
    assert summary["loss"]["constant"] == 126.0
    prompt = safetensors.numpy.load_file(whole / "soft_prompt.safetensors")
    assert {k: (v.shape, v.dtype.name) for k, v in prompt.items()} == {
        "prompt_embeddings": ((3, 32), "float32")
    }
    record = json.loads((whole / "config.json").read_text())
    assert record["config"]["model"]["path"] == str(tiny_folder)
    assert (
        record["versions"]["jax"] and record["device"] and len(record["digests"]["weights"]) == 64
    )
    assert "--config=sa.py:embedded" in record["command"]
    for name in ("index.html", "scores.csv", "convergence.png", "radar.svg"):
        assert (whole / "report" / name).stat().st_size > 0
    kept = {int(p.name) for p in (whole / "checkpoints").iterdir() if p.name.isdigit()}
    assert {11, 12} <= kept and len(kept) <= 4  # the latest two, the best, and 0 as every 100th
    beat = json.loads((whole / "heartbeat.json").read_text())
    assert (beat["state"], beat["generation"], beat["generations"]) == ("done", 12, 12)
    (events,) = (whole / "tensorboard").iterdir()
    assert b"report/radar" in events.read_bytes()
    told = describe(whole, time.time())
    assert told["best_loss"] == summary["loss"]["best"]
    assert told["naive_loss"] == pytest.approx(summary["loss"]["naive"], rel=1e-6)


def test_the_prompt_gives_its_loss_in_torch(whole, tiny_folder, tiny_problem):
    """The file, put before everything else in transformers, gives the scores that we claim."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from jaxalign.prompts import encode, question_text, render_chat

    prompt = safetensors.numpy.load_file(whole / "soft_prompt.safetensors")["prompt_embeddings"]
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    tokenizer, means = tiny_problem.tokenizer, {}
    for item, ids in zip(
        tiny_problem.instrument.items, tiny_problem.questions.answer_ids_QA, strict=True
    ):
        text = render_chat(tokenizer, question_text(tiny_problem.instrument, item))
        rows = model.get_input_embeddings()(torch.tensor(encode(tokenizer, text)))
        with torch.no_grad():
            inputs = torch.cat([torch.tensor(prompt), rows])[None]
            logits = model(inputs_embeds=inputs).logits[0, -1, torch.tensor(ids)]
        means[item.id] = float(logits.double().softmax(0) @ torch.arange(1.0, 6.0).double())
    scores = json.loads((whole / "summary.json").read_text())["scores"]
    pdi = 35 * (means["m07"] - means["m02"]) + 25 * (means["m20"] - means["m23"]) + 50
    ivr = 35 * (means["m12"] - means["m11"]) + 40 * (means["m17"] - means["m16"]) + 50
    assert scores["PDI"] == pytest.approx(pdi, abs=2e-3)
    assert scores["IVR"] == pytest.approx(ivr, abs=2e-3)


@pytest.mark.nightly
def test_a_finished_run_is_told_again_and_can_go_on(whole, tiny_folder, tmp_path):
    before = ending(whole)
    again = run(tiny_folder, whole)
    assert again.returncode == 0 and "after generation 12" in again.stdout
    assert ending(whole) == before

    short = tmp_path / "short"
    profiled = run(tiny_folder, short, "--config.search.generations=5", "--profile=2:4")
    assert profiled.returncode == 0 and profiled.stderr == ""
    assert len(list(short.glob("profile/**/*.xplane.pb"))) == 1
    longer = run(tiny_folder, short)
    assert longer.returncode == 0 and "after generation 5" in longer.stdout
    assert ending(short) == before
    shorter = run(tiny_folder, short, "--config.search.generations=5")
    assert_refused(shorter, "search.generations=5", "generation 12")


@pytest.mark.parametrize("moments", first(1, [(5,), (2, 7), (0, 3, 3)]))
def test_kill_9_at_any_moment_loses_the_generation_in_flight(whole, tiny_folder, tmp_path, moments):
    workdir = tmp_path / "killed"
    for moment in moments:
        process = begin(tiny_folder, workdir)
        told = len(records(workdir)) - 1 if (workdir / "metrics.jsonl").exists() else -1
        wait_for_generation(process, workdir, max(moment, told + 1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert describe(workdir, time.time())["state"] == "dead"
    told = records(workdir)[-1]["generation"]
    last = run(tiny_folder, workdir)
    assert last.returncode == 0, last.stderr
    resumed = int(last.stdout.split("after generation ")[1].split()[0])
    assert resumed >= told
    assert ending(workdir) == ending(whole)


@pytest.mark.parametrize("number", first(1, [signal.SIGTERM, signal.SIGINT]))
def test_a_stop_is_clean_and_says_how_to_go_on(whole, tiny_folder, tmp_path, number):
    workdir = tmp_path / "stopped"
    process = begin(tiny_folder, workdir)
    wait_for_generation(process, workdir, 2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0
    assert errors == "stopping after this step; again to stop now\n"
    name = signal.Signals(number).name
    assert f"stopped by {name} after generation" in output
    last = int(output.split("after generation ")[1].split(",")[0])
    assert last < 12 and len(records(workdir)) == last + 1
    assert not (workdir / "summary.json").exists()
    assert describe(workdir, time.time())["state"] == "stopped"
    again = output.rstrip().splitlines()[-1].strip()
    assert "-m jaxalign.train --config=sa.py:embedded" in again
    result = subprocess.run(
        again, shell=True, capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert ending(workdir) == ending(whole)


@pytest.mark.nightly
def test_a_damaged_checkpoint_falls_back(whole, tiny_folder, tmp_path):
    workdir = tmp_path / "damaged"
    assert run(tiny_folder, workdir, "--config.search.generations=8").returncode == 0
    for file in (workdir / "checkpoints" / "8").rglob("*"):
        if file.is_file() and file.stat().st_size > 100:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    result = run(tiny_folder, workdir)
    assert result.returncode == 0
    warnings = result.stderr.strip().splitlines()
    assert len(warnings) == 1 and "checkpoints/8 cannot be read" in warnings[0]
    assert "after generation 7" in result.stdout
    assert ending(workdir) == ending(whole)


def test_another_run_is_not_overwritten(whole, tiny_folder, config):
    before = {path: path.read_bytes() for path in whole.glob("*.*")}
    result = run(tiny_folder, whole, "--config.seed=3", "--config.objective.norm=l2")
    assert_refused(result, "seed was 0, now 3", "objective.norm was 'l1', now 'l2'", "--workdir")
    config.evaluation.chunk = 2
    with pytest.raises(UserError, match=r"evaluation\.chunk was 3, now 2"):
        tune(freeze(config), whole)
    assert before == {path: path.read_bytes() for path in whole.glob("*.*")}


def test_checkpoints_of_an_unknown_run_are_not_adopted(whole, tiny_folder, tmp_path):
    workdir = tmp_path / "unknown"
    shutil.copytree(whole, workdir)
    (workdir / "config.json").unlink()
    assert_refused(run(tiny_folder, workdir, "--config.seed=9"), "config.json", "--workdir")


def test_another_chat_template_is_another_run(whole, tiny_folder, config, tmp_path):
    folder, workdir = tmp_path / "model", tmp_path / "run"
    shutil.copytree(tiny_folder, folder)
    shutil.copytree(whole, workdir)
    template = folder / "chat_template.jinja"
    template.write_text("Dear model: " + template.read_text())
    config.model.path = str(folder)
    with pytest.raises(UserError, match="the questions changed"):
        tune(freeze(config), workdir)


def test_a_cut_line_of_metrics_is_written_again(whole, config, tmp_path):
    workdir = tmp_path / "cut"
    shutil.copytree(whole, workdir)
    metrics = workdir / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-30])
    tune(freeze(config), workdir)
    assert ending(workdir) == ending(whole)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("tool", "copy"),
    [
        ("cp", "cp -r {source} {target}"),
        ("rsync", "rsync -a {source}/ {target}"),
        ("rsync", "rsync -r --inplace {source}/ {target}"),  # with other times and modes
        ("tar", "mkdir {target} && tar -C {source} -c . | tar -C {target} -x"),
        ("python3", "python3 -m zipfile -c {target}.zip {source}/. && "
         "python3 -m zipfile -e {target}.zip {target}"),
    ],
)  # fmt: skip
def test_a_copied_workdir_goes_on(whole, tiny_folder, tmp_path, tool, copy):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    source, target = tmp_path / "source", tmp_path / "target"
    assert run(tiny_folder, source, "--config.search.generations=5").returncode == 0
    subprocess.run(copy.format(source=source, target=target), shell=True, check=True)
    shutil.rmtree(source)
    result = run(tiny_folder, target)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "after generation 5" in result.stdout and not source.exists()
    assert ending(target) == ending(whole)


@pytest.mark.nightly
def test_a_chunk_above_the_population_and_a_workdir_with_a_space(tiny_folder, tmp_path):
    workdir = tmp_path / "with space"
    flags = ("--config.evaluation.chunk=100", "--config.search.generations=2")
    for _ in range(2):
        result = run(tiny_folder, workdir, *flags)
        assert result.returncode == 0, result.stderr
    record = json.loads((workdir / "config.json").read_text())
    assert record["resolved"]["chunk"] == 6
