"""Labelling configurations: which tags count, what is refused."""

import pytest

from sppnet.labelling.label_config import LabelConfig, parse
from tests.sppnet.labelling.helpers import config_of


def test_rectangles_their_photo_and_their_labels_are_found():
    assert parse(config_of(["cat", "small dog"])) == LabelConfig("label", "image", "image", ("cat", "small dog"))


def test_other_tags_are_passed_over():
    xml = """<View>
      <!-- scenes -->
      <Text name="text" value="$title"/>
      <RectangleLabels name="on-text" toName="text"><Label value="no"/></RectangleLabels>
      <View><Image name="photo" value="$picture" zoom="true"/></View>
      <Choices name="kind" toName="photo"><Choice value="day"/></Choices>
      <RectangleLabels name="things" toName="photo">
        <Label value="Katze" alias="cat" hotkey="c"/><Label value=" dog "/><Label value="dog"/>
      </RectangleLabels>
    </View>"""
    assert parse(xml) == LabelConfig("things", "photo", "picture", ("cat", "dog"))


def test_five_hundred_labels_are_accepted():
    names = tuple(f"kind {i}" for i in range(500))
    assert parse(config_of(names)).labels == names


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "not readable XML"),
        ("<View>", "not readable XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "not readable XML"),
        ("<View/>", "expected <RectangleLabels> for an <Image>"),
        ('<View><Image name="image" value="$image"/></View>', "expected <RectangleLabels> for an <Image>"),
        ('<View><Image name="i" valueList="$i"/><RectangleLabels name="r" toName="i"/></View>', "expected <Rectangle"),
        (config_of([]), "expected 1 to 10000 labels"),
        (config_of(["x" * 201]), "at most 200 characters"),
        ("<View>" + " " * 1_000_000 + "</View>", "expected at most 1000000"),
    ],
)
def test_a_configuration_without_rectangles_is_refused(xml, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(xml)
    assert "\n" not in str(caught.value)
