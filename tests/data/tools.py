"""Label files as LabelMe, Label Studio, CVAT and VIA write them, for tests."""

import json

from tests.data.test_yolo import photo, write


def labelme(path, drawn, image_path=None, size=(100, 50), make_photo=True, **extra):
    """Write a label file of LabelMe and its photo: `drawn` holds (label, type, points) or dicts."""
    name = f"{path.stem}.png" if image_path is None else image_path
    if make_photo:
        photo(path.parent / f"{path.stem}.png", size)
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [labelme_shape(*s) if isinstance(s, tuple) else s for s in drawn],
        "imagePath": name,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
        **extra,
    }
    return write(path, json.dumps(content))


def labelme_shape(label, kind, points, **extra):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **extra}


def region(label, x, y, width, height, size=(100, 50), kind="rectanglelabels", **value):
    """One result of Label Studio: a rectangle in pixels, written in percent."""
    (w, h) = size
    box = {"x": x / w * 100, "y": y / h * 100, "width": width / w * 100, "height": height / h * 100, "rotation": 0}
    return {
        "original_width": w,
        "original_height": h,
        "image_rotation": 0,
        "value": {**box, kind: [label], **value},
        "id": f"{label}{x}{y}",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
    }


def task(number, url, *annotations, **extra):
    """One task of Label Studio; annotations are lists of results or dicts."""
    made = [
        a if isinstance(a, dict) else {"id": number * 10 + i, "result": a, "was_cancelled": False}
        for i, a in enumerate(annotations)
    ]
    return {"id": number, "annotations": made, "predictions": [], "data": {"image": url}, **extra}


def task_min(number, url, results, updated="2024-01-01T00:00:00Z"):
    """One entry of Label Studio's JSON-MIN."""
    regions = [
        {**r["value"], "original_width": r["original_width"], "original_height": r["original_height"]} for r in results
    ]
    entry = {"image": url, "id": number, "annotator": 1, "annotation_id": 5, "created_at": "", "updated_at": updated}
    return {**entry, "label": regions} if regions else entry


def label_studio(path, tasks):
    return write(path, json.dumps(tasks))


def cvat(path, images, meta="<meta><task><name>cars</name></task></meta>"):
    """Write an XML file of CVAT: images are (attributes, shapes)."""
    rows = [f"<image {attributes}>{shapes}</image>" for attributes, shapes in images]
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>'
    return write(path, "\n".join([head, meta, *rows, "</annotations>"]))


def cvat_image(name, subset=None, size=(100, 50)):
    of = f' subset="{subset}"' if subset else ""
    return f'id="0" name="{name}" width="{size[0]}" height="{size[1]}"{of}'


def cvat_box(label, edges, extra="", inside=""):
    xtl, ytl, xbr, ybr = edges
    place = f'xtl="{xtl}" ytl="{ytl}" xbr="{xbr}" ybr="{ybr}"'
    return f'<box label="{label}" occluded="0" source="manual" {place} z_order="0" {extra}>{inside}</box>'


def via_region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def rect(x, y, width, height):
    return {"name": "rect", "x": x, "y": y, "width": width, "height": height}


def via(path, photos, project=False):
    """Write a json file of VIA: photos are file name -> regions."""
    listed = {
        f"{name}123": {"filename": name, "size": 123, "regions": regions, "file_attributes": {}}
        for name, regions in photos.items()
    }
    settings = {"_via_settings": {"ui": {}}, "_via_attributes": {"region": {}}, "_via_data_format_version": "2.0.10"}
    return write(path, json.dumps({**settings, "_via_img_metadata": listed} if project else listed))


VIA_HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"


def via_csv(path, photos):
    """Write a CSV file of VIA: photos are file name -> regions."""
    rows = [VIA_HEADER]
    for name, regions in photos.items():
        for i, r in enumerate(regions or [None]):
            cells = [json.dumps(part) for part in r.values()] if r else ["{}", "{}"]
            quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
            rows.append(f'{name},123,"{{}}",{len(regions)},{i},{quoted[0]},{quoted[1]}')
    return write(path, "\n".join(rows) + "\n")
