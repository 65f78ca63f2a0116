"""Learning while people label: a server that speaks Label Studio's ML backend protocol."""
