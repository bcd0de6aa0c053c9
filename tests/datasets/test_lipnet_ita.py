import numpy as np
import pytest
from speech_clips import write, write_clip

from reprolib.datasets import lipnet_ita
from reprolib.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Two recordings of one person and one of another."""
    for recording, person in (("s1", "ab"), ("s2", "ab"), ("s3", "cd")):
        write_clip(tmp_path / f"lipnet_ita/{recording}/0-{person}.mp4", frames=6)
        write(tmp_path / f"lipnet_ita/{recording}/0-{person}.align", "0 1000 sil\n1000 3000 Due.\n3000 6000 grazie\n")
    return tmp_path


def test_a_clip_has_its_person_and_words_without_punctuation(root):
    found = lipnet_ita.clips(root)
    assert [clip.person for clip in found] == ["ab", "ab", "cd"]
    assert found[0].words == (("DUE", 1.0, 3.0), ("GRAZIE", 3.0, 6.0))


def test_words_that_last_no_time_are_left_out(root):
    write(root / "lipnet_ita/s1/0-ab.align", "0 1000 due\n1000 1000 tre\n")
    assert lipnet_ita.clips(root)[0].words == (("DUE", 0.0, 1.0),)


def test_mouths_are_grey_and_have_the_size_that_is_asked_for(root):
    mouths = lipnet_ita.mouths(lipnet_ita.clips(root)[0], (8, 16))
    assert (mouths.shape, mouths.dtype) == ((6, 8, 16), np.uint8)
    assert abs(int(mouths.mean()) - 100) < 5


def test_check_counts_people_and_words(root):
    assert lipnet_ita.check(root) == ["lipnet_ita: 3 clips of 2 people, 2 words"]


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"should hold lipnet_ita/sN/K-XX\.mp4"):
        lipnet_ita.clips(tmp_path)
