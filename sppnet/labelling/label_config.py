"""Label Studio's labelling configuration: which labels rectangles have, and which photo they are drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from sppnet.errors import one_line

LONGEST = 1_000_000  # characters
MOST_LABELS = 10_000
LONGEST_LABEL = 200  # characters


@dataclass(frozen=True)
class LabelConfig:
    """The tags that rectangles belong to.

    Attributes:
        from_name: name of the RectangleLabels tag.
        to_name: name of its Image tag.
        data_key: key of the photo's address in the data of a task.
        labels: names of the classes, in the order of the configuration.
    """

    from_name: str
    to_name: str
    data_key: str
    labels: tuple[str, ...]


def parse(xml: str) -> LabelConfig:
    """Find the first RectangleLabels tag for an Image tag.

    Args:
        xml: the labelling configuration of a project.

    Raises:
        ValueError: there is none, it has no labels, or the text is not XML.
    """
    if len(xml) > LONGEST:
        raise ValueError(f"labelling configuration: {len(xml)} characters, expected at most {LONGEST}")
    try:
        tags = list(fromstring(xml).iter())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ValueError(f"labelling configuration: not readable XML ({one_line(error)})") from None
    images = {name: key for name, key in _images(tags) if name}
    for tag in _named(tags, "rectanglelabels"):
        from_name, to_name = tag.get("name", ""), tag.get("toName", "")
        if from_name and images.get(to_name):
            return LabelConfig(from_name, to_name, images[to_name], _labels(tag))
    raise ValueError(
        "labelling configuration: expected <RectangleLabels> for an <Image> whose value is one photo ($image); "
        "choose the template Object Detection with Bounding Boxes"
    )


def _named(tags: list[Element], name: str) -> Iterator[Element]:
    """Yield the tags of this name, in any case; comments have no name."""
    return (tag for tag in tags if isinstance(tag.tag, str) and tag.tag.lower() == name)


def _images(tags: list[Element]) -> Iterator[tuple[str, str]]:
    """Yield the name of each image tag and the key of its photo."""
    for tag in _named(tags, "image"):
        yield tag.get("name", ""), tag.get("value", "").removeprefix("$")


def _labels(tag: Element) -> tuple[str, ...]:
    """Return the names that annotations have for the labels of a tag: their aliases, or else their values."""
    found = [label.get("alias") or label.get("value") or "" for label in _named(list(tag.iter()), "label")]
    labels = tuple(dict.fromkeys(name.strip() for name in found if name.strip()))
    longest = max(map(len, labels), default=0)
    if not labels or len(labels) > MOST_LABELS or longest > LONGEST_LABEL:
        raise ValueError(
            f"labelling configuration: expected 1 to {MOST_LABELS} labels of at most {LONGEST_LABEL} characters in "
            f"<RectangleLabels name={tag.get('name')!r}>, got {len(labels)}; labels from task data are not supported"
        )
    return labels
