import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmem_cli.data_scripts.unpack import members

from rmem_cli.errors import DataError

FILES = {"data/one.txt": b"one\n" * 1000, "data/two.txt": b""}
LIMIT = 1 << 20


def read_all(path, limit=LIMIT):
    found = {}
    for member in members(path, limit):
        stream = member.open()
        found[member.name] = b"".join(iter(lambda stream=stream: stream.read(100), b""))
    return found


def tar_file(path, mode, entries):
    with tarfile.open(path, mode) as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zip_file(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.bin", "w:gz")]
)
def test_tar_members_are_read(tmp_path, name, mode):
    entries = [(tarfile.TarInfo(f"./{file}"), content) for file, content in FILES.items()]
    assert read_all(tar_file(tmp_path / name, mode, entries)) == FILES


def test_zip_members_are_read(tmp_path):
    assert read_all(zip_file(tmp_path / "a.zip", FILES.items())) == FILES


def test_a_gzip_file_is_its_content(tmp_path):
    path = tmp_path / "one.txt.gz"
    path.write_bytes(gzip.compress(b"one"))
    assert read_all(path) == {"one.txt": b"one"}


def test_a_plain_file_is_its_own_member(tmp_path):
    path = tmp_path / "one.txt"
    path.write_bytes(b"one")
    assert read_all(path) == {"one.txt": b"one"}


ESCAPES = ["/etc/evil", "../evil", "data/../../evil", "\\evil", "..\\evil", "C:/evil", "C:\\evil"]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="would leave the folder"):
        read_all(tar_file(tmp_path / "a.tar.gz", "w:gz", [(tarfile.TarInfo(name), b"evil")]))
    with pytest.raises(DataError, match="would leave the folder"):
        read_all(zip_file(tmp_path / "a.zip", [(name, b"evil")]))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "one.txt"
    with pytest.raises(DataError, match="link or a device"):
        read_all(tar_file(tmp_path / "a.tar", "w", [(info, b"")]))


def test_links_in_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with pytest.raises(DataError, match="link or a device"):
        read_all(zip_file(tmp_path / "a.zip", [(info, b"/etc/passwd")]))


def test_archives_that_unpack_to_too_much_are_refused(tmp_path):
    zeros = bytes(LIMIT + 1)
    (tmp_path / "a.gz").write_bytes(gzip.compress(zeros))
    bombs = [
        tmp_path / "a.gz",
        zip_file(tmp_path / "a.zip", [("zeros", zeros)]),
        tar_file(tmp_path / "a.tgz", "w:gz", [(tarfile.TarInfo("zeros"), zeros)]),
    ]
    for bomb in bombs:
        with pytest.raises(DataError, match="unpacks to more than"):
            read_all(bomb)


def test_a_bomb_among_members_nobody_asked_for_is_refused(tmp_path):
    path = tar_file(tmp_path / "a.tgz", "w:gz", [(tarfile.TarInfo("zeros"), bytes(LIMIT * 2))])
    with pytest.raises(DataError, match="unpacks to more than"):
        list(members(path, LIMIT))


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.txt.gz"])
def test_a_truncated_archive_is_one_sentence(tmp_path, name):
    content = bytes(range(256)) * 100
    path = tmp_path / name
    if name == "a.zip":
        zip_file(path, [("a.txt", content)])
    elif name == "a.tgz":
        tar_file(path, "w:gz", [(tarfile.TarInfo("a.txt"), content)])
    else:
        path.write_bytes(gzip.compress(content))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        read_all(path)


@given(
    st.binary(max_size=600), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"])
)
def test_any_bytes_are_read_or_refused_as_data(tmp_path_factory, junk, head):
    path = tmp_path_factory.getbasetemp() / "junk.bin"
    path.write_bytes(head + junk)
    with contextlib.suppress(DataError):
        read_all(path)


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_a_gzip_file_in_an_archive_is_its_content(tmp_path, name):
    content = gzip.compress(b"one")
    if name == "a.zip":
        zip_file(tmp_path / name, [("data/one.txt.gz", content)])
    else:
        tar_file(tmp_path / name, "w:gz", [(tarfile.TarInfo("data/one.txt.gz"), content)])
    assert read_all(tmp_path / name) == {"data/one.txt": b"one"}


@pytest.mark.parametrize(
    "content", [gzip.compress(bytes(2 * LIMIT)), gzip.compress(b"cut")[:-5]], ids=["too large", "cut"]
)
def test_a_bad_gzip_file_in_an_archive_is_refused(tmp_path, content):
    with pytest.raises(DataError):
        read_all(zip_file(tmp_path / "a.zip", [("one.txt.gz", content)]))


COMPRESSIONS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("named", [".gz", ".bz2", ".xz", "", ".tgz"])
def test_the_content_tells_the_compression_and_not_the_suffix(tmp_path, suffix, named):
    tar_file(tmp_path / "a.tar", "w", [(tarfile.TarInfo(name), content) for name, content in FILES.items()])
    packed = tmp_path / f"a.tar{named}"
    packed.write_bytes(COMPRESSIONS[suffix]((tmp_path / "a.tar").read_bytes()))
    assert read_all(packed) == FILES
    if named != ".tgz":
        alone = tmp_path / f"one.txt{named}"
        alone.write_bytes(COMPRESSIONS[suffix](b"one" * 1000))
        assert read_all(alone) == {"one.txt": b"one" * 1000}
        assert read_all(zip_file(tmp_path / "a.zip", [(alone.name, alone.read_bytes())])) == {
            "one.txt": b"one" * 1000
        }


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_an_unpacked_file_that_kept_its_suffix_is_its_content(tmp_path, suffix):
    (tmp_path / f"one.txt{suffix}").write_bytes(b"one")
    assert read_all(tmp_path / f"one.txt{suffix}") == {"one.txt": b"one"}
    assert read_all(zip_file(tmp_path / "a.zip", [(f"data/one.txt{suffix}", b"one")])) == {
        "data/one.txt": b"one"
    }


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("behind", [b"\0" * 700, b"more", b"\x1f"])
def test_bytes_behind_the_end_of_what_is_compressed_are_passed_over(tmp_path, suffix, behind):
    compress = COMPRESSIONS[suffix]
    twice = compress(b"one") + compress(b"two" * 100_000)
    (tmp_path / f"one.txt{suffix}").write_bytes(twice + behind)
    assert read_all(tmp_path / f"one.txt{suffix}") == {"one.txt": b"one" + b"two" * 100_000}


@pytest.mark.parametrize("name", ["", ".", ".//."])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_members_without_a_name_are_refused(tmp_path, name, form):
    info = {"zip": zipfile.ZipInfo, "tar": tarfile.TarInfo}[form]("any")
    setattr(info, {"zip": "filename", "tar": "name"}[form], name)
    if form == "zip":
        zip_file(tmp_path / "a", [("one", b"1"), (info, b"2")])
    else:
        tar_file(tmp_path / "a", "w", [(tarfile.TarInfo("one"), b"1"), (info, b"2")])
    with pytest.raises(DataError, match=rf"a is refused: its member '{name}' has no name; unpack it"):
        read_all(tmp_path / "a")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_file_with_a_suffix_for_its_name_is_its_content(tmp_path, suffix):
    (tmp_path / suffix).write_bytes(COMPRESSIONS[suffix](b"one"))
    assert read_all(tmp_path / suffix) == {suffix: b"one"}
    zip_file(tmp_path / "a.zip", [(f"data/{suffix}", COMPRESSIONS[suffix](b"one")), (".tgz", b"two")])
    assert read_all(tmp_path / "a.zip") == {f"data/{suffix}": b"one", ".tgz": b"two"}


HEADERS = {"long name": tarfile.GNUTYPE_LONGNAME, "long link": tarfile.GNUTYPE_LONGLINK}
HEADERS |= {"pax": tarfile.XHDTYPE, "pax for all": tarfile.XGLTYPE}


def header(kind, size):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("before", [[], [("one", bytes(9 << 20))]], ids=["first", "behind another"])
def test_a_header_of_a_tar_file_that_claims_much_takes_no_memory(tmp_path, kind, before):
    claimed = 64 << 20
    content = tar_bytes(before)[: (9 << 20) + 512] if before else b""
    with gzip.open(tmp_path / "a.tgz", "wb", compresslevel=1) as file:
        file.write(content + header(kind, claimed) + bytes(claimed))
    sentence = r"a\.tgz is refused: the header of a member claims more than 4,194,304 bytes; unpack"
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=sentence):
            [member.name for member in members(tmp_path / "a.tgz", 1 << 30)]
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_less_than_nothing_makes_no_room_for_another(tmp_path):
    claimed = 8 << 20
    content = header(tarfile.GNUTYPE_LONGNAME, -claimed) + header(tarfile.XHDTYPE, claimed) + bytes(claimed)
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match="the header of a member claims more than"):
        read_all(tmp_path / "a.tar")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_a_tar_file_are_read_beside_large_members(tmp_path, form):
    names, large = [f"{letter * 90}/" * 30 + letter for letter in "abc"], bytes(range(256)) * 30_000
    with tarfile.open(tmp_path / "a.tgz", "w:gz", compresslevel=1, format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(large)
            archive.addfile(info, io.BytesIO(large))
    assert read_all(tmp_path / "a.tgz", 1 << 25) == dict.fromkeys(names, large)
    assert [member.name for member in members(tmp_path / "a.tgz", 1 << 25)] == names


def test_a_sparse_member_of_a_tar_file_is_read_with_its_holes(tmp_path):
    """GNU tar's old form: the header says where bytes stand, and how many the file has with its holes."""
    info = tarfile.TarInfo("sparse")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 1024
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for place, value in ((386, 0), (398, 512), (410, 2048), (422, 512), (483, 4096)):
        block[place : place + 12] = b"%011o\0" % value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "a.tar").write_bytes(bytes(block) + b"a" * 512 + b"b" * 512 + bytes(1024))
    whole = b"a" * 512 + bytes(1536) + b"b" * 512 + bytes(1536)
    assert read_all(tmp_path / "a.tar") == {"sparse": whole}


def test_a_damaged_gzip_file_is_not_read(tmp_path):
    content = bytearray(gzip.compress(bytes(range(256)) * 50))
    content[-6] ^= 1
    (tmp_path / "one.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_all(tmp_path / "one.gz")


def test_backslashes_in_a_zip_are_folders(tmp_path):
    assert read_all(zip_file(tmp_path / "a.zip", [("data\\one.txt", b"one")])) == {"data/one.txt": b"one"}


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_other_bombs_are_refused(tmp_path, compress):
    (tmp_path / "a").write_bytes(compress(bytes(LIMIT + 1)))
    for bomb in (tmp_path / "a", zip_file(tmp_path / "a.zip", [("a", compress(bytes(LIMIT + 1)))])):
        with pytest.raises(DataError, match="unpacks to more than"):
            read_all(bomb)


def zip_bytes(entries):
    stream = io.BytesIO()
    zip_file(stream, entries)
    return stream.getvalue()


def tar_bytes(entries):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


PACKINGS = {
    "zip": zip_bytes,
    "tar": tar_bytes,
    **{
        f"tar{suffix}": lambda entries, pack=pack: pack(tar_bytes(entries))
        for suffix, pack in COMPRESSIONS.items()
    },
    **{
        f"zip{suffix}": lambda entries, pack=pack: pack(zip_bytes(entries))
        for suffix, pack in COMPRESSIONS.items()
    },
}


@pytest.mark.parametrize("inner", PACKINGS)
@pytest.mark.parametrize("outer", PACKINGS)
@pytest.mark.parametrize("name", ["any", "any.dat", "any.zip", "any.gz"])
def test_archives_in_archives_are_opened_under_any_name(tmp_path, outer, inner, name):
    entries = [("before", b"1"), (f"folder/{name}", PACKINGS[inner]([*FILES.items()])), ("behind", b"2")]
    (tmp_path / name).write_bytes(PACKINGS[outer](entries))
    found = read_all(tmp_path / name)
    assert list(found.values()) == [b"1", *FILES.values(), b"2"]
    assert [path.rpartition("/")[2] for path in found] == ["before", "one.txt", "two.txt", "behind"]


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("outer", ["zip", "tar", "tar.xz"])
def test_a_compressed_file_in_an_archive_is_known_by_its_content(tmp_path, outer, suffix):
    (tmp_path / "a").write_bytes(PACKINGS[outer]([("part 1", COMPRESSIONS[suffix](b"one" * 1000))]))
    (member,) = members(tmp_path / "a", LIMIT)
    assert (member.name, member.size) == ("part 1", None)
    assert read_all(tmp_path / "a") == {"part 1": b"one" * 1000}


def test_what_is_packed_too_often_is_refused_and_the_rest_is_there(tmp_path):
    deep = b"one"
    for _ in range(20):
        deep = zip_bytes([("deep", deep)])
    zip_file(tmp_path / "a.zip", [("deep", deep), ("one", b"1")])
    opened = {member.name.rpartition("/")[2]: member for member in members(tmp_path / "a.zip", LIMIT)}
    with pytest.raises(DataError, match=r"deep/deep in .*a\.zip is refused: it is packed more than 8 times"):
        opened["deep"].open()
    assert "one" in opened
    for _ in range(20):
        deep = gzip.compress(deep)
    (tmp_path / "a.gz").write_bytes(deep)
    with pytest.raises(DataError, match="is packed more than 8 times"):
        read_all(tmp_path / "a.gz")


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_all_that_archives_in_an_archive_unpack_to_is_bounded_together(tmp_path, pack):
    inner = zip_bytes([("zeros", bytes(LIMIT // 3))])
    for count in (2, 4):
        (tmp_path / "a").write_bytes(pack([(f"{number}", inner) for number in range(count)]))
        if count == 2:
            assert len(read_all(tmp_path / "a")) == count
        else:
            with pytest.raises(DataError, match="unpacks to more than"):
                read_all(tmp_path / "a")


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (
            zip_bytes([("../evil", b"")]),
            r"inner in .*a\.tgz is refused: its member .* would leave the folder",
        ),
        (zip_bytes(FILES.items())[:-30], r"inner in .*a\.tgz cannot be read"),
        (gzip.compress(bytes(range(256)) * 99)[:-30], r"inner in .*a\.tgz cannot be read"),
    ],
    ids=["climbs", "cut zip", "cut gzip"],
)
def test_a_bad_archive_in_an_archive_says_so_and_the_others_are_read(tmp_path, inner, message):
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar_bytes([("inner", inner), ("one", b"1")])))
    found = {}
    for member in members(tmp_path / "a.tgz", LIMIT):
        if member.name == "one":
            found["one"] = member.open().read()
        else:
            with pytest.raises(DataError, match=message):
                member.open().read()
    assert found == {"one": b"1"}


def test_an_archive_that_is_wanted_as_it_is_stays_closed(tmp_path):
    inner = zip_bytes(FILES.items())
    zip_file(tmp_path / "a.zip", [("inner.zip", inner)])

    def whole(name, size):
        return name == "inner.zip" and size == len(inner)

    (member,) = members(tmp_path / "a.zip", LIMIT, whole)
    assert member.open().read() == inner
