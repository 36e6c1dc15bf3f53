"""HTTPS: ``http_server(tls=)`` and the options of ``asynchat-fast-http``, with curl and the clients of the library."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import asynchat_fast

PATIENCE = 20
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1]),
    "PYTHONWARNINGS": "ignore::RuntimeWarning",
}
CONTENT = os.urandom(1 << 20) * 20


@pytest.fixture
def start(tmp_path):
    """A function that starts the command on a directory with a file, and returns the URL that it prints."""
    (tmp_path / "file").write_bytes(CONTENT)
    processes = []

    def start(*options):
        command = [sys.executable, "-m", "asynchat_fast.http", "127.0.0.1:0", "--quiet", *options]
        process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return re.search(r"https://\S+/", process.stdout.readline())[0]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_certificate_from_files(start, certificates, tmp_path):
    url = start("--tls-cert", certificates.server, "--tls-key", certificates.key)
    context = ssl.create_default_context(cafile=certificates.ca)
    with urllib.request.urlopen(url + "file", context=context, timeout=PATIENCE) as response:
        assert response.read() == CONTENT
    if shutil.which("curl"):
        command = ["curl", "-sS", "--cacert", certificates.ca, url + "file", "-o", tmp_path / "a", url + "file"]
        subprocess.run([*command, "-o", tmp_path / "b"], check=True, timeout=PATIENCE)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


def test_a_certificate_made_for_trying(start):
    pytest.importorskip("cryptography")
    url = start("--tls-self-signed")
    host, port = url.removeprefix("https://").rstrip("/").split(":")
    context = ssl.create_default_context(cadata=ssl.get_server_certificate((host, int(port))))
    with urllib.request.urlopen(url + "file", context=context, timeout=PATIENCE) as response:
        assert response.read() == CONTENT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-key", "x"], "say --tls-cert"),
        (["--tls-cert", "nothing"], "'nothing' is not a file"),
        (["--tls-cert", "{key}"], "no certificate with its key"),
        (["--tls-cert", "{server}"], "no certificate with its key"),
        (["--tls-self-signed", "--tls-cert", "{server}"], "goes with neither"),
    ],
)
def test_options_that_cannot_be(certificates, options, said):
    options = [option.format(**vars(certificates)) for option in options]
    command = [sys.executable, "-m", "asynchat_fast.http", *options]
    process = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert said in line
