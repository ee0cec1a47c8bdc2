"""An API server and hosts that speak TLS to each other, and to nobody without a certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from clusters import Cluster

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]


def openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True, timeout=30)


def certificates(directory: Path) -> dict[str, str]:
    """A CA and a certificate for every address of the lab, for both sides: the API server's group in it."""
    ca = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(directory, "req", *ca, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    request = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(directory, "req", *request, "-keyout", "node.key", "-out", "node.csr", "-subj", "/O=system:masters/CN=both")
    (directory / "names").write_text("subjectAltName=IP:10.9.0.1,IP:10.9.0.2,IP:10.9.0.3\n")
    sign = ("-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl(directory, "x509", *sign, "-in", "node.csr", "-out", "node.pem")
    return {
        "ca": str(directory / "ca.pem"), "certificate": str(directory / "node.pem"), "key": str(directory / "node.key"),
    }  # fmt: skip


def test_everything_works_with_certificates_and_nothing_without(bare: Cluster) -> None:
    bare.tls = certificates(bare.directory)
    bare.start_api()
    bare.start_agent("larrain")
    bare.nodes_ready("larrain")
    bare.pod("a", "larrain", "sh", "-c", "echo up; exec sleep 1000")
    bare.ready("a")
    assert bare.exec("a", "echo through")["out"] == "through\n"
    assert bare.exec("a", "", verb="containerLogs", check=False)["out"] == "up\n"
    assert "ok" not in bare.run("playancha", "curl -sk --max-time 5 https://10.9.0.2:10250/healthz", check=False)
