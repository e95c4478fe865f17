"""What is learned, and how it is drawn while it is."""
