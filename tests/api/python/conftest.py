"""Starts the real program once, on a free port, with a data folder of its own."""

import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request

import pytest

BINARY = os.environ.get("IMAGINE_BIN")


@pytest.fixture(scope="session")
def server():
    if not BINARY:
        pytest.fail("IMAGINE_BIN must name the program")
    with tempfile.TemporaryDirectory() as folder:
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder]
        environment = {**os.environ, "IMAGINE_REQUESTS_PER_MINUTE": "0"}
        log = open(pathlib.Path(folder) / "server.log", "w+")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                log.seek(0)
                pytest.fail(f"the program did not start: {line}{log.read()}")
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture(scope="session")
def selfie():
    return pathlib.Path(__file__).resolve().parents[3] / "assets" / "portraits" / "astronaut.jpg"


@pytest.fixture(scope="session")
def consent(server):
    with urllib.request.urlopen(f"{server}/v1/consent") as answer:
        text = json.load(answer)
    return {"basis": "self", "text_version": text["version"], "text_sha256": text["sha256"], "agreed": True}
