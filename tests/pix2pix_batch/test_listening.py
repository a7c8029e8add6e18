"""What a local cluster listens on: this machine's own interface."""

from __future__ import annotations

import socket

import psutil
from distributed import Client

from pix2pix_batch.execution.cluster import local_cluster


def listening() -> set[str]:
    """The addresses on which this process and its children wait for connections."""
    me = psutil.Process()
    return {
        connection.laddr.ip
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_only_the_loopback_interface_is_listened_on() -> None:
    """Scheduler, workers, their nannies and all dashboards: they run what they are sent."""
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in listening()
    before = listening()  # of other tests in this process
    with local_cluster([{}, {}]) as cluster, Client(cluster):
        found = listening()
    assert found - before <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in found
