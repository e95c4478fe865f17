"""A background picture travels once; numbers that were forgotten mean something new."""

from __future__ import annotations

import pickle
from dataclasses import replace

from support.scene import session_of, speech
from support.tiny import make_motion

from being.graph.channel.formats import MOST, FormatReceiver, FormatSender
from being.inference.compositing import PictureFile
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContextRange, AvatarFacts, FrameRequest, OutputFormat

FACTS = AvatarFacts("tiny", 64, 48, AudioContextRange(past=8000, future=900), make_motion(80))


def request(output: OutputFormat) -> FrameRequest:
    return replace(session_of(FACTS, speech(0.1)).take(1, 0.0).request, output=output)


def test_a_picture_is_sent_once() -> None:
    sender, receiver = FormatSender(), FormatReceiver()
    photo = OutputFormat(64, 48, PictureFile("photo", bytes(100_000)))
    plain = OutputFormat(32, 32)
    lengths = []
    for outputs in ([photo], [plain, photo, plain], [photo], [replace(photo, width=32)], [plain]):
        batch = FrameRequestBatch.of([request(output) for output in outputs]).mute()
        sent = pickle.dumps(sender.numbered(batch))
        batch, new = pickle.loads(sent)
        assert [one.output for one in receiver.restored(batch, new).requests()] == outputs
        lengths.append(len(sent))
    assert [length > 100_000 for length in lengths] == [True, False, False, True, False]


def test_many_formats_are_not_remembered_for_ever() -> None:
    sender, receiver = FormatSender(), FormatReceiver()
    for side in range(2, 6 * MOST, 2):
        output = OutputFormat(side, 48)
        batch = receiver.restored(*sender.numbered(FrameRequestBatch.of([request(output)])))
        assert batch.requests()[0].output == output and len(batch.formats) <= MOST
