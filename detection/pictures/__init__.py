"""Pictures: boxes on photos, contact sheets, views of a network, and videos."""
