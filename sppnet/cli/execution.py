"""One command from its arguments to its exit code: settings, work, errors, reports."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

import yaml

from data.text import read_text
from data.yaml_files import load_yaml
from detection.files import MARK, write_atomically
from detection.memory import reuse_large_blocks
from sppnet.cli.console import print_any_text, start_logging
from sppnet.cli.flags import make_parser
from sppnet.cli.output_checks import check_outputs, written_files
from sppnet.cli.table import all_settings
from sppnet.errors import Abandoned, Incomplete, one_line
from sppnet.files import write_text
from sppnet.interrupts import handled
from sppnet.json_report import CommandReport
from sppnet.output_files import check_file
from sppnet.progress import log
from sppnet.settings.base import MissingSetting, Settings, suggestion
from sppnet.settings.shared import OverwriteSettings
from sppnet.storage import Copies, on_this_machine

OUTPUT_FLAGS = ("config", "json", "debug", "quiet", "log_level", "log_format")
EXPECTED = (OSError, ValueError, RuntimeError, MemoryError, ModuleNotFoundError)
DONE, FAILED, INTERRUPTED = 0, 1, 130
TERMINATED = 128 + signal.SIGTERM  # 143, what a shell reports of a process that the signal ended


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM; handled as Ctrl-C is, so that worker processes end and locks are released."""


def run_command(command: ModuleType, prog: str, argv: Sequence[str]) -> int:
    """Run one command.

    Args:
        command: a module of `sppnet.cli.commands`, or an object like one: SETTINGS, `run(settings)`, perhaps
            `resolve(settings)`. If its REPORTS_ITEMS is true, `run(settings, report)` adds each result to the json
            report as it comes.
        prog: what users typed to call it.
        argv: its arguments.

    Returns:
        the exit code: 0 done, 1 an expected failure, 2 wrong usage, 130 interrupted, 143 terminated. A command that
        leaves a thread at work ends the process instead.
    """
    parser = make_parser(prog, (command.__doc__ or "").strip(), command.SETTINGS)
    output: dict[str, Any] = {}
    try:
        with signals_raised():
            given = vars(parser.parse_args(argv))
            output |= {name: given.pop(name, None) for name in OUTPUT_FLAGS}
            start_logging(output["log_level"] or "info", bool(output["quiet"]), output["log_format"] or "text")
            print_any_text()
            reuse_large_blocks()
            return _work(command, prog, given, output)
    except MissingSetting as error:
        parser.error(str(error))
    except KeyboardInterrupt as interruption:
        print(str(interruption) or _word(interruption), file=sys.stderr)
        return _code(interruption)
    except Abandoned:
        _leave(DONE)
    except EXPECTED as error:
        if output.get("debug"):
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return FAILED


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM, and KeyboardInterrupt on Ctrl-C unless another handler takes it."""
    taken = signal.getsignal(signal.SIGINT) is not signal.default_int_handler  # background jobs of a shell ignore it
    signals = (signal.SIGTERM,) if taken else (signal.SIGTERM, signal.SIGINT)
    with handled(dict.fromkeys(signals, _raise)):
        yield


def _raise(sign: int, frame: FrameType | None) -> NoReturn:
    """Raise what a signal stands for; end the process at once if the error could end an import."""
    interruption = Terminated() if sign == signal.SIGTERM else KeyboardInterrupt()
    if _imports(frame):
        os.write(2, f"{_word(interruption)}\n".encode())  # print may be under way
        os._exit(_code(interruption))
    raise interruption


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported: torch aborts the process when an exception ends its import."""
    while frame is not None and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None


def _leave(code: int) -> NoReturn:
    """End the process without waiting for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _work(command: ModuleType, prog: str, given: dict[str, Any], output: dict[str, Any]) -> int:
    with on_this_machine(merge(command.SETTINGS, given, output["config"])) as (settings, copies):
        return _run_here(command, prog, settings, copies, output)


def _run_here(command: ModuleType, prog: str, settings: Settings, copies: Copies, output: dict[str, Any]) -> int:
    """Run a command with settings that name folders of this machine."""
    report, started = CommandReport(output["json"]), time.time()
    check_outputs(settings, output["json"], output["config"])
    if hasattr(command, "resolve"):
        settings = command.resolve(settings)
    report.settings = copies.restored(settings.to_dict())
    record = _record(prog, settings)
    problem = None
    try:
        result = command.run(settings, report) if getattr(command, "REPORTS_ITEMS", False) else command.run(settings)
    except Incomplete as incomplete:
        result, problem = incomplete.result, incomplete
    except KeyboardInterrupt as interruption:
        written = written_files(settings, output["json"], started)
        raise type(interruption)(_interrupted(_word(interruption), settings, written)) from None
    if int(os.environ.get("RANK", 0)) == 0:  # under torchrun the first process reports
        if record and record.parent.is_dir():
            write_text(record, f"# {MARK}\n{yaml.safe_dump(report.settings, sort_keys=False)}")
        report.finish(result)
    if problem:
        raise problem
    return DONE


def _record(prog: str, settings: Settings) -> Path | None:
    """The file in the run folder, if there is one, that keeps the resolved settings.

    Raises:
        FileExistsError: there is a file that is not from sppnet.
        OSError: it cannot be written.
    """
    folder = getattr(settings, "run", None)
    if not folder:
        return None
    path = Path(folder) / f"{prog.removeprefix('sppnet ').replace(' ', '-')}.yaml"
    if _is_unmarked_record(path, settings):
        write_atomically(path, [f"# {MARK}\n".encode(), path.read_bytes()])
    check_file(path)
    return path


def _is_unmarked_record(path: Path, settings: Settings) -> bool:
    """Whether a file was written by a version that did not mark its files: nearly all settings, as YAML dumps them."""
    try:
        text = path.read_text("utf-8")
        values = load_yaml(text)
    except (OSError, ValueError):
        return False
    known = settings.to_dict().keys()
    complete = isinstance(values, dict) and values.keys() <= known and len(values) >= 0.8 * len(known)
    return complete and text == yaml.safe_dump(values, sort_keys=False)


def _word(interruption: KeyboardInterrupt) -> str:
    return "terminated" if isinstance(interruption, Terminated) else "interrupted"


def _code(interruption: KeyboardInterrupt) -> int:
    return TERMINATED if isinstance(interruption, Terminated) else INTERRUPTED


def _interrupted(word: str, settings: Settings, written: Sequence[Path]) -> str:
    """What became of the work when the user ended it."""
    if isinstance(settings, OverwriteSettings):
        return f"{word}; the same command, without --overwrite, continues"
    kept = f"; finished before: {', '.join(map(str, written))}" if written else ""
    return f"{word}{kept}"


def merge(cls: type[Settings], given: dict[str, Any], config: Path | None) -> Settings:
    """Settings from defaults, then a YAML file, then flags.

    Raises:
        MissingSetting: a setting without default is in neither.
        OSError, ValueError: the file cannot be read, or a setting is unknown or wrong.
    """
    values = read_config(config, cls) if config else {}
    try:
        return cls.from_values({**values, **given})
    except MissingSetting:
        raise
    except ValueError as error:
        name = str(error).partition(":")[0]
        where = f"{config}: " if name in values and name not in given else ""
        raise ValueError(f"{where}{error}") from None


def read_config(path: Path, cls: type[Settings]) -> dict[str, Any]:
    """Settings of a YAML file by name. Names that only other commands know are left out, so that one file can serve
    several commands.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a YAML mapping of names to values.
    """
    try:
        values = load_yaml(read_text(path)) or {}
    except ValueError as error:
        raise ValueError(f"{path}: expected YAML, one `name: value` per line ({one_line(error)})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected YAML, one `name: value` per line, got {type(values).__name__}")
    named = {str(name).replace("-", "_"): value for name, value in values.items()}
    known = cls.kinds()
    elsewhere = [name for name in named if name not in known and any(name in c.kinds() for c in all_settings())]
    if elsewhere:
        log.info("%s: settings of other commands, not used here: %s", path, ", ".join(elsewhere))
    unknown = [name for name in named if name not in known and name not in elsewhere]
    if unknown:
        raise ValueError(f"{path}: unknown setting {unknown[0]!r}{suggestion(unknown[0], known)}")
    return {name: value for name, value in named.items() if name in known}
