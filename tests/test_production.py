"""The service and the configurations of docs/production.md: stopped under load they lose nothing."""

import configparser
import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "stop_behind_proxies.py"
if not (TOOL.exists() and (ROOT / "docs" / "production.md").exists()):
    pytest.skip("these tests are not in a source tree", allow_module_level=True)
if os.name != "posix":
    pytest.skip("the service is ended by a signal of POSIX", allow_module_level=True)

PATIENCE = 60  # seconds

spec = importlib.util.spec_from_file_location("stop_behind_proxies", TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
def test_a_server_stopped_behind_a_proxy_loses_nothing(proxy):
    command = [sys.executable, TOOL, proxy, "--requests", "400", "--clients", "4", "--stops", "1"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if "is not installed" in process.stdout:
        pytest.skip(process.stdout)
    assert re.fullmatch(rf"{proxy}: \d+ ok\n", process.stdout), process.stdout + process.stderr
    assert process.returncode == 0


def test_a_server_stopped_before_clients_that_keep_their_connections_loses_nothing(tmp_path):
    (tmp_path / "service.py").write_text(tool.blocks()["service.py"].replace("drain=2", "drain=0.2"))
    (port,) = tool.free_ports(1)
    server = tool.Server(tmp_path, port)
    failures, served = [], []

    def ask_until_refused():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while True:
            try:
                connection.request("GET", "/path")
                response = connection.getresponse()
                assert (response.status, response.read()) == (200, b"/path")
                served.append(connection)
            except ConnectionRefusedError:
                return
            except Exception as error:
                failures.append(error)
                return

    clients = [threading.Thread(target=ask_until_refused, daemon=True) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        tool.until(lambda: len(served) > 100, "the first hundred responses")
        assert server.stop() == 0
    finally:
        server.process.kill()
    for client in clients:
        client.join(PATIENCE)
    assert not failures


def test_the_unit_for_systemd(tmp_path):
    text = tool.blocks()["service.service"]
    unit = configparser.ConfigParser(strict=True)
    unit.optionxform = str
    unit.read_string(text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    called = re.search(r"shut_down\((\d+), drain=(\d+)\)", tool.blocks()["service.py"])
    assert int(unit["Service"]["TimeoutStopSec"]) > int(called[1]) + int(called[2])
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze, which would check it, is not installed")
    file = tmp_path / "service.service"
    file.write_text(text.replace("/srv/service/venv/bin/python /srv/service/service.py", sys.executable))
    process = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=PATIENCE)
    assert "Unknown" not in process.stderr
    assert "Failed to parse" not in process.stderr
