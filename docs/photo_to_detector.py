"""From a photo to a detector of your own, cell by cell; docs/hooks.py makes a page of it.

Open it in an editor that knows `# %%` cells, or run it whole: python docs/photo_to_detector.py
"""

# %% [markdown]
# # From photo to detector
#
# This page is the script `docs/photo_to_detector.py`. It detects objects with a bundled detector, generates a small
# labelled data set, trains a detector on it, evaluates it and uses it. It needs no downloads except the weights of the
# convolutions, and no GPU. Editors that support `# %%` cells open it as a notebook.

# %%
from pathlib import Path

from PIL import Image

import sppnet
from data import minivoc
from sppnet.settings import TrainSettings

# %% [markdown]
# ## A labelled data set
#
# `minivoc.generate` writes a data set of generated scenes with six classes in the layout of Pascal VOC. With the same
# seed it writes the same bytes. Use your own folder of labelled photos instead to train on real data.

# %%
devkit = minivoc.generate(Path("datasets/small"), train=40, test=20, seed=0)
photos = sorted((devkit / "VOC2007" / "JPEGImages").glob("test_*.jpg"))
print(len(photos), "test photos in", devkit)

# %% [markdown]
# ## Detect with a bundled detector
#
# A detector takes a path, an array, a Pillow image or a tensor. The result holds boxes (N, 4) in image pixels, scores
# (N,), which are SVM margins, and labels (N,): all that could be an object. `shown` selects what is worth showing. This
# one knows the twenty classes of Pascal VOC.

# %%
detector = sppnet.SPPDetector.from_pretrained("lite0-pool5-voc2007")
found = detector.detect(photos[0])
print(found.shown())

# %% [markdown]
# ## Draw
#
# `draw` returns the photo with the boxes of `shown` as a uint8 RGB array. In a notebook, `found` displays itself.

# %%
Path("found").mkdir(exist_ok=True)
Image.fromarray(found.draw()).save("found/bundled.png")

# %% [markdown]
# ## Train
#
# `train_detector` finds the candidate windows, computes the feature maps, trains SVMs and box regressors, and tests the
# detector on the test split. All artefacts are kept in the run folder: an interrupted training continues, and a
# finished one is loaded. Settings that are left open are chosen for the data, and margins are turned into
# probabilities. `scores` holds the test scores before (`windows`) and after box regression (`regressed`).

# %%
settings = TrainSettings(proposals="ss", cost=0.001)  # the paper's, which train fastest; left open, they are chosen
trained = sppnet.train_detector(devkit, run=Path("runs/small"), settings=settings)
print(f"mAP {100 * trained.scores['regressed']['mean_ap']:.1f}")

# %% [markdown]
# ## Evaluate
#
# `evaluate` scores any detector on a split of any labelled data set by VOC 2007's rules.

# %%
result = sppnet.evaluate(trained, devkit, split="test")
for name, ap in zip(trained.classes, result.ap, strict=True):
    print(f"{name:10s} {100 * ap:5.1f}")
print(f"{'mean':10s} {100 * result.mean_ap:5.1f}")

# %% [markdown]
# ## Use
#
# The trained model is a folder of a few megabytes. It is loaded like a bundled detector.

# %%
trained.save("packed", half=True)
mine = sppnet.SPPDetector.from_pretrained("packed")
for row in mine.detect(photos[0]).top(3).records():
    print(row["class"], round(row["score"], 2), [round(v) for v in row["box"]])
Image.fromarray(mine.detect(photos[0]).draw()).save("found/trained.png")

# %% [markdown]
# ## Next
#
# [Your own photos](your-own-photos.md) trains on real photos from the command line, [Results](results.md) shows what
# to expect, and the [API reference](api/index.md) lists every function.
