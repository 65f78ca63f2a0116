"""Drawing: boxes on photos, contact sheets, views into a network, videos."""
