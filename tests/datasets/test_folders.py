import os

import pytest

from reprolib.datasets import celebamask, cofw, folders, helen, part_labels
from reprolib.errors import UserError

CLUTTER = ("._a.jpg", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", ".hidden.jpg", "a.jpg~", ".a.jpg.icloud")
CLUTTER_FOLDERS = (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir", ".Trashes", "$RECYCLE.BIN", "__pycache__")


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names_of(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize("name", CLUTTER)
def test_clutter_is_no_file_of_a_dataset(tmp_path, name):
    fill(tmp_path, "a.jpg", name, f"inner/{name}", "inner/b.JPG")
    assert names_of(folders.files(tmp_path)) == ["a.jpg"]
    assert names_of(folders.files(tmp_path, ".jpg", deep=True)) == ["a.jpg", "b.JPG"]


@pytest.mark.parametrize("name", CLUTTER_FOLDERS)
def test_clutter_is_no_folder_of_a_dataset_and_nothing_in_it_is_read(tmp_path, name):
    fill(tmp_path, f"{name}/a.jpg", f"real/{name}/a.jpg", "real/b.jpg")
    assert names_of(folders.subfolders(tmp_path)) == ["real"]
    assert names_of(folders.files(tmp_path, ".jpg", deep=True)) == ["b.jpg"]


def test_a_folder_named_like_a_file_is_no_file_and_a_missing_folder_has_none(tmp_path):
    (tmp_path / "clip.mp4").mkdir()
    assert folders.files(tmp_path, ".mp4") == []
    assert folders.files(tmp_path / "gone") == folders.subfolders(tmp_path / "gone") == []


def test_linked_folders_are_read_once_and_circles_end(tmp_path):
    fill(tmp_path, "elsewhere/s1/a.mpg", "grid/s2/b.mpg")
    (tmp_path / "grid/s1").symlink_to(tmp_path / "elsewhere/s1")
    (tmp_path / "grid/s2/up").symlink_to(tmp_path / "grid")
    assert names_of(folders.files(tmp_path / "grid", ".mpg", deep=True)) == ["a.mpg", "b.mpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every folder")
def test_a_folder_that_may_not_be_read_is_one_sentence(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UserError, match="closed cannot be listed"):
        folders.files(tmp_path / "closed")


@pytest.mark.parametrize("place", ["data", "DATA", "data/data", ".", "my copy"])
def test_a_dataset_is_found_from_its_own_folder_and_from_its_parent(tmp_path, place):
    fill(tmp_path / place, "list.txt")
    found = folders.dataset_folder(tmp_path, ("data",), holds="list.txt")
    assert found.samefile(tmp_path / place)
    assert folders.dataset_folder(tmp_path / place, ("data",), holds="list.txt") == tmp_path / place


def test_a_named_folder_comes_before_others_and_two_others_are_one_sentence(tmp_path):
    fill(tmp_path, "copy 1/list.txt", "copy 2/list.txt")
    with pytest.raises(UserError, match="copy 1 and copy 2 both look like it"):
        folders.dataset_folder(tmp_path, ("data",), holds="list.txt")
    fill(tmp_path, "data/list.txt")
    assert folders.dataset_folder(tmp_path, ("data",), holds="list.txt") == tmp_path / "data"


def test_a_root_below_the_dataset_is_told_the_right_one(tmp_path):
    fill(tmp_path / "data", "list.txt", "images/a.jpg")
    with pytest.raises(folders.DatasetMissing, match=f"give {tmp_path / 'data'} instead"):
        folders.dataset_folder(tmp_path / "data/images", ("data",), holds="list.txt")


def test_a_missing_root_is_told_apart_from_a_missing_dataset(tmp_path):
    with pytest.raises(folders.DatasetMissing, match=r"should hold data/list\.txt"):
        folders.dataset_folder(tmp_path, ("data",), holds="list.txt")
    with pytest.raises(UserError, match="should be an existing folder") as raised:
        folders.dataset_folder(tmp_path / "gone", ("data",), holds="list.txt")
    assert not isinstance(raised.value, folders.DatasetMissing)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_read_in_every_encoding_that_names_itself(tmp_path, encoding, end):
    (tmp_path / "a.txt").write_bytes(end.join(("één", "", " dois ", "")).encode(encoding))
    assert folders.read_lines(tmp_path / "a.txt") == ["één", "dois"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("café".encode("latin-1"), "a.txt should be text in UTF-8, but its byte 3 is not"),
        (b"PK\3\4\0\0", "a.txt should be a text file, but is a binary file"),
        (b"\n <!DOCTYPE html><html>401 Unauthorized", "a.txt .* is a web page"),
        (b"<html><title>Log in</title>", "a.txt .* is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a.txt .* is a web page"),
        (b"\xff\xfea", "a.txt should be text in UTF-16"),
    ],
)
def test_a_file_that_is_no_text_is_named_itself(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        folders.read_text(tmp_path / "a.txt")


def test_missing_unreadable_and_huge_text_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"gone\.txt is missing"):
        folders.read_text(tmp_path / "gone.txt")
    with pytest.raises(UserError, match="cannot be read"):
        folders.read_text(tmp_path)
    monkeypatch.setattr(folders, "LARGEST_TEXT", 10)
    (tmp_path / "a.txt").write_text("a" * 11)
    with pytest.raises(UserError, match="should be a text file, but has"):
        folders.read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "C:\\a", "..\\a", "\\\\host\\a", "", "a\0b"])
def test_no_name_of_a_list_leaves_its_folder(tmp_path, name):
    with pytest.raises(UserError, match=r"list\.txt should name files of its dataset"):
        folders.inside(tmp_path, name, of=tmp_path / "list.txt")


@pytest.mark.parametrize("name", ["a", "a/b.c", "a..b", "...a", "ä ö/1"])
def test_names_within_the_folder_are_followed(tmp_path, name):
    assert folders.inside(tmp_path, name, of=tmp_path / "list.txt") == tmp_path / name


def read(total, damaged):
    skipped = folders.Skipped("clips of grid", total)
    kept = []
    for i in range(total):
        with skipped.item():
            if i in damaged:
                raise UserError(f"clip {i} is damaged")
            kept.append(i)
    return kept, skipped


def test_few_damaged_items_are_left_out_and_listed():
    kept, skipped = read(10, {2, 3, 5, 7})
    assert kept == [0, 1, 4, 6, 8, 9]
    assert str(skipped).startswith("4 of 10 clips of grid are damaged and left out: clip 2 is damaged; clip 3")
    assert str(skipped).endswith("and 1 more")
    with pytest.warns(UserWarning, match="4 of 10 clips"):
        skipped.warn()


def test_nothing_is_said_where_nothing_is_damaged(recwarn):
    kept, skipped = read(3, set())
    skipped.warn()
    assert len(kept) == 3
    assert str(skipped) == ""
    assert not recwarn


@pytest.mark.parametrize(("total", "most"), [(12, 5), (100, 5), (1000, 50)])
def test_more_damage_than_the_limit_is_refused(total, most):
    assert len(read(total, set(range(most)))[0]) == total - most
    with pytest.raises(
        UserError, match=f"{most + 1} or more of {total} clips of grid are damaged, .* clip 0 is damaged"
    ):
        read(total, set(range(most + 1)))


def test_where_nothing_is_left_the_first_reason_is_given():
    with pytest.raises(UserError, match=r"^clip 0 is damaged$"):
        read(1, {0})
    with pytest.raises(UserError, match="all 2 clips of grid are damaged; the first: clip 0 is damaged"):
        read(2, {0, 1})


def test_other_errors_are_no_damage():
    skipped = folders.Skipped("clips", 5)
    with pytest.raises(ZeroDivisionError), skipped.item():
        1 / 0  # noqa: B018


@pytest.mark.parametrize("dataset", [celebamask, cofw, helen, part_labels])
def test_an_unknown_split_is_one_sentence(dataset, tmp_path):
    with pytest.raises(ValueError, match=r"expected one of the splits train, .*test, found 'val'"):
        dataset.load(tmp_path, "val")
