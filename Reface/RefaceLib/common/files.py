"""Files that are read and written: wrong names, outputs that appear whole or not at all, and JSON.

An output is written to a temporary file beside its target, and renamed at the end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.imagenames import IMAGE_EXTENSIONS, image_extension


def same_file(a: str | Path, b: str | Path) -> bool:
    """Whether both paths lead to one file, also through links; a file that does not exist yet is compared by name."""
    if os.path.exists(a) and os.path.exists(b):
        return os.path.samefile(a, b)
    return os.path.normcase(os.path.realpath(a)) == os.path.normcase(os.path.realpath(b))


def check_exists(path: Path) -> None:
    """Raise InputError where there is neither a file nor a folder."""
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist: check the name.")


def check_names(targets: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise OutputError when an output is an input as well, or two outputs are one file."""
    for index, target in enumerate(targets):
        if any(same_file(target, path) for path in inputs):
            raise OutputError(f"The output {target} is an input as well: choose another name.")
        if any(same_file(target, other) for other in targets[:index]):
            raise OutputError(f"{target} is given for two outputs: choose different names.")


def check_own_report(path: Path, key: str, program: str) -> None:
    """Raise OutputError for a JSON file that is no report of `program`, which are known by their `key`.

    Another program's file, a BIDS sidecar say, is never overwritten. A file that is not there is fine.
    """
    if not path.exists():
        return
    try:
        ours = key in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise OutputError(f"{path} exists and is no report of {program}, so it is kept: choose another name.")


def check_writable(
    path: str | Path, overwrite: bool = False, extensions: tuple[str, ...] | None = IMAGE_EXTENSIONS
) -> None:
    """Raise OutputError when ``path`` cannot become a file; to be called before the work, not after it.

    The name must end with one of ``extensions`` (None: any name will do). A file is made in the folder and removed
    again, because permissions alone do not tell whether a network share or a read-only disk takes one.
    """
    path = Path(path)
    if extensions is not None and not path.name.lower().endswith(extensions):
        raise OutputError(f"{path} must end with one of {', '.join(extensions)}: choose another name.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file in it.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist: create it first.")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists already: choose another name or allow overwriting.")
    probe = _hidden_beside(path)
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        _remove(probe)


def write_error(path: str | Path, error: OSError) -> OutputError:
    """The one sentence for an ``error`` that writing ``path`` met."""
    folder = Path(path).parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"The disk of the folder {folder} is full: free some space or choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"The folder {folder} cannot be written to: choose another one or change its permissions.")
    if error.errno == errno.EFBIG:
        return OutputError(f"The disk of the folder {folder} takes no file of this size: choose another folder.")
    reason = error.strerror or type(error).__name__
    return OutputError(f"A file in the folder {folder} could not be written ({reason}): choose another folder.")


@contextlib.contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Make the folder where it is missing; when the block fails, a folder that was made and is empty goes again.

    Raises OutputError when it cannot be made.
    """
    made = not path.is_dir()
    if made:
        try:
            path.mkdir()
        except FileNotFoundError as error:
            raise OutputError(f"The folder {path.parent} does not exist: create it first.") from error
        except FileExistsError as error:
            raise OutputError(f"{path} is a file: give the name of a folder.") from error
        except OSError as error:
            raise write_error(path, error) from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def check_new_folder(target: Path, overwrite: bool) -> None:
    """Raise OutputError when ``target`` cannot become a folder: one that is there must be empty, or be overwritten."""
    if os.path.lexists(target) and not target.is_dir():
        raise OutputError(f"{target} is a file: give the name of a folder.")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise OutputError(f"The folder {target} is not empty: choose an empty or a new one.")
    check_writable(_hidden_beside(target), extensions=None)


@contextlib.contextmanager
def new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A hidden folder beside ``target``, which becomes ``target`` when the block ends well, and else is removed.

    What was at ``target`` stays until then. OutputError as from check_new_folder; an OSError within the block too.
    """
    check_new_folder(target, overwrite)
    temporary, backup = _hidden_beside(target), _hidden_beside(target)
    try:
        temporary.mkdir()
        yield temporary
        check_new_folder(target, overwrite)  # again: what has appeared meanwhile is kept
        if target.is_dir():
            os.replace(target, backup)
        try:
            os.replace(temporary, target)
        except OSError:
            if backup.is_dir():
                os.replace(backup, target)
            raise
    except OSError as error:
        raise write_error(target, error) from error
    except OutputError as error:  # of a file in the hidden folder, which the user will not find
        raise OutputError(str(error).replace(str(temporary), str(target))) from error
    finally:
        for folder in (temporary, backup):
            shutil.rmtree(folder, ignore_errors=True)


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON (UTF-8, indented by 2, in its own order) to `path`.

    Bytes of a file name that are no UTF-8 become escapes like \\udcfc, which Python's json reads back as the name.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, default=plain)
    Path(path).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def plain(value: Any) -> Any:
    """numpy scalars and whole floats as plain numbers, anything else that JSON does not know as text."""
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


class OutputSet:
    """Several outputs that appear together or not at all.

    ::

        with OutputSet(overwrite=False) as out:
            write_something(out.stage("result.nii.gz"))
            write_something(out.stage("report.json"))

    ``stage`` returns the path to write to. When the block ends well, every staged file is flushed to the disk and
    renamed to its target; when it ends by any exception, Ctrl-C included, the staged files are removed and the targets
    are as before. An OSError within the block comes out as OutputError.
    """

    def __init__(self, overwrite: bool = False) -> None:
        self._overwrite = overwrite
        self._staged: list[tuple[Path, Path]] = []  # (temporary file, target)
        self._own: set[Path] = set()  # targets that this run may replace in any case

    def stage(self, path: str | Path, own: bool = False) -> Path:
        """A path beside ``path``, with its extension, where nothing is yet; OutputError as from check_writable.

        ``own``: what is at ``path`` was written by this very run, and may be replaced.
        """
        target = Path(path)
        if own:
            self._own.add(target)
        check_writable(target, self._may_replace(target), extensions=None)
        if any(same_file(target, other) for _, other in self._staged):
            raise OutputError(f"{target} is given for two outputs: choose different names.")
        temporary = _hidden_beside(target)
        self._staged.append((temporary, target))
        return temporary

    def __enter__(self) -> OutputSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        last = self._staged[-1][1] if self._staged else Path()
        try:
            if isinstance(error, OSError):
                raise write_error(last, error) from error
            if isinstance(error, OutputError):
                raise OutputError(self._named(str(error))) from error
            if error is None:
                self._commit()
        except OSError as failure:
            raise write_error(last, failure) from failure
        finally:
            for temporary, _ in self._staged:
                _remove(temporary)

    def _named(self, sentence: str) -> str:
        """The sentence with the targets in place of the hidden files, which are gone when it is read."""
        for temporary, target in self._staged:
            sentence = sentence.replace(str(temporary), str(target))
        return sentence

    def _may_replace(self, target: Path) -> bool:
        return self._overwrite or target in self._own

    def _commit(self) -> None:
        for temporary, target in self._staged:
            if not temporary.exists():
                raise OutputError(f"{target} was not written: please report this as an error of the program.")
            _flush(temporary)
        renamed: list[tuple[Path, Path, Path | None]] = []  # (temporary, target, backup), noted before each renaming
        try:
            for temporary, target in self._staged:
                backup = None
                if os.path.lexists(target):
                    check_writable(target, self._may_replace(target), extensions=None)  # it may have appeared meanwhile
                    backup = _hidden_beside(target)
                renamed.append((temporary, target, backup))
                if backup is not None:
                    _keep(target, backup)
                os.replace(temporary, target)
        except BaseException as error:
            stuck = [backup for entry in reversed(renamed) if (backup := _undo(*entry))]
            if stuck:  # the disk refuses even what it did a moment ago
                names = ", ".join(str(backup) for backup in stuck)
                raise OutputError(f"The former outputs could not be brought back: they are {names} now.") from error
            raise
        for _, _, backup in renamed:
            if backup is not None:
                _remove(backup)


def _hidden_beside(path: Path) -> Path:
    # The name is short and says nothing of the original, whose name may be long or tell who was scanned.
    return path.with_name(f".reface-{secrets.token_hex(8)}{image_extension(path) or path.suffix}")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(target: Path, backup: Path) -> None:
    """Give the file at ``target`` the second name ``backup``, or only that one where the disk has no hard links."""
    if not target.is_symlink():  # systems differ in whether linking follows a symbolic link; renaming never does
        with contextlib.suppress(OSError):
            os.link(target, backup)
            return
    os.replace(target, backup)


def _undo(temporary: Path, target: Path, backup: Path | None) -> Path | None:
    """Bring ``target`` back to what it was, however far its renaming had come; the backup when that is impossible."""
    if backup is not None and os.path.lexists(backup):
        try:
            os.replace(backup, target)
        except OSError:
            return backup
        _remove(backup)  # renaming one of two hard links to the other leaves both
    elif backup is None and not temporary.exists():
        _remove(target)
    return None
