"""A real Redis server on the loopback address, for as long as a test module runs."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


class RedisServer:
    """A redis-server process of its own, in a folder of its own."""

    def __init__(self, folder):
        self.folder = Path(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None
        self.start()

    def start(self):
        """Start the server, and wait until it answers."""
        options = ["--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder, "--save", "", "--appendonly", "yes"]
        with open(self.folder / "log", "ab") as log:
            command = ["redis-server", *map(str, options)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError("redis-server does not answer")

    def stop(self):
        """End the server's process, by its id."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None


@pytest.fixture(scope="module")
def redis_server():
    """A server; what tests leave in it is theirs to name apart."""
    reason = "no Redis server is installed (Debian: apt-get install redis-server)"
    if shutil.which("redis-server") is None:
        pytest.fail(reason) if os.environ.get("MLSYS_REQUIRE_SERVERS") == "1" else pytest.skip(reason)
    if os.environ.get("MLSYS_REQUIRE_SERVERS") != "1":
        pytest.importorskip("redis", reason="the client is not installed: pip install 'mlsys[redis]'")
    with tempfile.TemporaryDirectory(prefix="mlsys-redis-") as folder:
        server = RedisServer(folder)
        try:
            yield server
        finally:
            server.stop()
