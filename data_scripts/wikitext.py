"""WikiText-2 and WikiText-103, word level, with the vocabulary that Transformer-XL builds.

Each line of the official `.tokens` files is split at white space, with case and `<unk>` as they are, and
ended by `<eos>`, empty lines too. Symbol 0 is `<eos>`; the others are the words of the training text, most
frequent first, ties by first appearance (Dai et al. 2019, published code).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rmem_cli.data.symbols import word_content
from rmem_cli.data.writer import Content, Expected

from . import stand_ins
from .dataset import Dataset, Form, Source, SourceFile

_MEMBERS = {split: f"wiki.{split}.tokens" for split in ("train", "valid", "test")}
_CITATION = "Merity, Xiong, Bradbury, Socher (2017), Pointer Sentinel Mixture Models, ICLR"
_LICENCE = "CC BY-SA 4.0"


def prepare_words(files: Mapping[str, Path]) -> Content:
    """The words of each line and `<eos>`, as symbols."""
    splits = {split: files[name] for split, name in _MEMBERS.items() if name in files}
    return word_content(splits, end_of_line_first=True)


def _file(split: str, size: int | None, checksum: str) -> SourceFile:
    """One split; scripts that unpack the archive often rename its files to `train.txt` and so on."""
    return SourceFile(_MEMBERS[split], size, checksum, aliases=(f"{split}.txt",))


_archive = partial(Source, provides=tuple(_MEMBERS.values()))

WIKITEXT2 = Dataset(
    name="wikitext2",
    title="WikiText-2",
    files=(
        _file("train", 10_797_148, "sha256:9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
        _file("valid", 1_121_681, "sha256:f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
        _file("test", 1_256_449, "sha256:d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
    ),
    sources=(
        _archive(
            SourceFile(
                "wikitext-2-v1.zip",
                4_475_746,
                "sha256:92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
            ),
            (
                "https://wikitext.smerity.com/wikitext-2-v1.zip",
                "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
            ),
        ),
    ),
    forms=(
        Form(
            "word",
            prepare_words,
            Expected({"train": 2_088_628, "valid": 217_646, "test": 245_569}, distinct=33_278),
            stand_in=stand_ins.text,
        ),
    ),
    licence=_LICENCE,
    citation=_CITATION,
    text_form="word",
)

WIKITEXT103 = Dataset(
    name="wikitext103",
    title="WikiText-103",
    files=(
        _file("train", None, "sha1:b7497e2dfe77e72cfef5e3dbc61b7b53712ac211"),
        _file("valid", 1_142_309, "sha256:9aee9f52d6e77de6c7751fc5e7c44287db3ec0eaf15477098acc6b93c1c4250b"),
        _file("test", 1_281_077, "sha256:56db52eb157b1ab5c89646eef70510c1eca6e12a3bfdb99f0d6b05b4eacb75b9"),
    ),
    sources=(
        _archive(
            SourceFile(
                "wikitext-103-v1.zip",
                190_229_076,
                "sha256:242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590",
            ),
            (
                "https://wikitext.smerity.com/wikitext-103-v1.zip",
                "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-103-v1.zip",
            ),
        ),
        _archive(
            SourceFile(
                "wikitext-103.tar.gz",
                None,
                "sha512:c8186919aa1840af6b734ea41abc580574ea8efe2fafda220f5d01002464d17566d84be5199b8751"
                "36c9593f0e0678fb5d7c84bb2231de8b4151cb9c83fa2109",
            ),
            ("https://dax-cdn.cdn.appdomain.cloud/dax-wikitext-103/1.0.1/wikitext-103.tar.gz",),
        ),
    ),
    forms=(
        Form(
            "word",
            prepare_words,
            Expected({"valid": 217_646, "test": 245_569}, distinct=267_735),
            # No preparation is held to this count: nobody here has seen the file.
            stand_in=partial(stand_ins.text, train=103_227_021),
        ),
    ),
    licence=_LICENCE,
    citation=_CITATION,
    text_form="word",
)
