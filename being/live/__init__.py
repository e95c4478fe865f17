"""Playing an avatar: sessions, the frame clock, the graph that draws, and the sinks frames go to. Time is passed in."""
