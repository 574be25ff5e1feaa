import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rmem_cli.data_scripts.babi import prepare_task

from rmem_cli.data.babi import Babi, Line, words
from rmem_cli.data.writer import write_prepared
from rmem_cli.errors import DataError

ABOUT = {"sources": [], "licence": "free", "citation": "nobody"}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
LINE = st.builds(
    Line,
    number=st.integers(1, 300),
    text=TEXT,
    answer=st.none() | st.text("abc,", min_size=1, max_size=9),
    support=st.lists(st.integers(1, 300), max_size=4).map(tuple),
).map(lambda line: line if line.answer is not None else Line(line.number, line.text))
FILE = st.lists(LINE, min_size=1, max_size=30)

STORY = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Who is in the hallway? \tjohn,daniel\t4 2
1 Sandra sat.
2 Is Sandra there?\tyes\t1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("babi")


def prepare(folder, **texts):
    for split, text in texts.items():
        (folder / f"qa1_{split}.txt").write_bytes(text.encode())
    files = {f"en/qa1_{split}.txt": folder / f"qa1_{split}.txt" for split in texts}
    write_prepared("babi", "en-qa1", prepare_task(files), **ABOUT, missing=[] if len(texts) == 2 else ["it"])
    return Babi(1, "en")


@settings(max_examples=25)
@given(FILE, FILE)
def test_any_task_comes_back_line_by_line(folder, train, test):
    texts = {split: "".join(f"{line}\n" for line in of) for split, of in (("train", train), ("test", test))}
    task = prepare(folder, **texts)
    for split, text in texts.items():
        assert "".join(f"{line}\n" for line in task.lines(split)) == text


def test_questions_come_with_the_statements_before_them_and_their_support(folder):
    first, second, third = prepare(folder, train=STORY, test=STORY).questions("train")
    assert first.story == ["Mary moved to the bathroom.", "John went to the hallway."]
    assert (first.question, first.answer, first.support) == ("Where is Mary?", "bathroom", [0])
    assert second.story == [*first.story, "Daniel went back to the hallway."]
    assert (second.answer, second.support) == ("john,daniel", [2, 1])
    assert (third.story, third.support) == (["Sandra sat."], [0])


def test_the_vocabulary_holds_all_words_of_lines_and_answers(folder):
    task = prepare(folder, train=STORY, test="1 New words!\n2 Why?\tthus\t1\n")
    assert task.vocabulary == sorted(set(words(STORY + " new words why thus")) - set("12345"))


def test_a_split_that_is_missing_says_so(folder):
    task = prepare(folder, test=STORY)
    assert len(list(task.questions("test"))) == 3
    with pytest.raises(DataError, match="prepared without it"):
        task.lines("train")


def test_a_line_without_a_number_is_named(folder):
    with pytest.raises(DataError, match=r"qa1_train\.txt:2: this is not a line of a bAbI task: 'oops'"):
        prepare(folder, train="1 Fine.\noops\n", test=STORY)
