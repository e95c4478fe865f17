"""What every part agrees on: rates and the sizes of pictures."""

FPS = 25  # video frames a second, of everything Being reads into a dataset, draws and encodes
SAMPLE_RATE = 16_000  # samples a second of the sound that the model hears, mono
SOUND_RATE = 48_000  # samples a second of the sound that people hear

MIN_FRAME_SIDE = 16  # pixels, of a frame that is drawn or encoded
MAX_FRAME_SIDE = 4096  # likewise: the largest that H.264 level 5 decoders take
CHOOSE_SIDES = f"Choose even sides from {MIN_FRAME_SIDE} to {MAX_FRAME_SIDE}"  # the remedy for any other
MAX_PICTURE_SIDE = 8192  # pixels, of a picture in a dataset or an avatar: a larger one is a mistake or an attack
