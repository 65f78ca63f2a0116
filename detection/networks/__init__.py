"""Convolutional networks and fully connected layers: definitions by name, geometry, precision."""
