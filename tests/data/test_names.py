import pytest

from data.names import check_plain, listed


def test_of_many_names_the_first_are_listed():
    names = ["a", "b", "c", "d"]
    assert listed(names) == listed(names, 4) == "a, b, c, d"
    assert listed(names, 2) == "a, b, and 2 more"
    assert listed(names, 3, "; ") == "a; b; c; and 1 more"
    assert listed([]) == ""


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "C:a", "/a", "a\nb", "a\0", "\x7f", "a\u2028b"])
def test_a_name_that_is_not_one_of_a_file_is_refused(name):
    with pytest.raises(ValueError, match=r"list: id .* is not a plain file name; remove separators"):
        check_plain(name, "list: id")


@pytest.mark.parametrize("name", ["a", "fold 1", "fold:b.c", "...", "träning", "tr\udce4ning", "%2F", "x" * 200])
def test_other_names_are_those_of_files(name):
    check_plain(name, "list: id")
