"""The commands of `being`, a file each; imported when used, so that `being --help` is quick."""
