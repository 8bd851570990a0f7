"""Bytes from the outside world, under limits of size and time: an https address, a wheel, what a zip or gzip holds."""

import importlib.util
import io
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from securerec.errors import DataError

_CHUNK = 1 << 16


def get(url: str, *, most_bytes: int, connect_seconds: float = 20.0, total_seconds: float = 300.0) -> bytes:
    """The body of an https address.

    Raises DataError when it is unreachable, redirects away from https, is too slow or too large.
    """
    if not url.startswith("https://"):
        raise DataError(f"{url} is not an https address")
    deadline = time.monotonic() + total_seconds
    body = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=connect_seconds) as response:
            if not response.geturl().startswith("https://"):
                raise DataError(f"{url} redirects to {response.geturl()}, which is not https")
            while chunk := response.read(_CHUNK):
                body += chunk
                if len(body) > most_bytes:
                    raise DataError(f"{url} sent more than the {most_bytes} bytes expected at most")
                if time.monotonic() > deadline:
                    raise DataError(f"{url} was not done after {total_seconds:.0f} s")
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise DataError(f"{url} cannot be reached ({getattr(error, 'reason', None) or error})") from None
    return bytes(body)


def wheel(requirement: str, *, most_bytes: int, total_seconds: float = 300.0) -> bytes:
    """The wheel of a pinned requirement, by pip from wherever pip is set up to look. Nothing of it is installed or run.

    Raises DataError when pip is missing, fails, or brings something other than one wheel of at most `most_bytes`.
    """
    if importlib.util.find_spec("pip") is None:
        raise DataError(f"pip is not in this Python environment, so {requirement} cannot be downloaded: install pip")
    with tempfile.TemporaryDirectory(prefix="securerec-") as folder:
        command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "--only-binary=:all:"]
        command += ["--dest", folder, "--quiet", "--no-input", "--disable-pip-version-check"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=total_seconds,
            )
        except subprocess.TimeoutExpired:
            raise DataError(f"pip did not bring {requirement} within {total_seconds:.0f} s") from None
        if done.returncode != 0:
            last = next(
                (line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "no reason given"
            )
            raise DataError(f"pip cannot download {requirement} ({last.removeprefix('ERROR: ')})")
        found = sorted(Path(folder).glob("*.whl"))
        if len(found) != 1:
            raise DataError(f"pip brought {len(found)} wheels for {requirement}, expected one")
        if found[0].stat().st_size > most_bytes:
            raise DataError(f"{found[0].name} is larger than the {most_bytes} bytes expected at most")
        return found[0].read_bytes()


def members(archive: bytes, names: Sequence[str], *, most_bytes: int) -> list[bytes]:
    """The named members of a zip file, each at most `most_bytes` long when unpacked.

    Raises DataError when the archive is damaged, a member is missing, or a member unpacks to more.
    """
    contents = []
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for name in names:
                with opened.open(name) as member:
                    contents.append(member.read(most_bytes + 1))
                if len(contents[-1]) > most_bytes:
                    raise DataError(f"{name} unpacks to more than the {most_bytes} bytes expected at most")
    except KeyError as error:
        raise DataError(f"the archive lacks a file: {error.args[0]}") from None
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise DataError(f"the archive is damaged ({error})") from None
    return contents


def gunzip(file: str, content: bytes, *, most_bytes: int) -> bytes:
    """What a gzip file of one member, called `file` in errors, holds.

    Raises DataError when it is damaged, cut short or followed by something, or unpacks to more than `most_bytes`.
    """
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise DataError(f"{file} is damaged ({error})") from None
    if len(unpacked) > most_bytes:
        raise DataError(f"{file} unpacks to more than the {most_bytes} bytes expected at most")
    if not stream.eof or stream.unused_data:
        raise DataError(f"{file} is damaged ({'something follows its end' if stream.eof else 'it is cut short'})")
    return unpacked
