"""HTTP and WebSocket in front of a graph: typed routes, problems, limits, client sessions, the page."""
