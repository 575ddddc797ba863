"""The files that run the server elsewhere: what can be told of them without Docker, systemd or nginx."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from quillread.cli.main import make_parser
from quillread.errors import ExitCode

DEPLOY = Path(__file__).parents[1] / "deploy"
ROOT = DEPLOY.parent


def docker_steps() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


def last_stage() -> dict[str, list[str]]:
    steps = docker_steps()
    start = max(index for index, (name, _) in enumerate(steps) if name == "FROM")
    found: dict[str, list[str]] = {}
    for name, arguments in steps[start:]:
        found.setdefault(name, []).append(arguments)
    return found


def parse(arguments: list[str]) -> object:
    return make_parser(arguments).parse_args(arguments)


def test_the_dockerfile_has_only_known_instructions():
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL"}
    assert {name for name, _ in docker_steps()} <= known | {"ENTRYPOINT", "CMD"}


def test_images_are_slim_and_of_a_version():
    bases = [arguments.split()[0] for name, arguments in docker_steps() if name == "FROM"]
    assert bases
    assert all(re.fullmatch(r"python:3\.\d+-slim", base) for base in bases)


def test_what_the_dockerfile_copies_is_there():
    for name, arguments in docker_steps():
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, _ = arguments.split()
            assert all((ROOT / source).exists() for source in sources)


def test_the_container_does_not_run_as_root_and_keeps_its_data_in_a_volume():
    stage = last_stage()
    (user,) = stage["USER"]
    assert user not in ("root", "0")
    assert re.search(rf"useradd --system .*{user}", stage["RUN"][0])
    assert stage["VOLUME"] == ["/data"]
    names = [name for name, _ in docker_steps()]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_the_container_is_looked_after_and_ended_as_the_server_expects():
    stage = last_stage()
    check = stage["HEALTHCHECK"][0]
    command = json.loads(check[check.index("CMD ") + 4 :])
    compile(command[2], "healthcheck", "exec")
    assert "/healthz" in command[2]
    assert stage["EXPOSE"][0] in command[2]
    assert stage["STOPSIGNAL"] == ["SIGTERM"]


@pytest.mark.parametrize(
    "more", [[], ["users", "add", "anna", "--role", "admin"], ["backup", "/data/b.tar"], ["check"]]
)
def test_the_entry_point_takes_options_and_actions(more: list[str]):
    entry = json.loads(last_stage()["ENTRYPOINT"][0])
    args = parse([*entry[1:], *more])
    assert args.data == Path("/data")
    assert args.host == "0.0.0.0"


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "quillread.service", encoding="utf-8")
    return parser


def test_the_unit_starts_a_command_that_exists_as_a_user_of_its_own():
    service = unit()["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "quill"
    args = parse(arguments)
    assert str(args.data) == service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["User"] not in ("root", "")
    assert service["Type"] == "notify"
    assert service["SuccessExitStatus"] == "143"


def test_the_unit_is_hardened():
    service = unit()["Service"]
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    text = (DEPLOY / "quillread.service").read_text(encoding="utf-8")
    place = tmp_path / "quillread.service"
    place.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={shutil.which('true')}", text), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", place], capture_output=True, encoding="utf-8")
    told = [line for line in (done.stdout + done.stderr).splitlines() if "quillread.service" in line]
    assert told == []


def test_the_proxy_example_goes_with_its_command():
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    (command,) = re.findall(r"^#\s+(quill serve .*)$", text, re.MULTILINE)
    args = parse(shlex.split(command)[1:])
    assert args.behind_proxy
    assert f"location {args.root_path}/ {{" in text
    assert args.allowed_host == re.findall(r"server_name (\S+);", text)
    for name in ("Host $http_host", "X-Forwarded-For $remote_addr", "X-Forwarded-Proto $scheme"):
        assert f"proxy_set_header {name};" in text
    assert "proxy_buffering off;" in text  # events


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_the_example(tmp_path: Path):
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    plain = re.sub(r"\s*ssl_certificate\S*\s.*", "", text).replace("443 ssl", "8443")
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{plain}\n}}\n", encoding="utf-8")
    done = subprocess.run(["nginx", "-t", "-p", tmp_path, "-c", whole], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_the_job_for_kubernetes_is_one_that_quill_understands():
    job = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    command, _, otherwise = job["spec"]["entrypoint"].partition(" || ")
    name, *arguments = command.split()
    assert name == "quill"
    parse(arguments)
    # Pages that could not be read must not have the job tried again.
    assert (otherwise, int(ExitCode.INPUT_FAILED)) == ("[ $? -eq 3 ]", 3)
    assert job["spec"]["submissionMode"] == "HTTPMode"  # others do not hand the line to a shell of the cluster


def test_workers_on_kubernetes_come_and_go_and_the_head_has_none():
    cluster = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text(encoding="utf-8"))["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_tested_version_of_ray_is_the_one_on_kubernetes():
    cluster = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text(encoding="utf-8"))["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def test_the_script_for_slurm_is_sound_and_calls_quill_as_it_is():
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"quill (batch .*)", text)
    parse(shlex.split(re.sub(r'"\$\w+"', "3", command)))
