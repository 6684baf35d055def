"""The commands of build.py that hand over to other programs, and the rules that they check."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from project import ROOT


@pytest.fixture
def called(project, monkeypatch) -> list[tuple[str, ...]]:
    """What a command installs, builds and runs, in its order; nothing of it happens."""
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(project.build, "install_package", lambda extras=(): done.append(("install", *extras)))
    monkeypatch.setattr(project.build, "build_all", lambda: done.append(("build",)))
    monkeypatch.setattr(
        project.build,
        "call",
        lambda command: done.append(tuple(word.removeprefix(f"{project.root}/.venv/bin/") for word in command)) or 0,
    )
    return done


def test_tests_get_the_arguments_of_pytest(project, called):
    assert project.build.main(["test", "-k", "archive", "--lf"]) == 0
    assert called == [("install", "test"), ("build",), ("python", "-m", "pytest", "-k", "archive", "--lf")]


def test_fast_tests_need_no_encoder(project, called):
    assert project.build.main(["test", "--fast", "-x"]) == 0
    assert called == [
        ("install", "test"),
        ("python", "-m", "pytest", "-m", "fast", "--hypothesis-profile=fast", "-n", "auto", "-x"),
    ]


def test_documentation_has_packages_of_its_own(project, called, capsys):
    assert project.build.main(["docs"]) == 0
    assert called == [("install", "docs"), ("env", "NO_MKDOCS_2_WARNING=1", "mkdocs", "build", "--strict", "--clean")]
    assert "out/site" in capsys.readouterr().out


@pytest.mark.parametrize("failing", [(), ("ruff",), ("mypy", "lint-imports"), ("ruff", "lint-imports", "mypy")])
def test_every_check_runs_and_one_that_fails_fails_all(project, called, monkeypatch, capsys, failing):
    ran = []

    def call(command: list[str]) -> int:
        ran.append(Path(command[0]).name)
        return int(ran[-1] in failing)

    monkeypatch.setattr(project.build, "call", call)
    assert project.build.main(["check"]) == int(bool(failing))
    assert ran == ["ruff", "ruff", "clang-format", "lint-imports", "mypy"] and called == [("install", "check")]
    last = capsys.readouterr().out.splitlines()[-1]
    assert all(name in last for name in failing) and last.endswith("failed" if failing else "all passed")


def test_an_old_python_is_told_in_one_line(project):
    """The check stands before everything that an old Python cannot read or has not got."""
    program = "import runpy, sys; sys.version_info = (3, 10, 9); runpy.run_path('build.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "build.py: error: Python 3.11 or newer is needed (tomllib), this is 3.10; run build.py with a newer python3\n"
    )
    ast.parse((ROOT / "build.py").read_text(), feature_version=(3, 8))


def test_build_needs_the_standard_library_only():
    for path in [ROOT / "build.py", *(ROOT / "third_party").glob("*.py"), *(ROOT / "patches").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert name.partition(".")[0] in {*sys.stdlib_module_names, "patches", "third_party"}, (path, name)


def test_every_package_that_is_installed_is_pinned():
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    ]
    wanted = {normal(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for one in lists for requirement in one}
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert wanted <= {normal(name) for name in pins}
    assert len(pins) == len({normal(name) for name in pins})


LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def test_links_of_the_documents_lead_somewhere():
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
    assert len(documents) > 8
    for document in documents:
        for target in LINK.findall(document.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (document.parent / target).exists(), f"{document.relative_to(ROOT)}: {target}"


def test_version_is_that_of_the_installed_package():
    program = "import fprdo_bridge, importlib.metadata as m; assert fprdo_bridge.__version__ == m.version('fprdo')"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_version_without_an_installed_package():
    """As in a checkout that is read from where it lies."""
    program = (
        "import importlib.metadata, sys\nsys.path.insert(0, sys.argv[1])\n"
        "def version(name): raise importlib.metadata.PackageNotFoundError(name)\n"
        "importlib.metadata.version = version\nimport fprdo_bridge\nprint(fprdo_bridge.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout == "0+unknown\n"
