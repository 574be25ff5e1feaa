import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from dataclasses import replace

import pytest
from rmem_cli.data_scripts.checksum import digest_file
from rmem_cli.data_scripts.dataset import Source, SourceFile
from rmem_cli.data_scripts.download import download
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


def test_files_are_found_in_folders_of_folders(small_ptb, copy_folder, work):
    deep = copy_folder / "simple-examples" / "data"
    deep.mkdir(parents=True)
    for file in list(copy_folder.glob("*.txt")):
        shutil.move(file, deep)
    assert len(from_path(small_ptb, copy_folder, work)) == 3


def test_a_folder_that_contains_itself_by_a_link_is_no_trap(small_ptb, copy_folder, work):
    (copy_folder / "again").symlink_to(copy_folder, target_is_directory=True)
    (copy_folder / "ptb.test.txt").unlink()
    with pytest.raises(DataError, match=r"ptb\.test\.txt is missing"):
        from_path(small_ptb, copy_folder, work)


def test_files_are_found_by_their_content_under_any_name(small_ptb, copy_folder, work):
    for number, file in enumerate(sorted(copy_folder.iterdir())):
        file.rename(copy_folder / f"part {number}")
    assert len(from_path(small_ptb, copy_folder, work)) == 3


def test_an_archive_is_found_by_its_content_under_any_name(small_ptb, copy_folder, tmp_path, work):
    (tmp_path / "other").mkdir()
    archive_of(copy_folder, tmp_path / "a.zip").rename(tmp_path / "other" / "download")
    assert len(from_path(small_ptb, tmp_path / "other", work)) == 3


def test_files_are_found_however_deep_they_lie(small_ptb, copy_folder, tmp_path, work):
    deep = tmp_path.joinpath("deep", *map(str, range(12)))
    deep.parent.mkdir(parents=True)
    copy_folder.rename(deep)
    assert len(from_path(small_ptb, tmp_path / "deep", work)) == 3


def test_line_ends_of_windows_are_named_as_the_reason(small_ptb, copy_folder, work, tmp_path):
    text = (copy_folder / "ptb.train.txt").read_bytes()
    (copy_folder / "ptb.train.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    for path in (copy_folder, archive_of(copy_folder, tmp_path / "a.zip")):
        with pytest.raises(DataError, match=r"ptb\.train\.txt is another file \(.*CRLF.*it is right\)"):
            from_path(small_ptb, path, work)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_named_as_the_reason(small_ptb, copy_folder, work, tmp_path, ends):
    text = (copy_folder / "ptb.train.txt").read_bytes()
    (copy_folder / "ptb.train.txt").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", ends))
    and_ends = "" if ends == b"\n" else r" and line ends of Windows \(CRLF\)"
    sentence = rf"it has a byte order mark \(BOM\) before it{and_ends}; without, as published, it is right\)"
    for path in (copy_folder, archive_of(copy_folder, tmp_path / "a.zip")):
        with pytest.raises(DataError, match=rf"ptb\.train\.txt is another file \(.*{sentence}"):
            from_path(small_ptb, path, work)


def test_line_ends_are_seen_wherever_a_file_is_cut_in_reading(small_ptb, copy_folder, work, monkeypatch):
    text = (copy_folder / "ptb.train.txt").read_bytes()
    (copy_folder / "ptb.train.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    (copy_folder / "ptb.test.txt").unlink()
    for size in range(text.index(b"\n") + 2, len(text) + 2):
        monkeypatch.setattr("rmem_cli.data_scripts.gather.CHUNK", size)
        with pytest.raises(DataError, match="CRLF"):
            from_path(small_ptb, copy_folder, work)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\n<!DOCTYPE html><html>Log in</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"something", "has 9 bytes, as none of the files that are wanted"),
        (b"", "has 0 bytes"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_was_looked_at_in_vain_is_told_in_a_line(small_ptb, tmp_path, work, content, why, alone):
    (tmp_path / "given").mkdir()
    path = tmp_path / "given" / "ptb.zip"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        from_path(small_ptb, path if alone else path.parent, work)
    assert sum(line.startswith(f"  - {path} {why}") for line in str(error.value).splitlines()) == 1


def test_a_second_copy_of_a_file_that_was_found_is_no_look_alike(small_ptb, copy_folder, work):
    first = next(iter(copy_folder.iterdir()))
    (copy_folder / "again").mkdir()
    shutil.copy(first, copy_folder / "again")
    next(file for file in copy_folder.iterdir() if file.is_file() and file != first).unlink()
    with pytest.raises(DataError) as error:
        from_path(small_ptb, copy_folder, work)
    assert "as none of the files that are wanted" not in str(error.value)


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_is_told_with_its_line_where_its_kind_can_be_read(
    small_ptb, copy_folder, work, packed
):
    def read(path):
        raise DataError(f"{path}:7: this is no line")

    wrong = copy_folder / small_ptb.files[0].name
    wrong.write_text("something else")
    given = archive_of(copy_folder, work.parent / "copy.zip") if packed else copy_folder
    with pytest.raises(DataError) as error:
        from_path(replace(small_ptb, read=read), given, work)
    (told,) = (line for line in str(error.value).splitlines() if "this is no line" in line)
    where = f"official/data/{wrong.name} in {given}" if packed else str(wrong)
    assert told.startswith(f"  - {wrong.name}")
    assert told.endswith(f"; {where}:7: this is no line)")


def test_archives_of_something_else_and_other_files_are_told(small_ptb, tmp_path, work):
    (tmp_path / "given" / "inside").mkdir(parents=True)
    for name in "abcde":
        (tmp_path / "given" / "inside" / name).write_text(name)
    archive_of(tmp_path / "given" / "inside", tmp_path / "given" / "other.zip")
    with pytest.raises(DataError) as error:
        from_path(small_ptb, tmp_path / "given", work)
    assert "given holds 5 files besides, of no name or size that is wanted" in str(error.value)
    assert "other.zip holds 5 files of no name or size that is wanted (official/data/" in str(error.value)


@pytest.mark.parametrize("path", ["/dev/null", "x" * 300, "file/below"])
def test_what_cannot_be_a_copy_is_one_sentence(small_ptb, tmp_path, work, path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="--from takes"):
        from_path(small_ptb, tmp_path / path, work)


def test_a_dead_network_is_one_sentence(small_ptb, work, console, patience, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "rmem_cli.data_scripts.gather.download",
        lambda file, urls, *rest, **options: asked.extend(urls) or download(file, urls, *rest, **options),
    )
    sources = [
        Source(file, ("http://127.0.0.1:9/a", "http://127.0.0.1:10/b"))
        for file in (*small_ptb.files, SourceFile("a.zip", None, ""))
    ]
    with pytest.raises(DataError) as error:
        from_sources(replace(small_ptb, sources=tuple(sources)), work, console, patience)
    assert str(error.value).startswith(
        "ptb is not complete: there is no connection to 127.0.0.1:10, 127.0.0.1:9. Try again later"
    )
    assert console.file.getvalue() == ""
    assert asked == ["http://127.0.0.1:9/a", "http://127.0.0.1:10/b"]  # each host once


def test_a_refusal_is_told_beside_a_host_that_is_not_there(small_ptb, work, console, patience, mirror):
    mirror.answers.clear()
    source = Source(small_ptb.files[0], ("http://127.0.0.1:9/a", f"{mirror.url}/b"))
    with pytest.raises(DataError) as error:
        from_sources(replace(small_ptb, sources=(source,)), work, console, patience)
    host = mirror.url.removeprefix("http://")
    assert f"ptb.train.txt could not be downloaded ({host}: it answered 404); " in str(error.value)
    assert "there is no connection to 127.0.0.1:9." in str(error.value)


def test_a_file_under_another_of_its_names_is_taken(small_ptb, copy_folder, work):
    named = tuple(replace(file, aliases=(file.name.removeprefix("ptb."),)) for file in small_ptb.files)
    (copy_folder / "ptb.train.txt").rename(copy_folder / "train.txt")
    assert len(from_path(replace(small_ptb, files=named), copy_folder, work)) == 3


def test_the_name_that_git_gives_to_content_is_enough(small_ptb, copy_folder, work, tmp_path):
    blob = "8d0e41234f24b6da002d962a26c2495ea16a425f"  # git hash-object, of the text below
    (copy_folder / "ptb.train.txt").write_bytes(b"hello git\n")
    train = SourceFile("ptb.train.txt", None, f"git-blob:{blob}")
    dataset = replace(small_ptb, files=(train, *small_ptb.files[1:]))
    found = from_path(dataset, archive_of(copy_folder, tmp_path / "a.zip"), work)
    assert found["ptb.train.txt"].path.read_bytes() == b"hello git\n"
    (copy_folder / "ptb.train.txt").write_bytes(b"hello gut\n")
    with pytest.raises(DataError, match="another file"):
        from_path(dataset, copy_folder, work)


def test_an_archive_can_be_a_file_of_the_set_itself(small_ptb, copy_folder, tmp_path, work, file_of):
    content = archive_of(copy_folder, tmp_path / "stories.tgz").read_bytes()
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "stories.tgz").write_bytes(content)
    dataset = replace(small_ptb, files=(file_of("stories.tgz", content),))
    assert from_path(dataset, tmp_path / "all", work)["stories.tgz"].path.read_bytes() == content


@pytest.mark.parametrize("wanted", ["files", "alternatives"])
def test_one_of_two_layouts_is_enough(small_ptb, copy_folder, work, file_of, wanted):
    other = (file_of("one.bin", b"1"), file_of("two.bin", b"2"))
    dataset = replace(small_ptb, alternatives=(other,))
    if wanted == "alternatives":
        for name in ("one", "two"):
            (copy_folder / f"{name}.bin").write_bytes(name.replace("one", "1").replace("two", "2").encode())
        (copy_folder / "ptb.test.txt").unlink()
    found = from_path(dataset, copy_folder, work)
    assert {file.name for file in (other if wanted == "alternatives" else dataset.files)} <= set(found)


@pytest.mark.parametrize("named", ["stories.tgz", "download"])
@pytest.mark.parametrize("inside", [False, True])
def test_an_archive_of_the_set_is_known_by_name_or_content_also_in_an_archive(
    small_ptb, copy_folder, tmp_path, work, file_of, named, inside
):
    content = archive_of(copy_folder, tmp_path / "stories.tgz").read_bytes()
    given = tmp_path / "given"
    given.mkdir()
    if inside:
        with zipfile.ZipFile(given / "all.zip", "w") as archive:
            archive.writestr(f"data/{named}", content)
    else:
        (given / named).write_bytes(content)
    dataset = replace(small_ptb, files=(file_of("stories.tgz", content),))
    assert from_path(dataset, given, work)["stories.tgz"].path.read_bytes() == content


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_in_archives_are_found_by_their_content(
    small_ptb, copy_folder, tmp_path, work, compress
):
    expected = {file.name: file.read_bytes() for file in copy_folder.iterdir()}
    for number, file in enumerate(sorted(copy_folder.iterdir())):
        (copy_folder / f"part {number}").write_bytes(compress(file.read_bytes()))
        file.unlink()
    archive = archive_of(copy_folder, tmp_path / "inner.zip")
    with tarfile.open(tmp_path / "outer", "w:gz") as outer:
        outer.add(archive, "inner")
    for path in (archive, tmp_path / "outer"):
        assert contents(from_path(small_ptb, path, work)) == expected


def test_a_damaged_file_in_an_archive_does_not_hide_the_right_ones(small_ptb, copy_folder, tmp_path, work):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("first.gz", gzip.compress(b"something" * 99)[:-20])
        for file in copy_folder.iterdir():
            archive.write(file, file.name)
    assert len(from_path(small_ptb, tmp_path / "a.zip", work)) == 3
    with pytest.raises(DataError) as error:
        from_path(
            replace(small_ptb, files=(*small_ptb.files, SourceFile("d", 5, "sha256:0"))),
            tmp_path / "a.zip",
            work,
        )
    assert str(error.value).startswith(f"{tmp_path}/a.zip does not give 1 of the 4 files")
    assert "first.gz in" in str(error.value)


def test_a_damaged_archive_beside_what_is_missing_is_named(small_ptb, copy_folder, work, tmp_path):
    broken = archive_of(copy_folder, tmp_path / "copy.zip").read_bytes()[:-30]
    (copy_folder / "ptb.test.txt").unlink()
    (copy_folder / "broken.zip").write_bytes(broken)
    with pytest.raises(DataError, match=r"ptb\.test\.txt is missing(.|\n)*broken\.zip cannot be read"):
        from_path(small_ptb, copy_folder, work)


def test_some_files_are_enough_only_where_that_is_allowed(small_ptb, copy_folder, work):
    (copy_folder / "ptb.test.txt").unlink()
    with pytest.raises(DataError, match="--allow-missing` prepares the rest"):
        from_path(small_ptb, copy_folder, work)
    found = from_path(small_ptb, copy_folder, work, allow_missing=True)
    assert set(found) == {"ptb.train.txt", "ptb.valid.txt"}


def test_no_file_at_all_is_never_enough(small_ptb, tmp_path, work):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="3 of the 3 files"):
        from_path(small_ptb, tmp_path / "empty", work, allow_missing=True)


def test_an_unverified_source_comes_last_and_says_so(small_ptb, work, mirror, console, patience):
    mirror.answers["/doubtful"] = mirror.answers["/ptb.train.txt"]
    doubtful = Source(small_ptb.files[0], (f"{mirror.url}/doubtful",), unverified="from memory")
    dataset = replace(small_ptb, sources=(doubtful, *small_ptb.sources))
    from_sources(dataset, work, console, patience)
    assert "/doubtful" not in mirror.paths()
    del mirror.answers["/ptb.train.txt"]
    shutil.rmtree(work)
    from_sources(dataset, work, console, patience)
    assert mirror.paths()[-1] == "/doubtful"
    assert "this address is unverified (from memory)" in console.file.getvalue()


def escaping(member, link):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo(member)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, link
        archive.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("member", "link"),
    [("../../evil", ""), ("/evil", ""), ("ptb.train.txt", "/etc/passwd"), ("a/../../b", "")],
)
def test_an_archive_that_tries_to_escape_is_kept_aside_and_the_next_source_tried(
    small_ptb, work, mirror, console, patience, copy_folder, tmp_path, file_of, member, link
):
    evil = escaping(member, link)
    good = archive_of(copy_folder, tmp_path / "good.tgz").read_bytes()
    mirror.answers |= {"/evil.tgz": evil, "/good.tgz": good}
    names = tuple(file.name for file in small_ptb.files)
    sources = [
        Source(file_of(name, content), (f"{mirror.url}/{name}",), names)
        for name, content in (("evil.tgz", evil), ("good.tgz", good))
    ]
    with pytest.raises(DataError, match=r"evil\.tgz is refused.*kept as .*evil\.tgz\.bad"):
        from_sources(replace(small_ptb, sources=tuple(sources[:1])), work, console, patience)
    assert len(from_sources(replace(small_ptb, sources=tuple(sources)), work, console, patience)) == 3
    assert [path.name for path in tmp_path.rglob("*evil*")] == ["evil.tgz.bad"]


@pytest.mark.parametrize(
    ("size", "checksum", "expected"),
    [
        (4, "", "4 bytes"),
        (None, "md5:1", "md5:1"),
        (4, "md5:1", "4 bytes, md5:1"),
    ],
)
def test_a_wrong_file_is_told_beside_all_that_is_known_of_the_right_one(tmp_path, size, checksum, expected):
    (tmp_path / "it").write_bytes(b"other")
    file = SourceFile("it", size, checksum)
    found = file.mismatch(digest_file(tmp_path / "it", [file.algorithm]))
    assert found.startswith(f"expected {expected}; found 5 bytes, ")


def test_any_content_will_do_where_neither_size_nor_hash_is_known(tmp_path):
    (tmp_path / "it").write_bytes(b"other")
    assert SourceFile("it", None, "").mismatch(digest_file(tmp_path / "it", ["sha256"])) is None
