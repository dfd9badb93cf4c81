"""Stands in for `python`: what it is asked to run is run by a process forked from one that has imported the libraries.

`python launch.py SOCKET -c CODE`. Where nobody listens there, or nobody may be forked, it becomes the Python that was
meant. Knows nothing of the project: it must start in milliseconds.
"""

import json
import os
import select
import signal
import socket
import sys

_LOOK = 1.0  # seconds
STATUS = 4  # bytes of the answer: what `waitpid` said
YES = b"y"


def main() -> None:
    """Have it run, and end as it ends."""
    path, *arguments = sys.argv[1:]
    parent = os.getppid()
    try:
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        said = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
        socket.send_fds(server, [len(said).to_bytes(4, "little")], [0, 1, 2])
        server.sendall(said)
        accepted = server.recv(1)
    except OSError:
        accepted = b""
    if accepted != YES:
        os.execv(sys.executable, [sys.executable, *arguments])
    for signalled in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(signalled, signal.SIG_IGN)  # what a whole group is told is for the one who waits for this process
    os.close(0)
    os.close(1)  # so that whoever reads it hears when the other one has closed it
    status = b""
    while len(status) < STATUS and (heard := _heard(server, STATUS - len(status), parent)):
        status += heard
    if len(status) < STATUS:
        os._exit(1)
    code = int.from_bytes(status, "little")
    if os.WIFSIGNALED(code):
        signal.signal(os.WTERMSIG(code), signal.SIG_DFL) if os.WTERMSIG(code) != signal.SIGKILL else None
        os.kill(os.getpid(), os.WTERMSIG(code))
    os._exit(os.waitstatus_to_exitcode(code))


def _heard(server: socket.socket, length: int, parent: int) -> bytes:
    """What comes of so many bytes, or nothing where whoever has started this is gone."""
    while not select.select([server], [], [], _LOOK)[0]:
        if os.getppid() != parent:  # a server that stays hears of it by this
            return b""
    return server.recv(length)


if __name__ == "__main__":
    main()
