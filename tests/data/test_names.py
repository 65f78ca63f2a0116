from data.names import listed


def test_of_many_names_the_first_are_listed():
    names = ["a", "b", "c", "d"]
    assert listed(names) == listed(names, 4) == "a, b, c, d"
    assert listed(names, 2) == "a, b, and 2 more"
    assert listed(names, 3, "; ") == "a; b; c; and 1 more"
    assert listed([]) == ""
