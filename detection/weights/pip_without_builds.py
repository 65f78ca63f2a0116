"""pip as a downloader that never builds: `python pip_without_builds.py FILENAME FOLDER ARGUMENTS OF PIP...`

For the metadata of a source distribution, `pip download` runs the code in it, and there is no option against that. This
program runs pip, and ends it when it has downloaded FILENAME, checked its hash and unpacked it, and wants to start
another program, which is the build. The archive is then in FOLDER.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys

_STARTS = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")


def end_before_builds(filename: str, folder: str) -> None:
    """End this process in place of any program that it starts after it has opened a file of this name.

    Args:
        filename: the name of the archive, in whatever folder pip keeps it.
        folder: an existing folder, which the archive is copied to.
    """
    opened: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and os.path.basename(arguments[0]) == filename:
            opened.append(arguments[0])
        elif event in _STARTS and opened:
            shutil.copyfile(opened[-1], os.path.join(folder, filename))
            os._exit(0)

    sys.addaudithook(watch)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, whose modules are none of pip's
    name, folder, *arguments = sys.argv[1:]
    end_before_builds(name, folder)
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
