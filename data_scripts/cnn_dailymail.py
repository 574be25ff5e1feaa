"""CNN and Daily Mail news with highlights (Hermann et al. 2015, split by See et al. 2017).

The original layout is two archives of stories and three lists of addresses: the sha1 of an address names its
story. Many copies are three CSV files instead (id, article, highlights), which are taken as well, as they
stand. From stories, pairs are in the order of their ids, and those without an article are left out (114).
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from rmem_cli.data.pair_records import Pair, pair_content, read_pairs
from rmem_cli.data.pairs import FORM
from rmem_cli.data.words import WRITTEN
from rmem_cli.data.writer import Content, Expected

from .dataset import Dataset, Form, Source, SourceFile
from .unpack import members
from .words import words_form

_LISTS = {"train": "all_train.txt", "valid": "all_val.txt", "test": "all_test.txt"}
_TABLES = {"train": "train.csv", "valid": "validation.csv", "test": "test.csv"}
# What public samples of the tables are called.
_SAMPLES = {
    "train": "train_sample.csv",
    "valid": "cnn_dailymail_validation_subset.csv",
    "test": "test_sample.csv",
}
_STORIES = ("cnn_stories.tgz", "dailymail_stories.tgz")
_MOST_UNPACKED = 8 << 30
_HIGHLIGHT = "@highlight"


def prepare_pairs(files: Mapping[str, Path]) -> Content:
    """Articles, a paragraph a line, and their highlights, a line each."""
    if tables := {split: files[name] for split, name in _TABLES.items() if name in files}:
        return pair_content({split: read_pairs(path) for split, path in tables.items()})
    lists = {split: files[name] for split, name in _LISTS.items() if name in files}
    stories = _Stories([files[name] for name in _STORIES if name in files])
    return pair_content({split: stories.pairs(story_ids(path)) for split, path in lists.items()})


def story_ids(path: Path) -> list[str]:
    """The ids of the stories that a list of addresses names, in order."""
    addresses = path.read_text(encoding="utf-8").split()
    return sorted(hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest() for address in addresses)


def parse_story(story_id: str, text: str) -> Pair:
    """A story: paragraphs, then `@highlight` before each highlight, with blank lines between all of them."""
    article, *highlights = ([line.strip() for line in part.split("\n")] for part in text.split(_HIGHLIGHT))
    return Pair(
        story_id,
        "\n".join(filter(None, article)),
        "\n".join(" ".join(filter(None, highlight)) for highlight in highlights),
    )


class _Stories:
    """The stories of archives, put into one temporary file, so that they can be had in any order.

    Args:
        archives: Archives of `<id>.story` files.
    """

    def __init__(self, archives: Sequence[Path]) -> None:
        self._archives = archives

    def pairs(self, ids: Sequence[str]) -> Iterator[Pair]:
        """The pairs of these ids that are there and have an article."""
        wanted, places = set(ids), {}
        with tempfile.TemporaryFile() as store:
            for archive in self._archives:
                for member in members(archive, _MOST_UNPACKED):
                    story_id = PurePosixPath(member.name).stem
                    if story_id in wanted:
                        content = member.open().read()
                        places[story_id] = (store.tell(), len(content))
                        store.write(content)
            for story_id in filter(places.__contains__, ids):
                offset, size = places[story_id]
                store.seek(offset)
                pair = parse_story(story_id, store.read(size).decode("utf-8"))
                if pair.article:
                    yield pair


_FILES = (
    SourceFile(
        "cnn_stories.tgz",
        158_577_824,
        "sha256:e8fbc0027e54e0a916abd9c969eb35f708ed1467d7ef4e3b17a56739d65cb200",
    ),
    SourceFile(
        "dailymail_stories.tgz",
        375_893_739,
        "sha256:ad69010002210b7c406718248ee66e65868b9f6820f163aa966369878d14147e",
    ),
    SourceFile(
        "all_train.txt",
        46_424_688,
        "sha256:a5cee49f3a6c862c26ce29308236d2a99625ab6c86a43be22d5206b2790d8029",
    ),
    SourceFile(
        "all_val.txt",
        2_433_674,
        "sha256:81887e982b045083409c6ee838aede8ff4b97291605bcfb21bffc456a16991db",
    ),
    SourceFile(
        "all_test.txt",
        2_109_547,
        "sha256:c4f5efb5ec2126430a5c156efbd13d0e9c4cb490169e552c38b4a51981a009bd",
    ),
)
_CNN, _DAILYMAIL, *_ADDRESSES = _FILES
_COUNTS = Expected({"train": 287_113, "valid": 13_368, "test": 11_490})
_HUB = "https://huggingface.co/datasets/cnn_dailymail/resolve/11343c3752184397d56efc19a8a7cceb68089318/data"

CNN_DAILYMAIL = Dataset(
    name="cnn_dailymail",
    title="CNN/Daily Mail",
    files=_FILES,
    alternatives=(
        tuple(
            SourceFile(name, None, "", aliases=(f"{split}.csv", _SAMPLES[split]), at_most=4 << 30)
            for split, name in _TABLES.items()
        ),
    ),
    sources=(
        Source(_CNN, (f"{_HUB}/{_CNN.name}",)),
        Source(_DAILYMAIL, (f"{_HUB}/{_DAILYMAIL.name}",)),
        *(
            Source(
                file,
                (f"https://raw.githubusercontent.com/abisee/cnn-dailymail/master/url_lists/{file.name}",),
            )
            for file in _ADDRESSES
        ),
        *(
            Source(
                file,
                (f"https://drive.google.com/uc?export=download&id={drive_id}",),
                browser=True,
                unverified="taken to be the same archive",
            )
            for file, drive_id in (
                (_CNN, "0BwmD_VLjROrfTHk4NFg2SndKcjQ"),
                (_DAILYMAIL, "0BwmD_VLjROrfM1BxdkxVaTY2bWs"),
            )
        ),
    ),
    forms=(Form(FORM, prepare_pairs, _COUNTS, unit="pairs"),),
    derived=(words_form(WRITTEN, _COUNTS),),
    licence="none stated",
    citation=(
        "Hermann et al. (2015), Teaching Machines to Read and Comprehend, NeurIPS; split as in See, Liu, "
        "Manning (2017), Get To The Point: Summarization with Pointer-Generator Networks, ACL"
    ),
)
