"""What a job's summary tells of the files that the scan of its inputs has left alone."""

from __future__ import annotations

from pix2pix_batch.inputs.choice import EXAMPLES
from pix2pix_batch.inputs.source import InputSource
from pix2pix_batch.reporting.console import NO_IMAGE, NO_TAR
from pix2pix_batch.reporting.summary import Summary


def count_left_alone(summary: Summary, scan: InputSource) -> None:
    """Once, at the end of a run: what is in tars is added to what is known of these."""
    left = scan.left
    summary.renamed, summary.renames = scan.renamed, scan.renames[:EXAMPLES]
    summary.ignored, summary.others = left.other.count + left.tar.count, left.other.first
    summary.tars_left, summary.tars_left_such = left.tar.count, left.tar.first
    others_are = "listed before, or comments" if scan.is_list else NO_IMAGE
    summary.others_are = NO_TAR if scan.tars else others_are
    summary.litter += left.litter.count  # beside that of tars
    summary.litter_such = left.litter.first
    summary.excluded += left.excluded.count
    summary.excluded_such = left.excluded.first
    in_tars = summary.unread_in_tars
    summary.unread_kinds = [
        *left.unread.lines(),
        *([f"in tars: {in_tars:,}, which go along as they are"] if in_tars else ()),
    ]
    summary.unread = left.unread.count + in_tars
    summary.links = scan.links
