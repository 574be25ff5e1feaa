import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rmem_cli.data_scripts.babi import prepare_task

from rmem_cli.data.babi import Babi, Line, tokens, words
from rmem_cli.data.writer import write_prepared
from rmem_cli.errors import DataError

ABOUT = {"sources": [], "licence": "free", "citation": "nobody"}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@st.composite
def stories(draw):
    """Lines of a few stories: statements, and questions whose answers rest on some of those before them."""
    lines, told = [], []
    for _ in range(draw(st.integers(1, 30))):
        number = 1 if not lines or draw(st.integers(0, 5)) == 0 else lines[-1].number + 1
        told = [] if number == 1 else told
        if draw(st.booleans()):
            support = draw(st.lists(st.sampled_from(told), max_size=4)) if told else []
            answer = draw(st.text("abc,", min_size=1, max_size=9))
            lines.append(Line(number, "why " + draw(TEXT), answer, tuple(support)))
        else:
            lines.append(Line(number, draw(TEXT)))
            told.append(number)
    return lines


FILE = stories()

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
        (folder / f"qa1_{split}.txt").write_bytes(text.encode(errors="surrogateescape"))
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


def test_words_leave_punctuation_out_and_tokens_keep_it_and_the_case_of_letters():
    text = " Is the Milk, John's, there? "
    assert words(text) == ["is", "the", "milk", "john", "s", "there"]
    assert tokens(text) == ["Is", "the", "Milk", ",", "John", "'", "s", ",", "there", "?"]


def test_the_vocabulary_holds_all_words_of_lines_and_answers(folder):
    task = prepare(folder, train=STORY, test="1 New words!\n2 Why?\tthus\t1\n")
    assert task.prepared.vocabulary == sorted(set(words(STORY + " new words why thus")) - set("12345"))


def test_a_split_that_is_missing_says_so(folder):
    task = prepare(folder, test=STORY)
    assert len(list(task.questions("test"))) == 3
    with pytest.raises(DataError, match="prepared without it"):
        task.lines("train")


@pytest.mark.parametrize(
    ("text", "place", "wrong"),
    [
        ("1 Fine.\noops\n", 2, "this is not a line of a bAbI task: 'oops'"),
        ("1 Fine.\n\n2 Fine.\n", 2, "this is not a line of a bAbI task: ''"),
        ("1 Fine.\n2 Why?\tthus\n", 2, "this is not a line of a bAbI task"),
        ("1 Fine.\n3 Fine.\n", 2, "its number is 3, where 2, or 1 for a new story, must be"),
        ("2 Fine.\n", 1, "its number is 2, where 1 must be"),
        ("1 Fine.\n1 Fine.\n1 Fine.\n4 No.\n", 4, "its number is 4, where 2"),
        ("1 Fine.\n2 \tthus\t1\n", 2, "here is an answer without a question"),
        ("1 Fine.\n2 Why?\t\t1\n", 2, "here is a question without an answer"),
        ("1 Fine.\n2 Why?\t \t1\n", 2, "here is a question without an answer"),
        ("1 Fine.\n+2 Fine.\n", 2, "this is not a line of a bAbI task: '+2 Fine.'"),
        ("1 Fine.\n02 Fine.\n", 2, "this is not a line of a bAbI task"),
        ("1 Fine.\n\uff12 Fine.\n", 2, "this is not a line of a bAbI task"),
        ("1 Fine.\n2 Fine.\n3 F\udcffine.\n", 3, "this is no text in UTF-8"),
        ("1 Fine.\n2 Why?\tthus\t2\n", 2, "its answer rests on line 2, which is no statement"),
        ("1 Fine.\n2 Fine.\n1 Fine.\n2 Why?\tthus\t1 2\n", 4, "its answer rests on line 2"),
    ],
)
def test_a_damaged_story_is_named_with_file_line_and_cure(folder, text, place, wrong):
    with pytest.raises(DataError) as refusal:
        prepare(folder, train=text, test=STORY)
    assert f"qa1_train.txt:{place}: {wrong}" in str(refusal.value)
    assert str(refusal.value).endswith("get the file anew with `rmem fetch babi`.")


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_file_is_named_with_its_cure(folder, text):
    with pytest.raises(DataError, match=r"qa1_train\.txt is empty.*`rmem fetch babi`"):
        prepare(folder, train=text, test=STORY)
