"""Which photos to label next: those that a detector is unsure of, unlike each other and unlike the labelled ones."""
