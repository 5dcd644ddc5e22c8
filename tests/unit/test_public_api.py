"""The flat names of the package, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgewise

STUDIO = ("PIL", "httptools", "jinja2", "networkx", "onnx", "onnx_ir", "rich", "starlette")
ALSO = ("uvicorn", "uvloop", "anyio")
# What a machine without the extras does when asked for them.
BLOCKER = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *more):
        if name.partition(".")[0] not in {(*STUDIO, *ALSO)!r}:
            return self.finder.find_spec(name, *more)
sys.meta_path[:] = map(Without, sys.meta_path)
"""


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def loaded_by(code: str) -> set[str]:
    done = python(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_every_public_name_loads() -> None:
    for name in edgewise.__all__:
        assert getattr(edgewise, name) is not None


def test_the_names_are_those_that_are_listed() -> None:
    assert list(edgewise.__all__) == sorted(edgewise.__all__)
    assert dir(edgewise) == sorted(edgewise.__all__)
    assert {*edgewise._HOMES, "__version__"} == set(edgewise.__all__)


def test_type_checkers_see_the_same_names_from_the_same_homes() -> None:
    tree = ast.parse(Path(edgewise.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.name: (node.module or "").removeprefix("edgewise.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == edgewise._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'edgewise' has no attribute 'frob'"):
        _ = edgewise.frob


def test_every_stage_lists_what_it_has() -> None:
    for home in {*edgewise._HOMES.values(), "cli", "reporting", "examples", "zoo", "shaping"}:
        module = importlib.import_module(f"edgewise.{home}")
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"edgewise.{home}.{name}"


def test_the_version_is_that_of_the_project() -> None:
    project = Path(edgewise.__file__).resolve().parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("edgewise is not installed from its source tree")
    assert f'\nversion = "{edgewise.__version__}"\n' in project.read_text(encoding="utf-8")


def test_importing_loads_no_engine() -> None:
    modules = loaded_by("import edgewise")
    assert not modules & {"numpy", "onnxruntime", "urllib3", *STUDIO, *ALSO}
    assert {name for name in modules if name.startswith("edgewise")} == {"edgewise"}


def test_help_loads_no_engine_and_no_studio() -> None:
    modules = loaded_by("from edgewise.cli.entry import build_parser; build_parser()")
    assert not modules & {"onnxruntime", *STUDIO, *ALSO}


def test_the_device_half_loads_no_studio() -> None:
    modules = loaded_by("import edgewise; edgewise.connect, edgewise.open_bundle")
    assert not modules & {*STUDIO, *ALSO}


@pytest.mark.engine
def test_the_bare_install_runs_a_bundle(tmp_path: Path) -> None:
    import numpy as np

    from session_bundles import image, logits_of, session_bundle

    bundle = session_bundle(tmp_path / "bundle", "local", "split-fp32")
    np.save(tmp_path / "x.npy", image())
    np.savez(tmp_path / "x.npz", image=image())
    inputs = [str(tmp_path / "x.npy"), str(tmp_path / "x.npz")]
    main = f"{BLOCKER}\nfrom edgewise.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = python(main, "run", str(bundle.path), *inputs, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    for result in results:
        np.testing.assert_allclose(result["outputs"]["logits"], logits_of(image()), rtol=1e-4)
    assert len(results) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("doctor",), 0, "next: pip install 'edgewise[image,serve,studio]'"),
        (("zoo", "list"), 2, "run: pip install 'edgewise[studio]'"),
        (("inspect", "net.onnx"), 2, "run: pip install 'edgewise[studio]'"),
        (("plan", "net.onnx"), 2, "run: pip install 'edgewise[studio]'"),
        (("demo",), 2, "run: pip install 'edgewise[studio]'"),
        (("serve", "bundle"), 2, "run: pip install 'edgewise[serve]'"),
    ],
)
def test_on_the_bare_install_a_missing_part_is_named(
    words: tuple[str, ...], code: int, said: str
) -> None:
    main = f"{BLOCKER}\nfrom edgewise.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = python(main, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
