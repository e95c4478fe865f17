"""HTTP and WebSocket in front of a graph: typed routes, problems as answers, the page."""
