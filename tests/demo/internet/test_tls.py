from __future__ import annotations

import gc
import os
import socket
import struct
import warnings
from pathlib import Path
from select import POLLERR, POLLHUP, poll

import pytest

from cvl.demo.internet.tls import Authority

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def accepted_from_a_client_that_was_killed() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        client.close()
    reset = poll()
    reset.register(accepted, POLLERR | POLLHUP)
    reset.poll()
    return accepted


def test_a_connection_whose_client_was_killed_before_the_handshake_is_closed(tmp_path: Path) -> None:
    context = Authority(tmp_path).context("host.example")
    accepted = accepted_from_a_client_that_was_killed()
    number = accepted.fileno()
    with warnings.catch_warnings(record=True, action="always") as warned:
        with pytest.raises(ConnectionResetError) as refused:
            context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        del refused
        gc.collect()
    assert not warned
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
