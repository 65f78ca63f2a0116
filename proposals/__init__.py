"""Object proposals: image to candidate boxes, best first."""
