"""Pages and charts of the capture and training reports."""
