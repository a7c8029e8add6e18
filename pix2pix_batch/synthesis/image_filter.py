"""Which images go into the dataset: what is odd about each, what is rejected, what is lacking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.dataset.naming import base_of, item_variant_name, output_of
from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference.input_reading import choose_source_form
from pix2pix_batch.journal.record import DONE
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.synthesis import plan, quality
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.synthesis.plan import Input
from pix2pix_batch.synthesis.reuse import Records
from pix2pix_batch.text import format_count


def filter_images(
    out: Path,
    options: SynthesisOptions,
    info: BundleInfo,
    inputs: Sequence[Input],
    wanted: Mapping[str, int],
    records: Records,
) -> tuple[list[Sample], dict[str, str]]:
    """The images that may go into the dataset, by name, and why others may not."""
    samples = []
    for one in inputs:
        copy = records.get(item_variant_name(one.item, SOURCE), {})
        if options.holds_sources and copy.get("status") != DONE:
            continue
        for variant in range(wanted[one.name]):
            record = records.get(item_variant_name(one.item, variant), {})
            if record.get("status") == DONE:
                samples.append(_sample(out, options, info, one, variant, record))
    rejected = _reject(options, samples)
    # what is like an image that is left out is like none that is there
    _flag_near([sample for sample in samples if sample.key not in rejected])
    # Once more, since the flags of near-duplicates may reject too.
    rejected |= _reject(options, samples)
    return [sample for sample in samples if sample.key not in rejected], rejected


def _reject(options: SynthesisOptions, samples: Sequence[Sample]) -> dict[str, str]:
    """Why images are left out, by name."""
    rejected = {}
    for sample in samples:
        distance, flags = sample.facts["distance"], sample.facts["flags"]
        if options.max_distance is not None and (distance or 0) > options.max_distance:
            rejected[sample.key] = "distance"
        elif options.reject_flagged and flags:
            rejected[sample.key] = flags[0]
    return rejected


def _sample(
    out: Path,
    options: SynthesisOptions,
    info: BundleInfo,
    one: Input,
    variant: int,
    record: Mapping[str, Any],
) -> Sample:
    item, source_form = one.item, choose_source_form(info, options.format)
    facts = {
        "input": one.name,
        "input_hash": record.get("input", ""),
        "variant": variant,
        "hash": record.get("hash", ""),
        "group": one.group if options.group_by else None,
        "distance": record.get("distance"),
        "flags": [flag for flag in str(record.get("flags", "")).split(",") if flag],
        "look": record.get("look", ""),
    }
    if options.max_distance is not None and facts["distance"] is None:
        facts["flags"].append("unmeasured")
    return Sample(
        key=f"{base_of(item)}.v{variant}",
        base=base_of(item),
        form=item.form,
        output=out / output_of(item, variant),
        source=out / output_of(item, SOURCE, source_form) if options.holds_sources else None,
        facts=facts,
        source_form=source_form,
        is_picture="output" not in info.raster_sides,
    )


def _flag_near(samples: Sequence[Sample]) -> None:
    """Each input's first variant against those of other inputs; what is flat is like all that is
    flat, and says nothing. Equal variants of one input are told too."""
    first: dict[str, Sample] = {}
    seen: set[tuple[str, str]] = set()
    for sample in samples:
        first.setdefault(sample.base, sample)
        known = sample.base, sample.facts["hash"]
        if known in seen:
            sample.facts["flags"].append("equal-variant")
        seen.add(known)
    looks = [
        (one.base, one.facts["look"])
        for one in first.values()
        if one.facts["look"] and "flat" not in one.facts["flags"]
    ]
    near = quality.near_duplicates(looks)
    for sample in samples:
        if sample.base in near:
            sample.facts["flags"].append("near-duplicate")
            sample.facts["near"] = first[near[sample.base]].facts["input"]


def count_lacking(
    options: SynthesisOptions,
    inputs: Sequence[Input],
    wanted: Mapping[str, int],
    samples: Sequence[Sample],
    rejected: Mapping[str, str],
) -> dict[str, int]:
    """How many variants of which inputs are wanted in place of rejected ones, if any.

    Raises :class:`InputError` where the target count cannot be met.
    """
    target = options.target_count
    if target is None or len(samples) >= target:
        return {}
    good = {sample.facts["input"] for sample in samples}
    open_to = [one for one in inputs if one.name in good or not wanted[one.name]]
    accepted = Counter(sample.facts["input"] for sample in samples)
    cap = options.variants
    candidates = [one for one in open_to if cap is None or wanted[one.name] < cap]
    # Those with the fewest images first; among equal ones by a hash, not in the order of names.
    candidates.sort(key=lambda one: (accepted[one.name], plan.rank(options.seed, one.name)))
    if not candidates:
        raise InputError(
            f"--target-count {target:,} cannot be met: {format_count(len(samples), 'image')} of "
            f"{format_count(len(good), 'input')} are accepted, "
            f"{format_count(len(rejected), 'image')} "
            "rejected or failed; lower it, raise --variants or --max-distance, or give more "
            "inputs"
        )
    more: dict[str, int] = {}
    for place in range(target - len(samples)):
        one = candidates[place % len(candidates)]
        more[one.name] = more.get(one.name, wanted[one.name]) + 1
        if cap is not None:
            more[one.name] = min(cap, more[one.name])
    return more


def trim_to_target(options: SynthesisOptions, samples: list[Sample], rounds: int) -> list[Sample]:
    """No more than the target count: of the last variants, some go. ``rounds``: in how many they
    were made. Raises :class:`InputError` where there are too few."""
    target = options.target_count
    if target is None:
        return samples
    if len(samples) < target:
        raise InputError(
            f"--target-count {target:,} cannot be met: after {rounds} rounds "
            f"{format_count(len(samples), 'image')} passed the checks; lower it, or reject less"
        )

    def order(one: Sample) -> tuple[int, bytes]:
        return one.facts["variant"], plan.rank(options.seed, one.facts["input"])

    keys = {sample.key for sample in sorted(samples, key=order)[:target]}
    return [sample for sample in samples if sample.key in keys]
