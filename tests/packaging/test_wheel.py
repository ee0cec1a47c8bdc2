"""The built wheel, installed as a stranger would: into an environment of its own, away from the checkout."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from trenza import __version__

ROOT = Path(__file__).parents[2]
UV = str(ROOT / ".venv/bin/uv")
SYSTEM_PYTHON = "/usr/bin/python3"


def run(*argv: str, cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    python = str(ROOT / ".venv/bin/python")
    run(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", python, "--out-dir", str(out), cwd=ROOT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a fresh environment with nothing but the wheel and what it depends on."""
    venv = tmp_path_factory.mktemp("stranger") / "venv"
    run(SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(venv), cwd=venv.parent)
    install = [UV, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), str(wheel)]
    # What setup downloaded is in uv's cache; only a machine set up by somebody else has to ask the network.
    cached = subprocess.run([*install, "--offline"], cwd=venv.parent, capture_output=True, timeout=120, check=False)
    if cached.returncode != 0:
        run(*install, cwd=venv.parent)
    return venv / "bin"


def test_the_wheel_holds_the_package_and_its_labs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"trenza-{__version__}-py3-none-any.whl"
    assert "trenza/py.typed" in names
    assert {"trenza/labs/bridged-lan/lab.yaml", "trenza/labs/routed/lab.yaml"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"trenza", f"trenza-{__version__}.dist-info"}


def test_pytest_is_told_of_the_plugin(wheel: Path) -> None:
    (declared,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("entry_points.txt")]
    assert "[pytest11]\ntrenza = trenza.pytest_plugin.plugin\n" in zipfile.ZipFile(wheel).read(declared).decode()


def test_the_installed_program_runs_and_knows_its_labs(installed: Path, tmp_path: Path) -> None:
    assert __version__ in run(str(installed / "trenza"), "--version", cwd=tmp_path)
    assert "bridged-lan" in run(str(installed / "trenza"), "labs", cwd=tmp_path)


def test_everything_imported_is_declared(installed: Path, tmp_path: Path) -> None:
    """Every module of the package imports with nothing installed but the declared dependencies.

    The plugin is loaded by pytest alone, wherever that is installed.
    """
    program = (
        "import pkgutil, importlib, trenza\n"
        "for module in pkgutil.walk_packages(trenza.__path__, 'trenza.'):\n"
        "    if not module.name.endswith('__main__') and not module.name.startswith('trenza.pytest_plugin.'):\n"
        "        importlib.import_module(module.name)\n"
    )
    run(str(installed / "python"), "-c", program, cwd=tmp_path)
