"""Code that only training needs: labelled boxes of images, feature rows, batches, checkpoints, solvers."""
