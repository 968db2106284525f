"""The rendered book as one file, to be kept, sent and read offline. The same book gives the same bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

from ...files import write_whole

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can say
READABLE = 0o100644 << 16  # a plain file that everybody may read


def write(html: Path, target: Path) -> None:
    """Pack the folder `html` into the zip `target`, below one folder that has the zip's name.

    Files in the order of their names, all with one date and one mode. Hidden files stay out: they serve the next
    build, not a reader.
    """
    files = {path.relative_to(html): path for path in html.rglob("*") if path.is_file()}

    def pack(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, path in sorted(files.items()):
                if not any(part.startswith(".") for part in name.parts):
                    entry = zipfile.ZipInfo(f"{target.stem}/{name.as_posix()}", EPOCH)
                    entry.external_attr, entry.create_system = READABLE, 3
                    archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)

    write_whole(target, pack)
