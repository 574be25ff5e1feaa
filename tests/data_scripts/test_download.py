import hashlib
import random
import shutil
import time
from types import SimpleNamespace

import pytest
from rmem_cli.data_scripts.dataset import SourceFile
from rmem_cli.data_scripts.download import UnavailableError, download

from rmem_cli.errors import DataError

BODY = random.Random(1).randbytes(200_000)


@pytest.fixture
def wanted(file_of):
    return file_of("set.bin", BODY)


@pytest.fixture
def fetch_from(mirror, wanted, tmp_path, console, patience):
    """Download the wanted file from some paths of the mirror."""

    def run(*paths, file=wanted, **options):
        urls = [mirror.url + path for path in paths]
        return download(file, urls, tmp_path, console, **{"patience": patience, **options})

    return run


def cut_at(offset):
    return lambda handler: handler.send_ranges(BODY, cut_after=offset)


def test_a_download_is_complete_and_leaves_no_part(mirror, fetch_from, tmp_path):
    mirror.answers["/set.bin"] = BODY
    assert fetch_from("/set.bin").read_bytes() == BODY
    assert [path.name for path in tmp_path.glob("set*")] == ["set.bin"]


def test_a_verified_file_is_not_downloaded_again(mirror, fetch_from):
    mirror.answers["/set.bin"] = BODY
    fetch_from("/set.bin")
    fetch_from("/set.bin")
    assert mirror.paths() == ["/set.bin"]


def test_a_part_is_continued_at_its_end(mirror, fetch_from, tmp_path):
    mirror.answers["/set.bin"] = BODY
    (tmp_path / "set.bin.part").write_bytes(BODY[:123_456])
    assert fetch_from("/set.bin").read_bytes() == BODY
    assert [range_ for _, range_, _ in mirror.requests] == ["bytes=123456-"]


def test_a_whole_part_needs_no_request(mirror, fetch_from, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(BODY)
    assert fetch_from("/set.bin").read_bytes() == BODY
    assert mirror.requests == []


def test_connections_cut_at_random_offsets_end_complete(mirror, fetch_from):
    random_offset = random.Random(2)
    cuts = [random_offset.randrange(1, 4_000) for _ in range(50)]

    def answer(handler):
        handler.send_ranges(BODY, cut_after=cuts.pop() if cuts else None)

    mirror.answers["/set.bin"] = answer
    assert fetch_from("/set.bin").read_bytes() == BODY
    assert len(mirror.requests) == 51


def test_a_server_that_cannot_resume_is_downloaded_from_the_start(mirror, fetch_from, tmp_path):
    def without_ranges(handler):
        del handler.headers["Range"]
        handler.send_ranges(BODY)

    mirror.answers["/set.bin"] = without_ranges
    (tmp_path / "set.bin.part").write_bytes(b"x" * 1000)
    assert fetch_from("/set.bin").read_bytes() == BODY


def test_a_part_the_server_will_not_continue_is_dropped(mirror, fetch_from, tmp_path):
    def refuse_ranges(handler):
        if handler.headers.get("Range"):
            handler.send_error(416)
        else:
            handler.send_ranges(BODY)

    mirror.answers["/set.bin"] = refuse_ranges
    (tmp_path / "set.bin.part").write_bytes(BODY[:100])
    assert fetch_from("/set.bin").read_bytes() == BODY


def log_in_page(handler, body=b"<html>please log in</html>"):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body)


def no_range(handler):
    """Refuse to go on from any byte, and have nothing from the first byte on."""
    handler.send_response(416 if handler.headers.get("Range") else 200)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.fixture(params=["known", "unknown"])
def sized(request, wanted):
    """The wanted file, its size known or not."""
    return wanted if request.param == "known" else SourceFile("set.bin", None, wanted.checksum)


ENDLESS = BODY[::-1] * 2


@pytest.mark.parametrize(
    "answer",
    [log_in_page, no_range, lambda handler: log_in_page(handler, ENDLESS)],
    ids=["page", "416", "too long"],
)
def test_what_arrived_outlives_mirrors_that_have_something_else(mirror, fetch_from, tmp_path, sized, answer):
    mirror.answers |= {"/other": answer, "/good": BODY}
    part = tmp_path / "set.bin.part"
    part.write_bytes(BODY[:180_000])
    with pytest.raises(UnavailableError):
        fetch_from("/dead", "/other", file=sized)
    assert part.read_bytes() == BODY[:180_000]
    assert not (tmp_path / "set.bin.anew").exists()
    assert fetch_from("/other", "/good", file=sized).read_bytes() == BODY
    assert mirror.requests[-1][:2] == ("/good", "bytes=180000-")
    assert not part.exists()


def test_bytes_behind_the_end_of_the_file_are_taken_from_the_part_again(mirror, fetch_from, tmp_path):
    def too_much(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 1000-{len(BODY) - 1}/{len(BODY)}")
        handler.end_headers()
        handler.wfile.write(BODY)

    mirror.answers["/more"] = too_much
    (tmp_path / "set.bin.part").write_bytes(BODY[:1000])
    with pytest.raises(UnavailableError, match="it sends more than 200,000 bytes"):
        fetch_from("/more")
    assert (tmp_path / "set.bin.part").read_bytes() == BODY[:1000]


def test_a_mirror_that_begins_anew_takes_the_place_of_a_shorter_part(mirror, fetch_from, tmp_path):
    def without_ranges(handler):
        del handler.headers["Range"]
        handler.send_ranges(BODY, cut_after=150_000)

    mirror.answers |= {"/anew": without_ranges, "/good": BODY}
    (tmp_path / "set.bin.part").write_bytes(b"x" * 1000)
    assert fetch_from("/anew", "/good").read_bytes() == BODY
    assert mirror.requests[-1][:2] == ("/good", "bytes=150000-")
    assert [path.name for path in tmp_path.glob("set*")] == ["set.bin"]


def test_what_a_kill_left_of_a_mirror_that_began_anew_is_continued(mirror, fetch_from, tmp_path):
    mirror.answers["/set.bin"] = BODY
    (tmp_path / "set.bin.part").write_bytes(BODY[:1000])
    (tmp_path / "set.bin.anew").write_bytes(BODY[:5000])
    assert fetch_from("/set.bin").read_bytes() == BODY
    assert mirror.requests[-1][:2] == ("/set.bin", "bytes=5000-")
    assert [path.name for path in tmp_path.glob("set*")] == ["set.bin"]


def behind_end_refused(handler):
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    if start >= len(BODY):
        handler.send_error(416)
    else:
        handler.send_ranges(BODY)


@pytest.mark.parametrize("left", [BODY, b"x" * len(BODY), BODY + b"more"], ids=["whole", "wrong", "too long"])
def test_no_part_of_a_file_of_unknown_size_is_in_the_way(mirror, fetch_from, tmp_path, wanted, left):
    mirror.answers["/set.bin"] = behind_end_refused
    (tmp_path / "set.bin.part").write_bytes(left)
    file = SourceFile("set.bin", None, wanted.checksum)
    assert fetch_from("/set.bin", file=file).read_bytes() == BODY
    assert len(mirror.requests) == (1 if left == BODY else 2)
    assert [path.name for path in tmp_path.glob("set*")] == ["set.bin"]


def test_a_wrong_hash_is_kept_aside_and_the_next_mirror_tried(mirror, fetch_from, tmp_path, console):
    mirror.answers |= {"/bad": BODY[:-1] + b"?", "/good": BODY}
    assert fetch_from("/bad", "/good").read_bytes() == BODY
    assert (tmp_path / "set.bin.bad").read_bytes() == BODY[:-1] + b"?"
    assert str(tmp_path / "set.bin.bad") in console.file.getvalue()


def test_a_wrong_hash_everywhere_is_an_error_that_names_the_bad_file(mirror, fetch_from, tmp_path, wanted):
    mirror.answers["/bad"] = b"?" * len(BODY)
    with pytest.raises(UnavailableError) as error:
        fetch_from("/bad")
    assert str(tmp_path / "set.bin.bad") in str(error.value)
    assert wanted.checksum in str(error.value)
    assert hashlib.sha256(b"?" * len(BODY)).hexdigest() in str(error.value)
    assert not (tmp_path / "set.bin").exists()


def test_a_rotten_part_is_replaced_from_the_same_mirror(mirror, fetch_from, tmp_path):
    mirror.answers["/set.bin"] = BODY
    (tmp_path / "set.bin.part").write_bytes(b"rotten" * 100)
    assert fetch_from("/set.bin").read_bytes() == BODY


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
def test_an_error_status_leads_to_the_next_mirror(mirror, fetch_from, status):
    mirror.answers |= {"/broken": lambda handler: handler.send_error(status), "/good": BODY}
    assert fetch_from("/broken", "/good").read_bytes() == BODY


def test_a_passing_error_is_tried_again(mirror, fetch_from):
    answers = [lambda handler: handler.send_error(503), lambda handler: handler.send_ranges(BODY)]
    mirror.answers["/set.bin"] = lambda handler: answers.pop(0)(handler)
    assert fetch_from("/set.bin").read_bytes() == BODY


def test_a_web_page_in_place_of_the_file_is_refused(mirror, fetch_from, tmp_path):
    def page(handler):
        body = b"<html>log in first</html>"
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    mirror.answers["/set.bin"] = page
    with pytest.raises(UnavailableError, match=r"text/html.*not 200,000"):
        fetch_from("/set.bin")
    assert not (tmp_path / "set.bin").exists()


def test_more_bytes_than_there_should_be_are_not_taken(mirror, fetch_from, tmp_path):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY + b"more" * 100_000)

    mirror.answers |= {"/endless": endless, "/good": BODY}
    assert fetch_from("/endless", "/good").read_bytes() == BODY


def test_a_short_body_without_a_declared_length_is_not_taken(mirror, fetch_from, tmp_path):
    def short(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY[:5000])

    mirror.answers["/short"] = short
    with pytest.raises(UnavailableError, match="cut after 5,000 of 200,000"):
        fetch_from("/short")
    assert not (tmp_path / "set.bin").exists()


def test_redirects_are_followed(mirror, fetch_from):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", "/set.bin")
        handler.end_headers()

    mirror.answers |= {"/old": redirect, "/set.bin": BODY}
    assert fetch_from("/old").read_bytes() == BODY


@pytest.mark.parametrize("target", ["/round", "/page", "/gone"])
def test_a_redirect_that_leads_nowhere_is_left_for_the_next_mirror(mirror, fetch_from, target):
    def redirect(handler):
        handler.send_response(301)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    mirror.answers |= {"/round": redirect, "/page": b"<html>moved</html>", "/good": BODY}
    assert fetch_from("/round", "/good").read_bytes() == BODY


def test_a_redirected_download_is_continued_where_it_was_cut(mirror, fetch_from):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", "/set.bin")
        handler.end_headers()

    answers = [cut_at(70_000), cut_at(None)]
    mirror.answers |= {"/old": redirect, "/set.bin": lambda handler: answers.pop(0)(handler)}
    assert fetch_from("/old").read_bytes() == BODY
    assert mirror.requests[-1][:2] == ("/set.bin", "bytes=70000-")


def test_a_hanging_mirror_is_left_for_the_next(mirror, fetch_from):
    mirror.answers |= {"/hangs": lambda handler: mirror.released.wait(20), "/good": BODY}
    before = time.monotonic()
    assert fetch_from("/hangs", "/good").read_bytes() == BODY
    assert time.monotonic() - before < 5


def test_a_trickling_mirror_is_left_for_the_next(mirror, fetch_from):
    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        for byte in BODY[:120]:
            handler.wfile.write(bytes([byte]))
            if mirror.released.wait(0.05):
                return

    mirror.answers |= {"/trickle": trickle, "/good": BODY}
    before = time.monotonic()
    assert fetch_from("/trickle", "/good").read_bytes() == BODY
    assert time.monotonic() - before < 5


def test_no_server_at_all_is_one_sentence(mirror, fetch_from, tmp_path, console, patience, wanted):
    with pytest.raises(
        UnavailableError, match=r"set\.bin could not be downloaded \(127.*:9: no connection\)"
    ):
        download(wanted, ["http://127.0.0.1:9/set.bin"], tmp_path, console, patience=patience)


def test_a_full_disk_is_noticed_before_anything_is_written(mirror, fetch_from, tmp_path, monkeypatch):
    mirror.answers["/set.bin"] = BODY
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"disk is too full.*RMEM_DATA"):
        fetch_from("/set.bin")
    assert list(tmp_path.glob("set.bin*")) == []


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_an_older_hash_is_enough_where_no_better_is_known(mirror, fetch_from, algorithm):
    checksum = f"{algorithm}:{hashlib.new(algorithm, BODY).hexdigest()}"
    file = SourceFile("old.bin", None, checksum)
    mirror.answers |= {"/bad": BODY[1:], "/good": BODY}
    assert fetch_from("/bad", "/good", file=file).read_bytes() == BODY


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_named_and_the_next_mirror_tried(
    mirror, wanted, tmp_path, console, patience, monkeypatch, variable
):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, "/none.pem")
    mirror.answers["/good"] = BODY
    secure = "https://127.0.0.1:9/set.bin"
    with pytest.raises(
        UnavailableError, match=rf"no certificates at /none\.pem, which {variable} names; let"
    ):
        download(wanted, [secure], tmp_path, console, patience=patience)
    urls = [secure, f"{mirror.url}/good"]
    assert download(wanted, urls, tmp_path, console, patience=patience).read_bytes() == BODY


def test_a_host_that_wants_a_browser_is_shown_one(mirror, fetch_from):
    mirror.answers["/set.bin"] = BODY
    fetch_from("/set.bin", browser=True)
    assert mirror.requests[0][2].startswith("Mozilla/")
