"""Build the image of a bare host, and the base it stands on where there is no registry."""

import hashlib
import os
import shutil
from pathlib import Path

from testbed.engine import TestbedError, apt_install, can_install, docker, run_visibly, say
from testbed.hosts import LOOK_ALIKES, OWN_BASE, REGISTRY_BASE, STATE

HERE = Path(__file__).resolve().parent
EL = HERE / "el"
LOOK_ALIKE = "pgha-el"
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
    stands_on = base
    if base == OWN_BASE:
        _ensure_own_base()
    if base in LOOK_ALIKES:
        stands_on = _ensure_look_alike(base)
    sources = [HERE / name for name in ("Dockerfile", "entrypoint.sh")]
    _ensure_built(image, HERE, sources, {"BASE": stands_on}, _label_of(stands_on))
    return image


def _ensure_look_alike(base: str) -> str:
    """Return the image of Enterprise Linux that a host of `base` stands on, made from Debian's."""
    below = default_base()
    if below == OWN_BASE:
        _ensure_own_base()
    release, sources = (
        base.removeprefix("el"),
        sorted(file for file in EL.rglob("*") if file.is_file() and file.suffix != ".md"),
    )
    arguments, below_label = {"BASE": below, "RELEASE": release}, _label_of(below)
    # A stage without a name of its own would be left behind by `make clean`.
    stage = f"{LOOK_ALIKE}:{release}-packages"
    _ensure_built(stage, EL, sources, arguments, below_label, "packages")
    image = f"{LOOK_ALIKE}:{release}"
    _ensure_built(image, EL, sources, arguments, below_label)
    return image


def _ensure_built(
    image: str, folder: Path, sources: list[Path], arguments: dict[str, str],
    below: str, target: str = "",
) -> None:  # fmt: skip
    """Return once the image is what its sources, its arguments and the image below it say."""
    inputs = _hash(below, *arguments.values(), *(source.read_text() for source in sources))
    if _label_of(image) == inputs:
        return
    command = ["docker", "build", "--tag", image, "--label", f"{LABEL}={inputs}"]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    command += ["--target", target] if target else []
    run_visibly(
        f"build the image {image}",
        [*command, str(folder)],
        {} if _has_buildx() else {"DOCKER_BUILDKIT": "0"},
    )


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
    ours = {"pgha-host", LOOK_ALIKE, OWN_BASE, "<none>"}
    images = [line.split() for line in shown.splitlines() if line.split(":")[0] in ours]
    if images:
        # Newest first, as Docker lists them: a base cannot go before what is built on it.
        docker("rmi", "--force", *dict.fromkeys(identifier for _, identifier in images))
    return [name for name, _ in images]
