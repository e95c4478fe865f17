"""What every part agrees on: rates and the largest pictures."""

FPS = 25  # video frames a second, of everything Being reads into a dataset, draws and encodes
SAMPLE_RATE = 16_000  # samples a second of the sound that the model hears, mono
SOUND_RATE = 48_000  # samples a second of the sound that people hear

MAX_FRAME_SIDE = 4096  # pixels, of a frame that is drawn or encoded: the largest that H.264 level 5 decoders take
MAX_PICTURE_SIDE = 8192  # pixels, of a picture in a dataset or an avatar: a larger one is a mistake or an attack
