"""Tables of other hands are read and said; files that are no tables are refused by name."""

from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import people, refused, steer, write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "data.csv is empty"),
        ("x,g,y\n", "has a header but no rows"),
        ("x;g;y\n1,5;a;0\n1,5,7;b;1\n", "'x' (not numeric: '1,5,7')"),
        ("x\tg\ty\n1\ta\t0\n2\tb\t1\t7\n4\ta\t1\n", "cannot be read as a CSV file"),
        ("x,g,y\n1,a,0,9\n", "cannot be read as a CSV file"),
        ("x,g,y\n1,a,0\n2,a,1\n", "'g' holds 1 different value(s) ('a')"),
        ("x,x,g,y\n1,1,a,0\n2,3,b,1\n", "'x' (its name occurs twice)"),
        ("x,g,y\n1,a,0\n2,b,1\n4,a,\n5,,1\n", "missing values in 'y' (1 rows), 'g' (1 rows)"),
        ("x,g,y\n1,a,0\n2,b,1\n3,b,1\n4,a,0\n", "Class '0', group 'b' has 0 row(s)"),
        ("x,g,y\ninf,a,0\n2,b,1\n3,b,1\n4,a,0\n", "'x' (infinite in 1 rows)"),
    ],
)
def test_tables_that_cannot_be_used(folder, capsys, text, words):
    Path("data.csv").write_text(text)
    said = refused(capsys, steer("--out", "out.csv"))
    assert words in said
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PAR1\x15\x04\x80\xff", "cannot be read as a Parquet file"),
        (b"PK\x03\x04\x14\x00\x06\x80\xff\n", "a workbook or a zip archive; write it as a CSV"),
    ],
)
def test_files_of_another_kind_are_named(folder, capsys, data, words):
    Path("data.csv").write_bytes(data)
    assert words in refused(capsys, steer())


def test_a_folder_is_no_table(folder, capsys):
    assert "'.' is a folder; a CSV file is needed" in refused(capsys, steer(data="."))


def test_a_byte_order_mark_and_blanks_in_the_header(folder):
    text = Path("data.csv").read_text().replace("x1,x2,g,y", "x1, x2 ,g, y")
    Path("data.csv").write_text(text, encoding="utf-8-sig")
    assert steer("--out", "out.csv") == 0
    assert Path("out.csv").read_text(encoding="utf-8").startswith("x1, x2 ,g, y\n")


def to_semicolons(data, path):
    data.to_csv(path, index=False, sep=";", decimal=",")


HANDS = {
    "semicolons": (to_semicolons, "its columns are separated by semicolons"),
    "tabs": (lambda d, p: d.to_csv(p, index=False, sep="\t"), "separated by tabs"),
    "latin-1": (lambda d, p: d.to_csv(p, index=False, encoding="latin-1"), "text is latin-1"),
    "UTF-16": (lambda d, p: d.to_csv(p, index=False, encoding="utf-16"), "text is UTF-16"),
    "both": (
        lambda d, p: d.to_csv(p, index=False, sep="\t", encoding="utf-16"),
        "its text is UTF-16 and its columns are separated by tabs",
    ),
    "Parquet": (lambda d, p: d.to_parquet(p), "it is a Parquet file"),
    "Feather": (lambda d, p: d.to_feather(p), "it is a Feather file"),
    "row names": (
        lambda d, p: Path(p).write_text(
            d.to_csv(header=False).join([",".join(d.columns) + "\n", ""])
        ),
        "its first column, which the header does not name, is an index",
    ),
}


@pytest.mark.parametrize("hand", HANDS)
def test_files_of_other_hands_are_read_and_said(folder, capsys, hand):
    data = people().replace({"g": {"a": "möwe", "b": "spatz"}})
    write(data)
    assert steer("--out", "plain.csv") == 0
    capsys.readouterr()
    save, words = HANDS[hand]
    save(data, "other.csv")
    assert steer("--out", "out.csv", data="other.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "other.csv was read as it is:" in said and words in said
    found, expected = pd.read_csv("out.csv"), pd.read_csv("plain.csv")
    if hand == "row names":
        found = found.iloc[:, 1:]
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)


def test_an_index_column_without_a_name_is_set_aside(folder, capsys):
    people().to_csv("indexed.csv")
    assert steer("--out", "out.csv", data="indexed.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "features 2: x1, x2" in said and "left out (whole numbers, every one different" in said
    assert pd.read_csv("out.csv").iloc[:, 0].tolist() == list(range(600))


def test_a_question_mark_is_no_value(folder, capsys):
    data = people().astype({"x1": object})
    data.loc[:4, "x1"] = "?"
    write(data)
    assert "missing values in 'x1' (5 rows)" in refused(capsys, steer())
    assert steer("--drop-rows", "--out", "out.csv") == 0
    assert len(pd.read_csv("out.csv")) == 595
