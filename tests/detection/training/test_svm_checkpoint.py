"""Checkpoints of SVM training."""

from detection.training import svm_checkpoint


def test_a_damaged_checkpoint_is_ignored(tmp_path, caplog):
    (tmp_path / svm_checkpoint.FILE).write_bytes(b"PK\x03\x04 not an archive")
    assert svm_checkpoint.load(tmp_path, "key") is None
    assert "damaged" in caplog.text
