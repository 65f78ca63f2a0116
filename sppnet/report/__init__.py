"""The HTML report of a tested detector: scores, curves, kinds of error, example pictures, time and settings."""
