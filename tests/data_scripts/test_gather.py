import gzip
import shutil
import tarfile
import zipfile
from dataclasses import replace

import pytest
from rmem_cli.data_scripts.dataset import Source, SourceFile
from rmem_cli.data_scripts.gather import from_path, from_sources

from rmem_cli.errors import DataError


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def contents(obtained):
    return {name: file.path.read_bytes() for name, file in obtained.items()}


def archive_of(folder, path):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"official/data/{file.name}")
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "./official/data")
    return path


@pytest.fixture(params=["folder", "gz", "mixed", "zip", "tgz", "tar.gz", "folder with an archive"])
def local_copy(request, copy_folder, tmp_path):
    """The miniature's files in one of the shapes found in practice."""
    if request.param in ("zip", "tgz", "tar.gz"):
        return archive_of(copy_folder, tmp_path / f"copy.{request.param}")
    if request.param == "folder with an archive":
        (tmp_path / "outer").mkdir()
        archive_of(copy_folder, tmp_path / "outer" / "any name.tgz")
        return tmp_path / "outer"
    for file in list(copy_folder.iterdir()):
        if request.param == "gz" or (request.param == "mixed" and "train" in file.name):
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    return copy_folder


def test_any_usual_shape_of_a_local_copy_gives_the_same_files(small_ptb, local_copy, work, mirror):
    obtained = from_path(small_ptb, local_copy, work)
    assert contents(obtained) == {path.removeprefix("/"): body for path, body in mirror.answers.items()}
    for file in small_ptb.files:
        assert f"sha256:{obtained[file.name].sha256}" == file.checksum


def test_plain_files_are_used_where_they_are(small_ptb, copy_folder, work):
    obtained = from_path(small_ptb, copy_folder, work)
    assert {file.path.parent for file in obtained.values()} == {copy_folder}
    assert list(work.iterdir()) == []


def test_a_compressed_file_without_the_suffix_is_not_taken_for_a_plain_one(
    small_ptb, copy_folder, work, mirror
):
    for file in copy_folder.iterdir():
        file.write_bytes(gzip.compress(file.read_bytes()))
    obtained = from_path(small_ptb, copy_folder, work)
    assert contents(obtained) == {path.removeprefix("/"): body for path, body in mirror.answers.items()}


def test_every_missing_file_is_listed(small_ptb, copy_folder, work):
    (copy_folder / "ptb.valid.txt").unlink()
    (copy_folder / "ptb.test.txt").unlink()
    with pytest.raises(DataError) as error:
        from_path(small_ptb, copy_folder, work)
    for file in small_ptb.files[1:]:
        assert f"{file.name} is missing ({file.checksum}" in str(error.value)
    assert "ptb.train.txt" not in str(error.value)


def test_one_file_of_three_is_not_enough(small_ptb, copy_folder, work):
    with pytest.raises(DataError, match="2 of the 3 files"):
        from_path(small_ptb, copy_folder / "ptb.train.txt", work)


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_file_is_named_with_both_hashes(small_ptb, copy_folder, work, file_of, packed, tmp_path):
    wrong = file_of("ptb.valid.txt", b" another text \n")
    (copy_folder / "ptb.valid.txt").write_bytes(b" another text \n")
    path = archive_of(copy_folder, tmp_path / "copy.zip") if packed else copy_folder
    with pytest.raises(DataError) as error:
        from_path(small_ptb, path, work)
    assert "ptb.valid.txt is another file" in str(error.value)
    assert small_ptb.files[1].checksum in str(error.value)
    assert wrong.checksum in str(error.value)
    assert not (work / "ptb.valid.txt").exists()


def test_a_right_file_is_found_behind_a_wrong_one_of_its_name(small_ptb, copy_folder, work, tmp_path):
    right = archive_of(copy_folder, tmp_path / "copy.zip")
    (copy_folder / "ptb.test.txt").write_bytes(b"wrong")
    shutil.move(right, copy_folder)
    assert len(from_path(small_ptb, copy_folder, work)) == 3


def test_a_path_that_is_not_there_is_one_sentence(small_ptb, tmp_path, work):
    with pytest.raises(DataError, match="There is nothing at"):
        from_path(small_ptb, tmp_path / "nowhere", work)


def test_an_archive_stands_in_for_a_file_that_is_gone(
    small_ptb, copy_folder, work, mirror, console, patience, tmp_path
):
    archive = archive_of(copy_folder, tmp_path / "a.tgz").read_bytes()
    del mirror.answers["/ptb.valid.txt"]
    mirror.answers["/a.tgz"] = archive
    names = tuple(file.name for file in small_ptb.files)
    source = Source(SourceFile("a.tgz", len(archive), ""), (f"{mirror.url}/a.tgz",), names)
    dataset = replace(small_ptb, sources=(*small_ptb.sources, source))
    obtained = from_sources(dataset, work, console, patience)
    assert obtained["ptb.valid.txt"].path.read_bytes() == (copy_folder / "ptb.valid.txt").read_bytes()
    assert obtained["ptb.valid.txt"].origin.endswith("/a.tgz")
    assert mirror.paths().count("/a.tgz") == 1


def test_an_archive_is_not_touched_while_plain_files_are_there(small_ptb, work, mirror, console, patience):
    names = tuple(file.name for file in small_ptb.files)
    source = Source(SourceFile("a.tgz", None, ""), (f"{mirror.url}/a.tgz",), names)
    from_sources(replace(small_ptb, sources=(*small_ptb.sources, source)), work, console, patience)
    assert "/a.tgz" not in mirror.paths()


def test_an_archive_with_other_members_is_kept_aside_and_named(small_ptb, work, mirror, console, patience):
    mirror.answers = {"/a.gz": gzip.compress(b"something else")}
    source = Source(SourceFile("ptb.train.txt.gz", None, ""), (f"{mirror.url}/a.gz",), ("ptb.train.txt",))
    with pytest.raises(DataError, match=r"lacks the right ptb.train.txt; kept as .*train\.txt\.gz\.bad"):
        from_sources(replace(small_ptb, sources=(source,)), work, console, patience)


def test_a_failed_download_names_the_import(small_ptb, work, mirror, console, patience):
    mirror.answers.clear()
    with pytest.raises(DataError, match=r"404.*rmem fetch ptb --from PATH"):
        from_sources(small_ptb, work, console, patience)
