"""A full disk is no dead end: what makes room always finds room. On a real volume of a few megabytes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
_MOUNT = 'mount -t tmpfs -o size="$SIZE" inbox "$VOLUME" || exit 77; '


def namespaces() -> list[list[str]]:
    """Ways to have mounts of one's own that end with the process; the second is for all users."""
    tool = shutil.which("unshare")
    if tool is None:
        return []
    private = [tool, "--mount", "--propagation", "private"]
    return [private, [tool, "--user", "--map-root-user", *private[1:]]]


def on_a_volume(way: list[str], volume: Path, size: str, script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SIZE": size, "VOLUME": str(volume), "PYTHON": sys.executable}
    return subprocess.run(
        [*way, "sh", "-c", _MOUNT + script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def way_to_mount(volume: Path) -> list[str] | None:
    return next((way for way in namespaces() if not on_a_volume(way, volume, "1m", "true").returncode), None)


def run(volume: Path, size: str, script: str) -> list[str]:
    """Run a script of the shell on a new volume; return the lines that it printed."""
    volume.mkdir()
    way = way_to_mount(volume)
    if way is None:
        pytest.skip("needs a volume of a few megabytes, and this system lets this user mount none")
    done = on_a_volume(way, volume, size, script)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def play(volume: Path, size: str, *scenes: str) -> dict[str, Any]:
    """Run scenes one after the other on one volume; return what they printed."""
    script = "; ".join(f'"$PYTHON" -m tests.support.full_disk {scene} "$VOLUME"' for scene in scenes)
    lines = [json.loads(line) for line in run(volume, size, script)]
    return {name: value for line in lines for name, value in line.items()}


@pytest.mark.parametrize(
    ("scene", "size"),
    [
        pytest.param("purge_twice", "2m", marks=pytest.mark.long),
        pytest.param("purge_twice", "5m", marks=pytest.mark.long),
        pytest.param("large", "12m", marks=pytest.mark.long),
        pytest.param("restart", "5m", marks=pytest.mark.long),
        ("occupied", "2m"),
        ("retention", "5m"),
    ],
)
def test_room_is_made_on_a_full_disk(tmp_path: Path, scene: str, size: str) -> None:
    """By `purge` and by the retention, after a restart too, and when another program took the rest."""
    found = play(tmp_path / "volume", size, scene)

    assert found["filled"] > 0
    assert found["purged"] == found["filled"]
    assert found["again"] > found["filled"] * 0.8


@pytest.mark.long
def test_room_is_made_after_a_kill_on_a_full_disk(tmp_path: Path) -> None:
    """The log that a killed process left is moved when its inbox is opened again."""
    found = play(tmp_path / "volume", "5m", "killed", "after")

    assert found["purged"] == found["filled"] > 0
    assert found["again"] > found["filled"] * 0.8


def test_the_command_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    """Where no receiver runs: it died of the full disk."""
    script = (
        '"$PYTHON" -m tests.support.full_disk killed "$VOLUME"; '
        '"$PYTHON" -m nexmo_dispatch_async.cli inbox purge "$VOLUME/inbox.db" all'
    )

    filled, purged = run(tmp_path / "volume", "2m", script)

    assert purged == f"{json.loads(filled)['filled']} records forgotten"
