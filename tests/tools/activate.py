#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts a program as systemd does with socket activation.

    activate.py NAME=KIND:PLACE[,...] [--first URI] NOTIFIED -- PROGRAM [ARGUMENT...]

KIND is unix, nonblocking (a unix socket in non-blocking mode) or tcp (PLACE is a
port of 127.0.0.1, 0 for any, which is printed); or something that no server can
accept connections at: datagram, connected, file. What the program tells with
sd_notify(3) is written to the file NOTIFIED. --first runs nbdinfo --size URI
before there is a program. The program replaces this process.
"""
import os
import socket
import subprocess
import sys


def listening(kind, place):
    if kind == "tcp":
        made = socket.create_server(("127.0.0.1", int(place)))
    elif kind in ("unix", "nonblocking"):
        made = socket.socket(socket.AF_UNIX)
        made.bind(place)
        made.listen()
        made.setblocking(kind == "unix")
    elif kind == "datagram":
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    elif kind == "connected":
        made = socket.socketpair()[0]
    else:
        return os.open(place, os.O_RDWR | os.O_CREAT)
    return made.detach()


def take_notes(path):
    """A process of its own: the program must keep the pid of this one."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = path + ".sock"
    if os.path.exists(address):
        os.unlink(address)
    server.bind(address)
    os.environ["NOTIFY_SOCKET"] = address
    parent = os.getpid()
    if os.fork() == 0:
        server.settimeout(0.2)
        with open(path, "w") as file:
            while os.getppid() == parent:
                try:
                    file.write(server.recv(4096).decode() + "\n")
                    file.flush()
                except socket.timeout:
                    pass
        os._exit(0)
    server.close()


def main():
    split = sys.argv.index("--")
    before, program = sys.argv[1:split], sys.argv[split + 1:]
    names, fds = [], []
    for one in before[0].split(","):
        name, what = one.split("=")
        names.append(name)
        fds.append(listening(*what.split(":")))
        if what.startswith("tcp"):
            port = socket.socket(fileno=os.dup(fds[-1])).getsockname()[1]
            print("%s is 127.0.0.1:%d" % (name, port), flush=True)
    if "--first" in before:
        subprocess.Popen(["nbdinfo", "--size", before[before.index("--first") + 1]])
    take_notes(before[-1])
    # Out of the way first: a target may be somebody's source.
    high = [os.dup2(fd, 200 + number) for number, fd in enumerate(fds)]
    for number, fd in enumerate(high):
        os.dup2(fd, 3 + number, inheritable=True)
        os.close(fd)
    os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()),
                      LISTEN_FDNAMES=":".join(names))
    os.execv(program[0], program)


main()
