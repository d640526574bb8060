"""From the engine's plain counters to Prometheus' families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from services.measures import Counts, Durations, Histogram


def durations_family(
    name: str, help_text: str, label: str, durations: Durations, *, known: Sequence[str] = ()
) -> Metric:
    """Histograms by one label; `known` labels are there from the beginning, with zeros."""
    found = {value: Histogram() for value in known} | dict(durations.by_label)
    return histograms_family(name, help_text, label, found)


def histograms_family(
    name: str, help_text: str, label: str, histograms: Mapping[str, Histogram]
) -> Metric:
    """Histograms by one label."""
    family = HistogramMetricFamily(name, help_text, labels=[label])
    for value, histogram in sorted(histograms.items()):
        family.add_metric([value], buckets(histogram), sum_value=histogram.total)
    return family


def histogram_family(name: str, help_text: str, histogram: Histogram) -> Metric:
    """One histogram without labels."""
    return HistogramMetricFamily(
        name, help_text, buckets=buckets(histogram), sum_value=histogram.total
    )


def counts_family(
    name: str,
    help_text: str,
    labels: Sequence[str],
    counts: Counts,
    *,
    known: Sequence[tuple[str, ...]] = (),
) -> Metric:
    """Counters by labels; `known` ones are there from the beginning, with zeros."""
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in sorted((dict.fromkeys(known, 0) | dict(counts.by_labels)).items()):
        family.add_metric(values, count)
    return family


def buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, each with its upper bound, as Prometheus has them."""
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return [*zip(bounds, map(float, accumulate(histogram.counts)), strict=True)]
