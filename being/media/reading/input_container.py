"""Opening what people bring: any container FFmpeg reads, from a path or an upload, and packets that survive damage.

FFmpeg itself opens nothing: it reads through our own file object and knows no protocol. Playlists (HLS, concat, DASH),
which would make it open other files on their author's behalf, are not among the formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from being.errors import InputError, MissingDependencyError
from being.media.reading.signatures import other_kind

if TYPE_CHECKING:
    import av

Source = str | Path | BinaryIO

FORMATS = (
    "3dostr,4xm,aa,aac,aax,ac3,ac4,ace,acm,act,adp,ads,adx,aea,afc,aiff,aix,alp,amr,amrnb,amrwb,apac,apc,ape,apm,aptx,"
    "aptx_hd,argo_asf,argo_brp,argo_cvg,asf,asf_o,ast,au,avi,avr,bethsoftvid,bfstm,bink,binka,bit,bmv,boa,bonk,brstm,"
    "caf,codec2,daud,dcstr,derf,dfpwm,dhav,dsf,dsicin,dss,dts,dtshd,dv,dxa,ea,ea_cdata,eac3,epaf,film_cpk,flac,flv,fsb,"
    "fwse,g722,g723_1,g726,g726le,g728,g729,gdv,genh,gsm,gxf,hca,hcom,iamf,idcin,iff,ifv,ilbc,ircam,iss,ivr,kux,kvag,"
    "laf,lc3,live_flv,lmlm4,loas,lvf,lxf,m4a,matroska,mca,mgsts,mlp,mm,mmf,mods,moflex,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,"
    "msf,mtaf,mtv,musx,mv,mxf,mxg,nistsphere,nsp,nsv,nut,nuv,ogg,oma,osq,paf,pmp,pp_bnk,psxstr,pva,pvf,qcp,qoa,"
    "redspark,rka,rl2,rm,roq,rpl,rsd,rso,s337m,sbc,sdns,sdr2,sds,sdx,shn,siff,simbiosis_imx,sln,smjpeg,smk,smush,sol,"
    "sox,spdif,svag,svs,swf,tak,thp,tmv,truehd,tta,ty,usm,vag,vividas,vivo,vmd,voc,vpk,vqf,w64,wady,wav,wavarc,"
    "wc3movie,webm,wsaud,wsd,wsvqa,wtv,wv,wve,xa,xmd,xmv,xvag,xwma,yop"
)
MOST_ERRORS = 2000  # reading errors one after the other after which the rest of a file is given up
AGAIN = "Copy or download the file again"


class UnreadableError(InputError):
    """No container that FFmpeg knows; `reason` says why in a few words."""

    def __init__(self, name: str, reason: str, remedy: str) -> None:
        super().__init__(f"{name} is not readable as sound or film ({reason})", remedy)
        self.reason = reason


def name_of(source: Source) -> str:
    """What to call a source in a message: its path, or "the upload"."""
    called = source if isinstance(source, str | Path) else getattr(source, "name", None)
    return str(called) if isinstance(called, str | Path) else "the upload"  # temporary files are called by a number


def require_av() -> None:
    """Raise MissingDependencyError where PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("av", None, "Reading sound and video") from error


@contextmanager
def open_container(source: Source, remedy: str) -> Iterator[av.container.InputContainer]:
    """A container to read from; a caller's file stays open.

    Parameters
    ----------
    source : path or binary file that can seek.
    remedy : what to tell the person where it cannot be opened at all.

    Raises
    ------
    InputError
        Not there, no file, not permitted, empty; UnreadableError where FFmpeg does not know it.
    """
    require_av()
    import av

    name = name_of(source)
    with _file(source, name, remedy) as file:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
        begins_at = file.tell() if file.seekable() else 0
        try:
            container = _tolerant_open(file, options)
        except UnicodeDecodeError as error:
            problem = f"{name} has tags that this PyAV cannot decode ({error})"
            raise InputError(problem, "Update it: pip install -U av, or remove the tags") from error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise _unreadable(name, file, begins_at, reason, remedy) from error
        with container:
            yield container


def read_packets(container: av.container.InputContainer, streams: Sequence[Any]) -> Iterator[av.Packet]:
    """Packets in the order of the file, an empty one a stream at its end; damaged places are stepped over."""
    import av

    errors = 0
    packets = container.demux(list(streams))
    while errors < MOST_ERRORS:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError, ValueError, IndexError):  # the last: a stream that comes up midway
            errors += 1
            packets = container.demux(list(streams))  # a generator that raised is over; the container goes on
            continue
        errors = 0
        yield packet


def moving_pictures(container: av.container.InputContainer) -> list[Any]:
    """The video streams that are films: a cover picture is none."""
    return [s for s in container.streams.video if not s.disposition & s.disposition.__class__.attached_pic]


def _tolerant_open(file: BinaryIO, options: dict[str, str]) -> av.container.InputContainer:
    """Whatever encoding tags are in; a PyAV without that option reads those that are UTF-8."""
    import av

    try:
        return av.open(file, mode="r", options=options, metadata_errors="replace")
    except TypeError:
        return av.open(file, mode="r", options=options)


@contextmanager
def _file(source: Source, name: str, remedy: str) -> Iterator[BinaryIO]:
    if not isinstance(source, str | Path):
        yield source
        return
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{name} is not a file" if path.exists() else f"{name} does not exist", "Check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty", remedy)
    try:
        file = path.open("rb")
    except PermissionError as error:
        raise InputError(f"{name} cannot be read: permission denied", "Check the file's permissions") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror})", AGAIN) from error
    with file:
        yield file


def _unreadable(name: str, file: BinaryIO, begins_at: int, reason: str, remedy: str) -> InputError:
    """The real cause, from the file's first bytes."""
    if not file.seekable():
        return UnreadableError(name, reason, remedy)
    file.seek(begins_at)
    head = file.read(4096)
    if not head:
        return InputError(f"{name} is empty", remedy)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):  # phones write the index at the end
        return UnreadableError(name, "it is cut off: its index is missing", AGAIN)
    kind = other_kind(head)
    return UnreadableError(name, f"it is {kind}" if kind else reason, remedy)
