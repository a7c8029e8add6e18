"""What systems, servers and programs leave in folders beside people's pictures.

Names that begin with a dot are left alone as a whole, as shells do, and as training does: there lie
thumbnails (``.thumbnails``), deleted pictures (``.Trash-1000``, ``.trashed-...``), copies of files
that are being written (rsync's ``.a.png.Xy12``), and halves of Mac files (``._a.png``). This module
names those without a dot.
"""

from __future__ import annotations

DIRECTORIES = frozenset(
    {
        # macOS, in archives and on servers
        "__macosx",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        # Windows
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "$windows.~bt",
        # Linux
        "lost+found",
        # Android
        "lost.dir",
        # Synology
        "@eadir",
        "#recycle",
        "#snapshot",
        "@tmp",
        "@sharebin",
        "@sharesnap",
        # QNAP
        "@recycle",
        "@recently-snapshot",
        "@thumb",
        "@__thumb",
        # NetApp; Asustor and others
        "~snapshot",
        "@recycle_bin",
        "#trash",
        "trashbox",
        # Nextcloud's and ownCloud's own data
        "files_trashbin",
        "files_versions",
        # programs that keep folders alike: GoodSync
        "_gsdata_",
        # Python
        "__pycache__",
    }
)
"""Directories, in lower case."""

FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
"""Files, in lower case."""

BEGINNINGS = (
    "synofile_thumb_",
    "synophoto_thumb_",  # Synology's thumbnails, where somebody took them out of @eaDir
    ":2e",  # netatalk's names for those that begin with a dot
)
"""Of files, in lower case. Half-written files and backups (``a.png.part``, ``a.png~``) have no
image suffix, and need no mention."""

HIDDEN = frozenset({".ds_store", ".apdisk", ".localized", ".nomedia", ".volumeicon.icns"})
"""Hidden files that hold nothing of the user's, in lower case."""

PHOTOS = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary")
ORIGINALS = frozenset({"originals", "masters"})
"""Libraries of Apple's Photos, iPhoto and Aperture, and those of their directories that hold the
pictures themselves: the others hold smaller copies."""

PREVIEWS = (".lrdata", ".cocatalogdb")
"""Ends of directories of smaller copies: Lightroom's, Capture One's."""


def is_directory(path: str) -> bool:
    """Whether a directory, by its path within what is searched, holds nothing of the user's."""
    above, _, name = path.rpartition("/")
    lower = name.lower()
    if above.lower().endswith(PHOTOS):
        return lower not in ORIGINALS
    return name.startswith(".") or lower in DIRECTORIES or lower.endswith(PREVIEWS)


def is_file(name: str) -> bool:
    """Whether a file of this name is none of the user's."""
    return name.startswith(".") or _is_known(name.lower())


def is_known(path: str) -> bool:
    """Whether a file is certainly none of the user's, also where what is hidden may be: by its
    own name or a directory's."""
    *directories, name = path.lower().split("/")
    known = _is_known(name) or name.startswith("._") or name in HIDDEN
    return known or not DIRECTORIES.isdisjoint(directories)


def _is_known(lower: str) -> bool:
    return lower in FILES or lower.startswith(BEGINNINGS)
