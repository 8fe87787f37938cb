"""Build the image of a bare host, and the base it stands on where there is no registry."""

import hashlib
import os
import shutil
from pathlib import Path

from testbed.engine import TestbedError, apt_install, can_install, docker, run_visibly, say
from testbed.hosts import OWN_BASE, REGISTRY_BASE, STATE

HERE = Path(__file__).resolve().parent
LABEL = "pgha.inputs"

# A mirror may lag behind the date that its Release file promises; a test host does not mind.
_MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    '--aptopt=Acquire::Check-Valid-Until "false"',
    "forky",
)


def ensure_image(base: str) -> str:
    """Return the name of an image made from the present inputs; build it if there is none."""
    image = f"pgha-host:{base.replace('/', '-').replace(':', '-')}"
    inputs = _hash(base, *(HERE.joinpath(f).read_text() for f in ("Dockerfile", "entrypoint.sh")))
    if _label_of(image) == inputs:
        return image
    if base == OWN_BASE:
        _ensure_own_base()
    run_visibly(
        f"build the image {image}",
        _build_command(image, base, inputs),
        {} if _has_buildx() else {"DOCKER_BUILDKIT": "0"},
    )
    return image


def _build_command(image: str, base: str, inputs: str) -> list[str]:
    return [
        *("docker", "build", "--tag", image, "--label", f"{LABEL}={inputs}"),
        *("--build-arg", f"BASE={base}", str(HERE)),
    ]


def _has_buildx() -> bool:
    return docker("buildx", "version", check=False) != ""


def _hash(*inputs: str) -> str:
    return hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]


def _label_of(image: str) -> str:
    template = f'{{{{ index .Config.Labels "{LABEL}" }}}}'
    return docker("image", "inspect", "--format", template, image, check=False)


def default_base() -> str:
    """Return the base this machine can make itself, or else one from the registry."""
    if _label_of(OWN_BASE) or shutil.which("mmdebstrap") or can_install():
        return OWN_BASE
    say(f"no mmdebstrap here and no right to install it: the base is {REGISTRY_BASE}")
    return REGISTRY_BASE


def _ensure_own_base() -> None:
    recipe = _hash(*_MMDEBSTRAP)
    if _label_of(OWN_BASE) == recipe:
        return
    if shutil.which("mmdebstrap") is None:
        if not can_install():
            raise TestbedError(
                f"the base {OWN_BASE} is out of date and mmdebstrap is missing",
                "install mmdebstrap, or name another base: up --base debian:forky",
            )
        apt_install("mmdebstrap", "debian-archive-keyring")
    STATE.mkdir(exist_ok=True)
    tarball = STATE / f"base-{os.getpid()}.tar"
    try:
        run_visibly("make the base image with mmdebstrap", [*_MMDEBSTRAP, str(tarball)])
        say(f"import it as {OWN_BASE}")
        docker("import", "--change", f"LABEL {LABEL}={recipe}", str(tarball), OWN_BASE)
    finally:
        tarball.unlink(missing_ok=True)


def remove_images() -> list[str]:
    """Remove every image that was made here, and return their names."""
    shown = docker(
        "images", "--filter", f"label={LABEL}", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"
    )
    ours = {"pgha-host", OWN_BASE, "<none>"}
    images = [line.split() for line in shown.splitlines() if line.split(":")[0] in ours]
    if images:
        # Newest first, as Docker lists them: a base cannot go before what is built on it.
        docker("rmi", "--force", *dict.fromkeys(identifier for _, identifier in images))
    return [name for name, _ in images]
