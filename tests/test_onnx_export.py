"""The exported networks give the masks of PyTorch's; a wrong argument is one sentence."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from reprolib import face_frame, onnx_export, photos
from reprolib.cli import main
from reprolib.datasets import facesynth
from reprolib.errors import UserError

FACES = 10
EXTRA = all(find_spec(module) for module in ("onnx", "onnxscript", "onnxruntime"))


@pytest.mark.slow
@pytest.mark.skipif(not EXTRA, reason="the extra `onnx` is not installed")
@pytest.mark.parametrize("name", ["features", "regions"])
def test_masks_of_ten_faces_are_those_of_pytorch(tmp_path, name):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_export.export(name, tmp_path / "exported" / f"{name}.onnx"))
    about = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(about["classes"])) == onnx_export.NETWORKS[name][0]
    window = face_frame.Window(**json.loads(about["window"]))
    windows, expected = [], []
    for index in range(FACES):
        face = facesynth.render(0, index, size=256)
        matrix = face_frame.to_window(face_frame.frame_of(face.landmarks), window)
        windows.append(face_frame.cut(face.image, matrix, window.size))
        expected.append(photos.probabilities(name, face.image, matrix, window.size))

    found = session.run(None, {"windows": np.stack(windows)})[0]
    one = session.run(None, {"windows": windows[0][None]})[0]

    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(one[0], found[0], atol=1e-4)
    # masks are equal, but for pixels whose two likeliest classes are equally likely
    second, first = np.sort(expected, axis=1)[:, -2:].swapaxes(0, 1)
    clear = first - second > 2e-4
    assert clear.mean() > 0.99
    masks = found.argmax(1)
    assert (masks == np.argmax(expected, axis=1))[clear].all()
    assert len(np.unique(masks)) > 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lips", "lips.onnx"], "expected one of the networks features, regions, found 'lips'"),
        (["features", "features.pt"], "features.pt should be a file whose name ends in .onnx"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["export", *arguments])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=r"onnx, which is not installed: pip install '\.\[onnx\]'"):
        onnx_export.export("features", tmp_path / "features.onnx")


def test_a_folder_that_cannot_be_written_is_said_before_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "find_spec", lambda module: True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"features\.onnx cannot be written"):
        onnx_export.export("features", tmp_path / "file" / "features.onnx")
