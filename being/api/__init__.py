"""HTTP and WebSocket in front of a graph: typed routes, problems, limits, sessions on their clock, the page."""
