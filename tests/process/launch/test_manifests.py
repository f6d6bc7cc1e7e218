"""Kubernetes manifests, the SkyPilot task and the images, against their schemas and each other."""

import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from paths import ROOT

MANIFESTS = ("gpu", "tpu")
OLDEST = "1.31"  # of Kubernetes, that the manifests say they need
KINDS = ["Service", "PersistentVolumeClaim", "Job"]


def documents(name: str) -> list[dict]:
    text = (ROOT / "launch" / "kubernetes" / f"{name}.yaml").read_text()
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_fit_the_schema_without_a_word_too_many(name, version):
    assert [document["kind"] for document in documents(name)] == KINDS
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schema_would_tell_a_misspelt_key():
    job = documents("gpu")[2]
    job["spec"]["podFailurePolicies"] = job["spec"].pop("podFailurePolicy")
    with pytest.raises(kubernetes_validate.ValidationError, match="podFailurePolicies"):
        kubernetes_validate.validate(job, OLDEST, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_find_each_other_and_their_volume(name):
    service, claim, job = documents(name)
    spec = job["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    env = {entry["name"]: entry for entry in container["env"]}
    processes = int(env["JAX_NUM_PROCESSES"]["value"])
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == processes
    # Pod 0 of an indexed job is JOB-0, and the headless service makes that a name.
    host, port = env["JAX_COORDINATOR_ADDRESS"]["value"].split(":")
    assert service["spec"]["clusterIP"] == "None"
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["spec"]["publishNotReadyAddresses"]
    assert int(port) == service["spec"]["ports"][0]["port"]
    path = env["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    # The workdir lies on the claim, which all pods may write.
    [mount] = [m for m in container["volumeMounts"] if m["name"] == "runs"]
    [volume] = [v for v in pod["volumes"] if v["name"] == "runs"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    [workdir] = [word for word in container["command"] if word.startswith("--workdir=")]
    assert workdir.startswith(f"--workdir={mount['mountPath']}/")


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_preempted_pod_comes_back_and_a_mistake_does_not(name):
    """What watch.sh ends with, and what the cluster does, meets the rule that is meant for it."""
    spec = documents(name)[2]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    assert container["command"][0] == "/app/launch/watch.sh"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # a podFailurePolicy needs it

    def action(code: int, disrupted: bool) -> str:
        for rule in spec["podFailurePolicy"]["rules"]:
            codes = rule.get("onExitCodes")
            if codes and codes["containerName"] == container["name"] and code in codes["values"]:
                return rule["action"]
            conditions = rule.get("onPodConditions", [])
            if disrupted and {"type": "DisruptionTarget", "status": "True"} in conditions:
                return rule["action"]
        return "Count"  # Kubernetes' own rule

    assert action(2, disrupted=False) == "FailJob"
    assert action(75, disrupted=True) == action(75, disrupted=False) == "Ignore"
    assert action(137, disrupted=True) == "Ignore"
    assert action(1, disrupted=False) == action(137, disrupted=False) == "Count"


def test_the_manifests_differ_in_the_accelerator_only():
    def neutral(name: str) -> list[dict]:
        service, claim, job = documents(name)
        job["spec"] |= {"completions": 0, "parallelism": 0}
        pod = job["spec"]["template"]["spec"]
        [container] = pod["containers"]
        for key in ("nodeSelector", "tolerations"):
            pod.pop(key, None)
        for key in ("nvidia.com/gpu", "google.com/tpu"):
            container["resources"]["limits"].pop(key, None)
        container["image"] = container["image"].partition(":")[0]
        [processes] = [entry for entry in container["env"] if entry["name"] == "JAX_NUM_PROCESSES"]
        processes["value"] = ""
        for part, key in ((container, "volumeMounts"), (pod, "volumes")):
            part[key] = [entry for entry in part[key] if entry["name"] == "runs"]
        return [service, claim, job]

    assert neutral("gpu") == neutral("tpu")


def test_the_skypilot_task_is_a_recovered_spot_run_in_a_bucket():
    task = yaml.safe_load((ROOT / "launch" / "skypilot.yaml").read_text())
    resources = task["resources"]
    assert resources["use_spot"] and resources["job_recovery"]["recover_on_exit_codes"] == [75]
    accelerators = [choice["accelerators"] for choice in resources["any_of"]]
    assert any(name.startswith("tpu-") for name in accelerators)
    assert any(not name.startswith("tpu-") for name in accelerators)
    [(folder, bucket)] = task["file_mounts"].items()
    assert bucket == {"name": "${BUCKET}", "mode": "MOUNT_CACHED"}
    assert f'--workdir="{folder}/$RUN"' in task["run"]
    assert set(task["secrets"].values()) == {None}  # from the environment only
    for script in (task["setup"], task["run"]):
        subprocess.run(["bash", "-n", "-c", script], check=True)


def test_images_copy_what_there_is_and_differ_in_the_accelerator_only():
    taken = (ROOT / ".dockerignore").read_text().splitlines()
    steps = {}
    for extra in ("cuda", "tpu"):
        lines = (ROOT / "launch" / f"Dockerfile.{extra}").read_text().splitlines()
        steps[extra] = [line.replace(extra, "EXTRA") for line in lines if line[:1] not in ("#", "")]
        for line in steps[extra]:
            if line.startswith("COPY"):
                for source in line.split()[1:-1]:
                    assert (ROOT / source).exists() and f"!{source}" in taken
    only = [line for line in steps["cuda"] if line not in steps["tpu"]]
    assert [line.split()[0:2] for line in only] == [["ENV", "NVIDIA_VISIBLE_DEVICES=all"]]
    assert [line for line in steps["cuda"] if line not in only] == steps["tpu"]


def test_no_file_of_the_folder_holds_a_secret():
    shapes = re.compile(r"hf_[A-Za-z0-9]{8}|AKIA[0-9A-Z]{8}|-----BEGIN|ya29\.")
    for file in (ROOT / "launch").rglob("*"):
        if file.is_file():
            assert not shapes.search(file.read_text()), file
