"""Reading of dataset folders: finding a dataset, its files and its text files, and leaving out damaged items.

Every loader lists folders, reads text and resolves names in lists through this module, so that each kind of clutter,
encoding and damage is handled once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from reprolib.errors import UserError

# What desktops, network disks, archives and notebooks leave in a folder; hidden files (".…") are clutter, too.
CLUTTER = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "$recycle.bin", "@eadir", "lost+found")
)
LARGEST_TEXT = 64 * 2**20  # bytes: the longest list of any dataset here has 6 MB
MOST_DAMAGED = 5  # items of a small set, and this share of a large one
DAMAGED_SHARE = 0.05


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is not part of a dataset: `._a.jpg`, `.DS_Store`, `Thumbs.db`, `a.jpg~`."""
    return name.startswith(".") or name.endswith("~") or name.casefold() in CLUTTER


def files(folder: Path, *suffixes: str, deep: bool = False) -> list[Path]:
    """The files of a folder whose names end in one of `suffixes` (none given: all), sorted by path.

    `suffixes`: in lower case; names match in any case. `deep`: also those of its subfolders; links to folders are
    followed. Clutter is left out. [] if there is no such folder; UserError if it cannot be listed.
    """
    found = _entries(Path(folder))
    kept = [path for path in found if (not suffixes or path.suffix.lower() in suffixes) and path.is_file()]
    if deep:
        kept += [path for inner in below(Path(folder)) for path in files(inner, *suffixes)]
    return sorted(kept)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without clutter; [] if there is no such folder; UserError as in `files`."""
    return [path for path in _entries(Path(folder)) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not is_clutter(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder} cannot be listed ({error.strerror}): check that you may read this folder") from error


def below(folder: Path, *, depth: int | None = None) -> Iterator[Path]:
    """Every folder below `folder`, down to `depth` levels (None: all), without clutter, each once despite links."""
    met, waiting = {os.path.realpath(folder)}, [(inner, 1) for inner in subfolders(folder)]
    while waiting:
        inner, level = waiting.pop()
        if (real := os.path.realpath(inner)) not in met:
            met.add(real)
            yield inner
            if level != depth:
                waiting += [(further, level + 1) for further in subfolders(inner)]


class DatasetMissing(UserError):
    """The dataset is not under the data root."""


def dataset_folder(root: Path, names: Sequence[str], *, holds: str | Callable[[Path], bool], layout: str = "") -> Path:
    """The folder of a dataset: one in `root` that has one of `names` (any case), or `root` itself.

    holds: the name of a file or folder that only this dataset has, by which it is found under another name, too; or a
    function that tells whether a folder is the dataset. layout: the path shown in the error. DatasetMissing, a
    UserError, if neither is the dataset; UserError if `root` is missing or two folders of other names are the dataset.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"the data root {root} should be an existing folder: give its path as data_root (--data-root)")

    def is_it(folder: Path) -> bool:
        return (folder / holds).exists() if isinstance(holds, str) else holds(folder)

    inner = subfolders(root)
    wanted = [name.casefold() for name in names]
    named = sorted((f for f in inner if f.name.casefold() in wanted), key=lambda f: wanted.index(f.name.casefold()))
    # some archives unpack into a folder within a folder of the same name
    nested = [f for folder in named for f in subfolders(folder) if f.name.casefold() in wanted]
    for folder in (*named, root, *nested):
        if is_it(folder):
            return folder
    others = [folder for folder in inner if isinstance(holds, str) and is_it(folder)]
    if len(others) > 1:
        raise UserError(
            f"{root} should hold one copy of {names[0]}, but {others[0].name} and {others[1].name} both look like it: "
            "give the path of one of them as data_root (--data-root)"
        )
    if others:
        return others[0]
    parents = list(root.resolve().parents)[:2] if isinstance(holds, str) else []  # a function may search them whole
    above = next((folder for folder in parents if is_it(folder)), None)
    raise DatasetMissing(
        f"{root} should hold {layout or f'{names[0]}/{holds}'}, with or without the folder {names[0]}, but does not: "
        + (f"give {above} instead" if above else "unpack the dataset there in its official layout")
    )


def check_split(split: str, splits: Iterable[str]) -> None:
    """ValueError for a split that a dataset does not have."""
    if split not in (known := list(splits)):
        raise ValueError(f"expected one of the splits {', '.join(known)}, found {split!r}")


def read_text(path: Path) -> str:
    r"""The text of a file, with `\n` as line ends.

    UTF-8, or UTF-16 with its byte order mark. UserError, which names the file, if it is missing, in another encoding,
    a web page in place of the file, or larger than `LARGEST_TEXT`.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise UserError(f"{path} should be a text file, but has {size / 2**20:.0f} MB: copy this file again")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: copy it from the original dataset") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check this file") from error
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} should be text in {encoding.upper().removesuffix('-SIG')}, but its byte {error.start} is not: "
            "save it again in UTF-8"
        ) from error
    if "\0" in text:
        raise UserError(f"{path} should be a text file, but is a binary file: copy it from the original dataset")
    start = text[:1000].lstrip().lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        raise UserError(
            f"{path} should be a text file of the dataset, but is a web page, such as a login or error page: "
            "download this file again"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, without spaces around them; UserError as in `read_text`."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def inside(folder: Path, name: str, *, of: Path) -> Path:
    """`folder`/`name` for a name from the list file `of`; UserError if it leads out of the folder."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.anchor or ".." in path.parts or not path.parts or "\0" in name:
            raise UserError(
                f"{of} should name files of its dataset, but names {name[:80]!r}, which is outside of it: "
                "copy this list from the original dataset"
            )
    return folder / name


class Skipped:
    """The damaged items of a large set: left out and listed while they are few, a UserError when they are many.

    items: their name in messages, such as "clips of grid". At most `MOST_DAMAGED` items or `DAMAGED_SHARE` of
    `total`, whichever is more, may be damaged.
    """

    def __init__(self, items: str, total: int):
        self.items, self.total = items, total
        self.most = max(MOST_DAMAGED, int(DAMAGED_SHARE * total))
        self.reasons: list[str] = []

    @contextmanager
    def item(self) -> Iterator[None]:
        """Within this context a UserError marks one item as damaged; UserError as soon as these are too many."""
        try:
            yield
        except UserError as error:
            self.reasons.append(str(error))
            if len(self.reasons) > self.most or len(self.reasons) >= self.total:
                raise UserError(self._refusal()) from error

    def _refusal(self) -> str:
        count = len(self.reasons)
        if self.total == 1:
            return self.reasons[0]
        if count >= self.total:
            return f"all {count} {self.items} are damaged; the first: {self.reasons[0]}"
        limit = f"more than the {self.most} that can be left out"
        return f"{count} or more of {self.total} {self.items} are damaged, {limit}; the first: {self.reasons[0]}"

    def __str__(self) -> str:
        """One line for a report: "2 of 1000 clips of grid are damaged and left out: …"; "" if none is."""
        if not self.reasons:
            return ""
        more = f"; and {len(self.reasons) - 3} more" if len(self.reasons) > 3 else ""
        return (
            f"{len(self.reasons)} of {self.total} {self.items} are damaged and left out: "
            f"{'; '.join(self.reasons[:3])}{more}"
        )

    def lines(self) -> list[str]:
        """The same as a list that is empty if no item is damaged."""
        return [str(self)] if self.reasons else []

    def warn(self) -> None:
        """Warn once about the items left out, if there are any."""
        if self.reasons:
            warnings.warn(str(self), stacklevel=3)
