"""A local web page and HTTP API for detectors: queue, uploads, access control, routes, pages."""
