"""Getting files: over https only, checked against their sha256, and under their name whole or not at all."""

from __future__ import annotations

import functools
import os
import re
import ssl
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

from ...files import part_of
from .registry import LARGEST, DataError, FileState, Source, absence, absent, folder, source

#: Settings of the user's that decide how requests reaches the network.
PROXIES = ("https_proxy", "http_proxy", "all_proxy")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def get(name: str, *, progress: bool = False) -> Path:
    """Download what is missing of a data set and return its folder.

    A file that is there is never overwritten: with the right checksum it is kept, with another it is an error.
    Raises `DataError`: unknown name, a file with a wrong checksum, no mirror reached, folder not writable.
    """
    known, missing = source(name), absent(name)
    if missing and not known.mirrors:
        raise absence(name)
    for file in missing:
        _from_mirrors(known, file, progress)
    return folder(name)


def _from_mirrors(source: Source, file: FileState, progress: bool) -> None:
    """Try the mirrors in turn, and all of them a second time: a truncated download starts again."""
    name, place = file.path.name, file.path.parent
    tried: dict[str, DataError] = {}
    for mirror in [*source.mirrors] * 2:
        try:
            return fetch(mirror + name, file.expected, file.path, source.largest, progress=progress)
        except DataError as error:
            tried[mirror + name] = error
        except OSError as error:
            raise DataError(
                f"cannot write to {place}: {error}. Set NADAM_REF_DATA to a folder you may write to"
            ) from error
    addresses = "; ".join(f"{url} ({why})" for url, why in tried.items())
    raise DataError(
        f"could not download {name} into {place}. Tried {addresses}. Copy the file there by hand, set "
        f"NADAM_REF_DATA to a folder that has it, or use the embedded data set {source.instead!r}"
    )


def fetch(url: str, sha256: str, path: Path, most: int = LARGEST, *, progress: bool = False) -> None:
    """Download a file of at most `most` bytes to `path`, where it appears whole and with its sha256, or not at all.

    Raises `DataError` where it cannot be reached or has other bytes, `OSError` where it cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    with part_of(path) as part:
        part.touch()  # an error here means that the folder is not writable
        mode = part.stat().st_mode
        try:
            downloader = functools.partial(_download, most=most, progress=progress)
            pooch.retrieve(url, f"sha256:{sha256}", part.name, part.parent, downloader=downloader)
        except ValueError as error:
            raise DataError(f"other bytes: {error}") from error
        part.chmod(mode)  # pooch makes files that their owner alone can read


class _Limited:
    """A file that a download is written to, until it is longer than `most` bytes."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.left = file, most

    def write(self, block: bytes) -> int:
        self.left -= len(block)
        if self.left < 0:
            raise DataError("more bytes than the file has")
        return self.file.write(block)

    def flush(self) -> None:
        self.file.flush()


def _download(url: str, file: str, _: Any = None, *, most: int, progress: bool = False) -> None:
    """What pooch calls to write what is at `url` to a file."""
    import pooch
    import requests

    if not url.startswith("https://"):
        raise DataError(f"refused plain http: {url}")
    try:
        download = pooch.HTTPDownloader(progressbar=progress, hooks={"response": _check_response}, timeout=30)
        with Path(file).open("wb") as opened:
            download(url, _Limited(opened, most), None)
    except DataError:
        raise
    except Exception as error:  # also errors of other kinds, which a malformed proxy ends in
        theirs = isinstance(error, (requests.RequestException, ssl.SSLError))
        if isinstance(error, OSError) and error.errno is not None and not theirs:  # a missing bundle has no number
            raise
        raise DataError(_why(error)) from error


def _check_response(response: Any, *_: Any, **__: Any) -> Any:
    """Hook for requests, called for every response, before a redirect is followed."""
    location = response.headers.get("location") if response.is_redirect else None
    target = urljoin(response.url, location) if location else response.url
    if not target.startswith("https://"):
        raise DataError(f"refused plain http: {target}")
    if response.status_code == 200 and "text/html" in response.headers.get("content-type", ""):
        raise DataError("a web page in place of the file: is a login needed to use this network?")
    return response


def _why(error: Exception) -> str:
    """Why a download failed, in a line, with the settings that may be wrong: urllib3's own texts are a screen long."""
    import requests

    if isinstance(error, requests.HTTPError):
        return str(error)
    if isinstance(error, (requests.exceptions.SSLError, ssl.SSLError)) or "TLS" in str(error):
        names: tuple[str, ...] = CERTIFICATES
        what = "no trusted certificate"
    else:
        names, what = PROXIES, type(error).__name__
    values = {name: os.environ.get(name) or os.environ.get(name.upper()) for name in names}
    settings = ", ".join(f"{name}={value}" for name, value in values.items() if value)
    settings = re.sub("//[^/]*@", "//***@", settings)  # a password
    return f"{what}; correct or unset {settings}, if that is wrong" if settings else what
