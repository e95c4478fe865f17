"""The graph's protocol, its in-process form, the sound encoder with its cache, files unclocked."""
