"""Processes that cannot reach any network, in a home of their own: what they tried, and what they left behind.

Two guards refuse every connection but those within the computer (AF_UNIX), and note the attempt: a sitecustomize in
Python, and a library before the C library, where a compiler is found, for what packages do in machine code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.commandline import run_python

# What libraries keep of what they have worked out, in folders of the user's cache.
CACHES = ("reface", "matplotlib", "fontconfig", "mesa_shader_cache", "mesa_shader_cache_db")
_PYTHON_GUARD = """\
import os, socket
def _refuse(what):
    with open(os.environ["NETWORK_ATTEMPTS"], "a") as log:
        log.write(what + "\\n")
    raise OSError("the network is forbidden: " + what)
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    setattr(socket, _name, lambda host, *rest, _name=_name, **options: _refuse(f"{_name} {host}"))
_Socket = socket.socket
class _Guarded(_Socket):
    def connect(self, address):
        return super().connect(address) if self.family == socket.AF_UNIX else _refuse(f"connect {address}")
    def connect_ex(self, address):
        return super().connect_ex(address) if self.family == socket.AF_UNIX else _refuse(f"connect {address}")
    def sendto(self, *arguments):
        return super().sendto(*arguments) if self.family == socket.AF_UNIX else _refuse(f"sendto {arguments[-1]}")
socket.socket = _Guarded
"""
_NATIVE_GUARD = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
static void note(const char *what, const char *more) {
    FILE *log = fopen(getenv("NETWORK_ATTEMPTS"), "a");
    if (log) { fprintf(log, "native %s %s\\n", what, more ? more : ""); fclose(log); }
}
int connect(int fd, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (address && address->sa_family == AF_UNIX) return real(fd, address, length);
    note("connect", "");
    errno = ENETUNREACH;
    return -1;
}
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    note("getaddrinfo", host);
    return EAI_FAIL;
}
"""


class OfflineHome:
    """Fresh folders for home, cache and temporary files below `folder`, and the guards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self._attempts = folder / "guard" / "attempts"
        for name in ("home", "cache", "temporary", "guard", "out"):
            (folder / name).mkdir()
        (folder / "guard" / "sitecustomize.py").write_text(_PYTHON_GUARD)
        self._preload = _compiled(folder / "guard") if sys.platform == "linux" else None

    def run(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with `arguments`, behind the guards."""
        # sys.path reaches the child by PYTHONPATH, in front of which the guard stands
        environment = {
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.cache),
            "TMPDIR": str(self.folder / "temporary"),
            "NETWORK_ATTEMPTS": str(self._attempts),
            **({"LD_PRELOAD": str(self._preload)} if self._preload else {}),
            **variables,
        }
        path = os.pathsep.join([str(self.folder / "guard"), *filter(None, sys.path)])
        return run_python(*arguments, environment={**environment, "PYTHONPATH": path})

    @property
    def attempts(self) -> list[str]:
        """What was refused."""
        return self._attempts.read_text().splitlines() if self._attempts.exists() else []

    def left_behind(self) -> list[str]:
        """Files that are neither in the folder `out` nor in one of CACHES."""
        kept = [self.folder / "out", self.folder / "guard", *(self.cache / name for name in CACHES)]
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(str(path) for path in files if not any(path.is_relative_to(folder) for folder in kept))


def _compiled(folder: Path) -> Path | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = folder / "guard.c", folder / "guard.so"
    source.write_text(_NATIVE_GUARD)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
    return library
