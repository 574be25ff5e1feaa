"""The 20 bAbI tasks (version 1.2) in English, with 1,000 and with 10,000 training questions.

The test files of both sizes are the same. How the lines are stored: `rmem_cli.data.babi`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from rmem_cli.data.babi import SIZES, TASKS, Line, arrays_of, form, vocabulary_of
from rmem_cli.data.texts import text_chunks
from rmem_cli.data.writer import Content, Expected
from rmem_cli.errors import DataError

from .dataset import Dataset, Form, Source, SourceFile


def prepare_task(files: Mapping[str, Path]) -> Content:
    """All lines of the files of one task; a file's split is the end of its name."""
    splits = {
        split: read_lines(path)
        for split in ("train", "test")
        for name, path in files.items()
        if name.endswith(f"_{split}.txt")
    }
    return Content(
        {},
        list(vocabulary_of(line for lines in splits.values() for line in lines)),
        together=_arrays(splits),
        counted={split: f"{split}_question" for split in splits},
    )


def read_lines(path: Path) -> list[Line]:
    """The lines of a bAbI file.

    Raises:
        DataError: A line is not like those of bAbI.
    """
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    parsed = []
    for number, line in enumerate(lines, start=1):
        try:
            parsed.append(Line.parse(line))
        except ValueError as error:
            raise DataError(f"{path}:{number}: this is not a line of a bAbI task: {line!r}.") from error
    return parsed


def _arrays(splits: Mapping[str, list[Line]]) -> Iterator[tuple[str, np.ndarray]]:
    for split, lines in splits.items():
        yield from text_chunks(f"{split}_text", [line.text for line in lines])
        yield from text_chunks(f"{split}_answer", [line.answer for line in lines if line.answer is not None])
        yield from arrays_of(split, lines).items()


_FILES = (
    SourceFile(
        "en/qa1_single-supporting-fact_train.txt",
        94_346,
        "sha256:c64ba9b1a49bbb111ffc4cd2ae4f129d25c012399dd7ade9679eea464b9afb05",
    ),
    SourceFile(
        "en/qa1_single-supporting-fact_test.txt",
        94_477,
        "sha256:55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b",
    ),
    SourceFile(
        "en/qa2_two-supporting-facts_train.txt",
        177_412,
        "sha256:a4978af5bc0dc30191810e7c9949aaa6eae939ed0f6beb9fcb5f4330c2a27860",
    ),
    SourceFile(
        "en/qa2_two-supporting-facts_test.txt",
        179_835,
        "sha256:eff93fb9cd81ba02eb765772cf7cc269769ed44ec71cbbbc19cfb16ee5eba0f6",
    ),
    SourceFile(
        "en/qa3_three-supporting-facts_train.txt",
        529_204,
        "sha256:a6e78019f36a02a7ed71fe6aaded0b563ff09c8deec392931801fcd9c6af4d60",
    ),
    SourceFile(
        "en/qa3_three-supporting-facts_test.txt",
        526_527,
        "sha256:17795c977100baf8188f386522ae301b62d6c1a13efc01b3aea781e588b4d57f",
    ),
    SourceFile(
        "en/qa4_two-arg-relations_train.txt",
        117_470,
        "sha256:c9370502d85fa382f32d1fea2111e817f81ae9e3e79eb2924a1a5392a90417fa",
    ),
    SourceFile(
        "en/qa4_two-arg-relations_test.txt",
        117_394,
        "sha256:07f0ca18ddeea9eed4ba6d59e162adcb0ce44815721114b3540d92825509331e",
    ),
    SourceFile(
        "en/qa5_three-arg-relations_train.txt",
        199_473,
        "sha256:086cd59c3ca9677bfac3d6a22ca5853c76a5c1fbae3159c7c4a6aef759a74ec0",
    ),
    SourceFile(
        "en/qa5_three-arg-relations_test.txt",
        207_037,
        "sha256:ec825c1c8a76e63a31f0d7a7763cd63740e98332fa9bdf246a19068949bd5f97",
    ),
    SourceFile(
        "en/qa6_yes-no-questions_train.txt",
        100_561,
        "sha256:5a133115ee35d475776df703ff605d145b11effbcdbf7e74861f9d5639246a5a",
    ),
    SourceFile(
        "en/qa6_yes-no-questions_test.txt",
        100_109,
        "sha256:b108b16f1eccbd1c24df6dca2649079a7b2f10af7fd12d4c45a3393802de59e3",
    ),
    SourceFile(
        "en/qa7_counting_train.txt",
        135_895,
        "sha256:dca03bd91876951c49f1c971c83c9dd55404de60201b7b6435451cf7ddb4751c",
    ),
    SourceFile(
        "en/qa7_counting_test.txt",
        130_136,
        "sha256:a74d1f2b91329b2bae814d41cdac2fbdfdf0328562b7d8afa9a0fa576d461e27",
    ),
    SourceFile(
        "en/qa8_lists-sets_train.txt",
        124_487,
        "sha256:058604df6f9440458317e8ae685d2b7b84261e1a80b4d6410a9140d16f81bf06",
    ),
    SourceFile(
        "en/qa8_lists-sets_test.txt",
        126_863,
        "sha256:362a653c821a580fa315a85243b4f03bfa06fa7e0269b6f8e596f8fe6911646a",
    ),
    SourceFile(
        "en/qa9_simple-negation_train.txt",
        97_310,
        "sha256:0c3b89921af0caea1c4059ee3f7b7f2a88869f924195a428da37820446b8c49f",
    ),
    SourceFile(
        "en/qa9_simple-negation_test.txt",
        97_208,
        "sha256:63590aff3f89993db409f0e9a9eb39c2a5b9d5efff99b255d800a891b0044d9f",
    ),
    SourceFile(
        "en/qa10_indefinite-knowledge_train.txt",
        99_217,
        "sha256:0b7691689447bab05476c5b48c44999b41e747c3978df69c18fdd87b60d6e8b3",
    ),
    SourceFile(
        "en/qa10_indefinite-knowledge_test.txt",
        99_632,
        "sha256:fde8f20ed0b3ba979058ed391a566af34653f23baab5b2793ee37f87ef4e88b7",
    ),
    SourceFile(
        "en/qa11_basic-coreference_train.txt",
        104_520,
        "sha256:9468de9a1f256f43dfda693a5d07182d21149a82b65f7c2451c64e9cff5eb138",
    ),
    SourceFile(
        "en/qa11_basic-coreference_test.txt",
        104_800,
        "sha256:46f3290d0158ce1285a40cd2d793f5a65f86ae5000226e165cbc85a3dfeb2f6f",
    ),
    SourceFile(
        "en/qa12_conjunction_train.txt",
        114_560,
        "sha256:45c2764bb2d3c8f699d35e9d9aa7958fcd96379c6e907116cdf74526c108bb25",
    ),
    SourceFile(
        "en/qa12_conjunction_test.txt",
        114_489,
        "sha256:6437718f8f9801ce345869e910b896836cdc6fd2d01dc7b4d2df49730703b4b1",
    ),
    SourceFile(
        "en/qa13_compound-coreference_train.txt",
        116_516,
        "sha256:533a391edbda743e4c99504de88b40cdded5b1d5ef454d1390f0863f748a4cc9",
    ),
    SourceFile(
        "en/qa13_compound-coreference_test.txt",
        116_444,
        "sha256:76a25b684f23c9cc473d8cd1465506168b9a1ec8891cfc59d0bbd87e6a064990",
    ),
    SourceFile(
        "en/qa14_time-reasoning_train.txt",
        152_131,
        "sha256:b7561cbc624205c9c2fdbb8c843cfa8ad90edd65e78bb223fc6dea8113662df8",
    ),
    SourceFile(
        "en/qa14_time-reasoning_test.txt",
        151_420,
        "sha256:e3f0b19858ffbec3ed1e49076cc4d1295a89ce146c50318b862f13f202b3caf2",
    ),
    SourceFile(
        "en/qa15_basic-deduction_train.txt",
        87_688,
        "sha256:e856ebfdcce4dd7d617c1d10f985e96a0850c0ca18e9a19a017cb710d135ed3d",
    ),
    SourceFile(
        "en/qa15_basic-deduction_test.txt",
        87_769,
        "sha256:32b77e117fe9acf5f94906684e3b5206de0108e646c76e1da3e022896ec7ee94",
    ),
    SourceFile(
        "en/qa16_basic-induction_train.txt",
        208_334,
        "sha256:20121005137e3d4b061a086eb177a456303d5742b764eb8da2d0e480b6af4d28",
    ),
    SourceFile(
        "en/qa16_basic-induction_test.txt",
        208_208,
        "sha256:4a11e55366f2a5a859b5a81f683ee23801bdbe71ef984e51adb976bd053e8dcf",
    ),
    SourceFile(
        "en/qa17_positional-reasoning_train.txt",
        68_596,
        "sha256:20083bf56ff74f0e7cf5e3e2f8c3905cdb8ef09293c3e8cf7a96ed8b45ae2277",
    ),
    SourceFile(
        "en/qa17_positional-reasoning_test.txt",
        68_578,
        "sha256:9e1e0250ed4ec1831757fab26c04138f81ea557ebf6976a220db879cbed04bac",
    ),
    SourceFile(
        "en/qa18_size-reasoning_train.txt",
        104_815,
        "sha256:18b7dcf52c9a0e87e4e7dd3d65b7e5a630de039645f52a1294197af7481d739d",
    ),
    SourceFile(
        "en/qa18_size-reasoning_test.txt",
        103_626,
        "sha256:d34f70eb7228a276fcb3a7854174fe562c5634f4fb454a39fc3d1ad9934be3ef",
    ),
    SourceFile(
        "en/qa19_path-finding_train.txt",
        247_496,
        "sha256:dcb788352a56effb7bea1449128f31cc9c342c8c327b6df2caeee0e379e6ad3a",
    ),
    SourceFile(
        "en/qa19_path-finding_test.txt",
        247_449,
        "sha256:023e391f0d7f79c9e6ae1c46c093e2d0dbd50ab8fbd8965e037a75e3614c20e5",
    ),
    SourceFile(
        "en/qa20_agents-motivations_train.txt",
        67_892,
        "sha256:29580ad55fb7b4b29ba014696056cc68f8f347dac3be88470fd692ad60150398",
    ),
    SourceFile(
        "en/qa20_agents-motivations_test.txt",
        67_963,
        "sha256:bd3bde3788ac14ba0ae095078f7b820fbd2bfa6a34dba9d1d46a34afde9c2729",
    ),
    SourceFile(
        "en-10k/qa1_single-supporting-fact_train.txt",
        944_248,
        "sha256:749ea9f7c99070feb2d88c975a254417a0dcc8274add4435ae5ae24c7afc7e9d",
    ),
    SourceFile(
        "en-10k/qa2_two-supporting-facts_train.txt",
        1_794_716,
        "sha256:d4074c0c5d54f70ce2f538056ce2b6ef6a313da336da4245f1a24f1298e37ef3",
    ),
    SourceFile(
        "en-10k/qa3_three-supporting-facts_train.txt",
        None,
        "git-blob:9b2b35ca4357ea8ee44692c71ec71892edf51399",
    ),
    SourceFile(
        "en-10k/qa4_two-arg-relations_train.txt",
        1_175_065,
        "sha256:5d11b821d35234988ab907866aa7ce718e6b6d751acf63bdef52262afb59f12c",
    ),
    SourceFile(
        "en-10k/qa5_three-arg-relations_train.txt",
        2_122_413,
        "sha256:2506910935b701bac64fc8b1d7ff12bd8d0f47ceefca183454282bec784c12a5",
    ),
    SourceFile(
        "en-10k/qa6_yes-no-questions_train.txt",
        1_003_212,
        "sha256:602f379184bf3cb59660d0f7769d9c94ccdc1fc4d82dfe90bd460d985b1ff0c5",
    ),
    SourceFile(
        "en-10k/qa7_counting_train.txt",
        1_345_275,
        "sha256:4a2508733bef9b38cfce4b3108a91b83cdee378de4a7370e4d32fea2dacd3b7d",
    ),
    SourceFile(
        "en-10k/qa8_lists-sets_train.txt",
        1_256_367,
        "sha256:9518da2d3aa5d98bec33335e0d5ba3a22c2bd1929ee679085d37eb50a7652e4a",
    ),
    SourceFile(
        "en-10k/qa9_simple-negation_train.txt",
        971_173,
        "sha256:5f8949f6ef7d64516fc4dd5732b12b5932d057b1a614e8ac94e795fb020d4ff0",
    ),
    SourceFile(
        "en-10k/qa10_indefinite-knowledge_train.txt",
        997_635,
        "sha256:c5c0788b0446095c07a0442784cad2b59c1d58e875ebe8ad852f5e3f628613f4",
    ),
    SourceFile(
        "en-10k/qa11_basic-coreference_train.txt",
        1_046_139,
        "sha256:edfcd97fecd4a5045af25e1790cf1408856ae362c39521b1b69cd32b88ec0ced",
    ),
    SourceFile(
        "en-10k/qa12_conjunction_train.txt",
        1_144_705,
        "sha256:39d58df3564916c66cebc98befb65d605c032181e51208730fd8837a77bc166a",
    ),
    SourceFile(
        "en-10k/qa13_compound-coreference_train.txt",
        1_163_109,
        "sha256:c530fdf122d26617a8a03ba5cdbacee87c22624ba7f50d1f07f9658c900e22d8",
    ),
    SourceFile(
        "en-10k/qa14_time-reasoning_train.txt",
        1_506_583,
        "sha256:c322e0814eef71f088af1aa1334e7ae4b1ee6ca18f2ee94c05e2189226964ed6",
    ),
    SourceFile(
        "en-10k/qa15_basic-deduction_train.txt",
        877_358,
        "sha256:0a86673f7fafa484f8ee394048f03de19405bdc40b58f21086969efad2862010",
    ),
    SourceFile(
        "en-10k/qa16_basic-induction_train.txt",
        2_082_804,
        "sha256:27fef347ce0b25dd148efea2b15f154926e0e9069d4ea6ab9cfca3add492ab35",
    ),
    SourceFile(
        "en-10k/qa17_positional-reasoning_train.txt",
        684_293,
        "sha256:8a383651e009db50d6c9effed5778b8646c28c55fadb1592b5f4d8d3a187bbce",
    ),
    SourceFile(
        "en-10k/qa18_size-reasoning_train.txt",
        1_058_260,
        "sha256:9e7c15107067d2070170ef12579a8bfe34dfc35a7ac9ebd13f2001dc1a7488f9",
    ),
    SourceFile(
        "en-10k/qa19_path-finding_train.txt",
        2_475_046,
        "sha256:6cfdc6f448e3cf0e3d8a390fa3add461935b033f89ede32aeef30812401ec91e",
    ),
    SourceFile(
        "en-10k/qa20_agents-motivations_train.txt",
        678_651,
        "sha256:36f20f3baf6bad2297d5b9fd877e633550c36106fe78bc10ddfb7b1eede62573",
    ),
)
_NAMES = tuple(file.name for file in _FILES)


def _form(task: int, size: str) -> Form:
    """A task with the training questions of one size, and the test questions, which are listed once."""
    prefixes = (f"{size}/qa{task}_", f"en/qa{task}_")
    train = next(name for name in _NAMES if name.startswith(prefixes[0]) and name.endswith("_train.txt"))
    test = next(name for name in _NAMES if name.startswith(prefixes[1]) and name.endswith("_test.txt"))
    counts = {"train": 10_000 if size == "en-10k" else 1_000, "test": 1_000}
    return Form(form(task, size), prepare_task, Expected(counts), files=(train, test), unit="questions")


_archive = partial(Source, provides=_NAMES)

BABI = Dataset(
    name="babi",
    title="bAbI tasks 1-20, v1.2",
    files=_FILES,
    sources=(
        _archive(
            SourceFile(
                "tasks_1-20_v1-2.tar.gz",
                15_719_851,
                "sha256:0364ebde659f14d11bc21744516c5ec49d3d06cb692733f66680771244998898",
            ),
            ("http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz",),
        ),
        _archive(
            SourceFile("tasks_1-20_v1-2.zip", None, "git-blob:039086666b117f06455a64aac804773b74847464"),
            (
                "https://raw.githubusercontent.com/booydar/babilong/"
                "7a6efee29f5cac03c3c410e6799c80fd2ffe3610/data/tasks_1-20_v1-2.zip",
            ),
        ),
        _archive(
            SourceFile(
                "babi.tar.gz",
                None,
                "sha256:f7f0bee187efca0d81c3daac1b162cda4eb7f9505dee5ad6846eabbed3dbf92e",
            ),
            ("http://parl.ai/downloads/babi/babi.tar.gz",),
        ),
        _archive(
            SourceFile("babi_tasks_1-20_v1-2.tar.gz", None, ""),
            ("https://s3.amazonaws.com/text-datasets/babi_tasks_1-20_v1-2.tar.gz",),
            unverified="no checksum of this archive is known; its members are verified",
        ),
    ),
    forms=tuple(_form(task, size) for size in SIZES for task in TASKS),
    licence="CC BY 3.0",
    citation=(
        "Weston, Bordes, Chopra, Rush, van Merrienboer, Joulin, Mikolov (2016), Towards AI-Complete Question "
        "Answering: A Set of Prerequisite Toy Tasks, ICLR"
    ),
)
