"""Kinds of images that are known by their suffixes and that are not read here.

They are no inputs, but whoever has a folder of them must be told so: they are counted by kind,
apart from what is no image. Formats that Pillow reads in other builds are among them, and do not
count where they are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from pix2pix_batch.imaging import kinds


@dataclass(frozen=True)
class Kind:
    """A kind of image that is not read here: its name, the suffixes of its files in lower case, and
    ``remedy``, how their owner makes of them what is read."""

    name: str
    suffixes: frozenset[str]
    remedy: str


PLACEHOLDER = ".icloud"
"""The suffix of what iCloud leaves where it keeps the content elsewhere: ``.a.jpg.icloud``."""

SUFFIXES_AND_REMEDIES = {
    "HEIC or HEIF": (
        ".heic .heics .heif .heifs .hif .hic",
        "make JPEG or PNG of them, with heif-convert or ImageMagick, or have the phone export JPEG",
    ),
    "camera raw": (
        ".3fr .ari .arq .arw .bay .cr2 .cr3 .crw .dcr .dng .eip .erf .fff .gpr .iiq .k25 .kc2 "
        ".kdc .mdc .mef .mfw .mos .mrw .nef .nrw .orf .ori .pef .pxn .qtk .raf .rw2 .rwl .rwz "
        ".sr2 .srf .srw .x3f",
        "develop them to JPEG, PNG or TIFF, with darktable, RawTherapee or the maker's program",
    ),
    "AVIF": (
        ".avif .avifs",
        "install Pillow 11.3 or newer, which reads it",
    ),
    "JPEG XL": (
        ".jxl",
        "make PNG of them, with djxl or ImageMagick",
    ),
    "JPEG XR, JPEG-LS or BPG": (
        ".jxr .wdp .hdp .jls .bpg .flif",
        "make PNG of them, with ImageMagick or the program that made them",
    ),
    "documents of image editors": (
        ".psb .xcf .kra .ora .afphoto .procreate .pdn .clip .sai .sai2 .pspimage",
        "export PNG from the program that made them",
    ),
    "drawings": (
        ".svg .svgz .eps .epsf .ai .wmf .emf .cdr .djvu .djv",
        "render them as PNG, with Inkscape or ImageMagick",
    ),
    "images of high dynamic range": (
        ".exr .rgbe .xyze .pfs",
        "they have no defined white: tone-map them to PNG first",
    ),
    "DICOM": (
        ".dcm .dicom",
        "choose a window and export PNG, with dcm2pnm or a viewer",
    ),
    "NIfTI": (
        ".nii",
        "store their slices as .npy, with nibabel, for a model of rasters",
    ),
    "volumes of medicine (MetaImage, NRRD)": (
        ".mha .mhd .nrrd .nhdr",
        "store their slices as .npy, with SimpleITK, for a model of rasters",
    ),
    "microscopes' and slide scanners' files": (
        ".bif .czi .lif .lsm .mrxs .nd2 .ndpi .oib .oif .qptiff .scn .stk .svs .svslide .vsi .zvi",
        "export TIFF or PNG from them, with QuPath, Fiji or vips",
    ),
    "pictures that iCloud keeps elsewhere": (
        PLACEHOLDER,
        "have Finder download them first",
    ),
    "FITS": (
        ".fits .fit .fts",
        "scale them to 8 or 16 bits and store them as PNG",
    ),
    "JPEG 2000": (
        ".jp2 .j2k .jpc .jpf .jpx .j2c .jpt",
        "install a Pillow that reads it",
    ),
    "WebP": (
        ".webp",
        "install a Pillow that reads it",
    ),
    "PAM or other rare formats": (
        ".pam .jng .mng .pict .pct .ktx .ktx2 .astc .vtf .blp .fpx .miff .farbfeld .wbmp "
        ".viff .xwd .sfw .cals",
        "make PNG of them, with ImageMagick or the program that made them",
    ),
}
"""By what people call them, the commonest first. Suffixes that other files have more often
(``.raw``, ``.hdr`` of ENVI, ``.dat``, ``.pdf``) are left out."""

KINDS = [
    Kind(name, frozenset(suffixes.split()), remedy)
    for name, (suffixes, remedy) in SUFFIXES_AND_REMEDIES.items()
]


def is_placeholder(name: str) -> bool:
    """Whether a hidden file stands for a picture that iCloud keeps elsewhere."""
    if not (name.startswith(".") and name.lower().endswith(PLACEHOLDER)):
        return False
    own = name[1 : -len(PLACEHOLDER)]
    return kinds.suffix_of(own) in kinds.suffixes() or kind_of(own) is not None


def kind_of(name: str) -> Kind | None:
    """Of a file by its name; ``None`` where it is no such image, or where it is read here."""
    suffix = kinds.suffix_of(name)
    if not suffix or suffix in kinds.suffixes():
        return None
    return next((kind for kind in KINDS if suffix in kind.suffixes), None)
