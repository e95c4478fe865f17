"""Reading what people have, sound and film: on the file's own clock, past damage, with players' colours and tracks."""
