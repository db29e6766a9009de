# SPDX-License-Identifier: Apache-2.0
"""Builders: the built-in ones pass the conformance suite, the container's by real engines, podman and Docker Engine,
in which a real module is built; and what is told where there is no engine, no image, or no digest.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from container_engine import ENGINES, Engine, NoEngine, running_engine
from rebuild_house import House, again, git, site_in
from test_conformance import conform, passed_all
from tiny_build import build, needs_sandbox, tiny_project, tiny_site

from assay.backends.builders import container as module
from assay.backends.builders.choice import choose
from assay.conformance.builders import task_in
from assay.errors import ToolMissing, UnitFailed, UsageFault
from assay.interfaces.builder import BuilderSettings

DOUBLED = "x=0123456789abcdef; i=0; while [ $i -lt %d ]; do x=$x$x; i=$((i + 1)); done"


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    try:
        with running_engine(request.param) as running:
            yield running
    except NoEngine as error:
        pytest.skip(str(error))


def test_the_host_builder_conforms(tmp_path: Path) -> None:
    passed_all(conform(tmp_path, "builders", "--assay-driver=host"), 15)


@needs_sandbox
def test_the_sandbox_conforms(tmp_path: Path) -> None:
    passed_all(conform(tmp_path, "builders", "--assay-driver=sandbox"), 23)


def test_the_container_conforms_on_a_real_engine(tmp_path: Path, engine: Engine) -> None:
    options = (f"--assay-driver-option=engine={engine.address}", f"--assay-driver-option=image={engine.image}")
    passed_all(conform(tmp_path, "builders", "--assay-driver=container", *options), 23)
    assert engine.client.containers.list(all=True) == []


def test_a_module_is_built_in_a_container_and_names_its_image(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    root, site = tiny_project(tmp_path), tiny_site(tmp_path)
    text = (root / "mod" / "module.toml").read_text()
    command = '["sh", "-c", "cp mod/data/blob {work}/made && cp {work}/made {out}/payload.bin"]'
    (root / "mod" / "module.toml").write_text(
        text.replace('["{python}", "mod/build.py", "{out}", "{defines}"]', command)
    )
    artifact = build(root, site, "container", image=engine.image).built.artifact
    assert artifact.builder == "container"
    assert [(tool.name, tool.sha256) for tool in artifact.tools] == [("image", engine.image.removeprefix("sha256:"))]
    assert {"user id", "host name"} <= set(artifact.variations)
    (root / "mod" / "module.toml").write_text(text.replace('"{python}", "mod/build.py"', '"cat", "absent"'))
    with pytest.raises(UnitFailed, match="No such file"):
        build(root, site, "container", image=engine.image)
    with pytest.raises(ToolMissing, match="is not there"):
        build(root, site, "container", image="sha256:" + "0" * 64)


def test_what_was_built_in_a_container_is_built_again_in_its_image(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the provenance alone: nobody says again that it was a container, or of which image."""
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    house = House(tmp_path / "house")
    manifest = house.root / "mod" / "module.toml"
    script = (
        '["sh", "-c", "cat $0 mod/data/blob > $1/payload.bin; busybox >> $1/payload.bin", "{image_pubkey}", "{out}"]'
    )
    manifest.write_text(re.sub(r"(?m)^command = .*", f"command = {script}", manifest.read_text()))
    git(house.root, "commit", "-qam", "in a container")
    house.publish(monkeypatch, builder="container", image=engine.image)
    stranger = site_in(tmp_path / "stranger")
    rebuilt = again(house, stranger, tmp_path, builder="auto")
    assert rebuilt.identical and rebuilt.built.artifact.builder == "container" and rebuilt.other_tools == ()
    assert {tool.name for tool in rebuilt.built.artifact.tools} == {"image"}
    with monkeypatch.context() as patch, pytest.raises(ToolMissing, match="no container engine listens here"):
        patch.delenv("DOCKER_HOST")
        patch.setattr(module, "_sockets", list)
        again(house, stranger, tmp_path, builder="auto")


def test_a_build_that_wants_all_the_memory_is_ended(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, and by the engine: what it may have is a share of the machine's."""
    monkeypatch.setattr(module, "MEMORY_SHARE", 48 * 2**20 / engine.client.info()["MemTotal"])
    builder, _ = choose("container", BuilderSettings(image=engine.image, engine=engine.address))
    if cast("module.ContainerBuilder", builder).memory is None:
        pytest.skip("this engine keeps no limit: podman without root, on the first version of cgroups")
    task = task_in(tmp_path, builder)
    builder.run(replace(task, command=("sh", "-c", DOUBLED % 16)))
    with pytest.raises(UnitFailed, match=r"more than 4[78] MiB of memory"):
        builder.run(replace(task, command=("sh", "-c", DOUBLED % 30)))


def test_a_folder_name_is_no_word_of_a_shell(tmp_path: Path, engine: Engine) -> None:
    builder, _ = choose("container", BuilderSettings(image=engine.image, engine=engine.address))
    task = task_in(tmp_path / 'a "b$(touch $HOME/run)`touch $HOME/run`', builder)
    builder.run(replace(task, command=("sh", "-c", "echo x > $HOME/there; umask"), umask=0o077))
    assert [path.name for path in task.home.iterdir() if path.name != module.TEMPORARY] == ["there"]


def test_what_a_build_left_can_be_read_and_removed_by_who_called(tmp_path: Path, engine: Engine) -> None:
    """Who called is another user than the build's, and need not be root."""
    builder, _ = choose("container", BuilderSettings(image=engine.image, engine=engine.address))
    task = task_in(tmp_path, builder)
    (task.home / "work").mkdir()
    folders = (task.out, task.home, task.home / "work", "/tmp")
    line = "; ".join(f"mkdir {folder}/made {folder}/.made; touch {folder}/made/file" for folder in folders)
    builder.run(replace(task, command=("sh", "-c", line), umask=0o077))
    for folder in (task.out, task.home, task.home / "work", task.home / module.TEMPORARY):
        modes = [(folder / name).stat().st_mode & 0o777 for name in ("made", ".made", "made/file")]
        assert modes == [0o777, 0o777, 0o666], folder
        shutil.rmtree(folder / "made")


def test_a_container_of_the_dead_is_removed(tmp_path: Path, engine: Engine) -> None:
    word = module.owner_word().rpartition("_")[0] + "_1"  # this process id, started at another time
    stray = engine.client.containers.create(engine.image, ["sleep", "300"], labels={module.OWNER: word}, user="1:1")
    other = engine.client.containers.create(engine.image, ["true"], labels={module.OWNER: module.owner_word()})
    choose("container", BuilderSettings(image=engine.image, engine=engine.address))
    left = [each.id for each in engine.client.containers.list(all=True)]
    other.remove(force=True)
    assert stray.id not in left and other.id in left


def test_without_an_image_or_an_engine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageFault, match="needs an image by digest"):
        choose("container")
    for tag in ("busybox", "busybox:latest", "busybox@sha256:12", f"busybox:1@sha256:{'0' * 64}x"):
        with pytest.raises(UsageFault, match="names no image by its digest"):
            choose("container", BuilderSettings(image=tag))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(module, "_sockets", list)
    with pytest.raises(ToolMissing, match="no container engine listens here"):
        choose("container", BuilderSettings(image="sha256:" + "0" * 64))
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ToolMissing, match="need the package docker"):
        choose("container", BuilderSettings(image="sha256:" + "0" * 64))


def test_an_unknown_builder_is_told_with_what_there_is() -> None:
    with pytest.raises(UsageFault, match="'cloud'") as told:
        choose("cloud")
    assert "container, host, sandbox" in told.value.remedy
