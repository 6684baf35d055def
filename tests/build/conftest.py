"""Projects to try build.py on, and a server to fetch from."""

from collections.abc import Iterator

import pytest
from project import Project
from server import Server


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def fetched(project) -> Project:
    project.sources.obtain_source(project.pin(), str(project.archive))
    return project


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()
