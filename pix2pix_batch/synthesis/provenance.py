"""What a made image says of where it comes from: XMP, which PNG, JPEG, WebP and TIFF all hold."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from pix2pix_batch.version import __version__

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a trained model (IPTC Photo Metadata Standard 2023.1)."""


def xmp(model: str, fingerprint: str) -> bytes:
    """The packet: that the image is synthetic, and which model made it. ``fingerprint``: the
    bundle's SHA-256, hex."""
    about = f"Synthetic image, made by the pix2pix model {model} (SHA-256 {fingerprint})"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f" xmp:CreatorTool={quoteattr(f'pix2pix-batch {__version__}')}"
        f" photoshop:Credit={quoteattr(about)}"
        f' Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>'
        "</rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    ).encode()
