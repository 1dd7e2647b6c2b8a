"""The health of all providers of one hub as public values."""

from __future__ import annotations

import attrs

from providerhub._rules.health import Health
from providerhub._rules.pacing import Pacer
from providerhub._values import HealthRecord


def health_records(health: Health, pacer: Pacer, now: float) -> tuple[HealthRecord, ...]:
    """The breakers, pauses and latencies, joined with the limits and the turns; sorted by provider and model."""
    records = health.records(now)
    for key, pace in pacer.snapshot(now).items():
        record = records.get(key) or HealthRecord(provider=key[0], model=key[1], budget=health.budget(key[0], now))
        if pace.paused > record.retry_in:
            record = attrs.evolve(record, pause="rate limited", retry_in=pace.paused)
        limits = pace.limits
        records[key] = attrs.evolve(
            record, concurrency=limits.concurrency, rpm=limits.rpm, tpm=limits.tpm,
            in_use=pace.in_use, waiting=pace.waiting, learned_rpm=pace.learned_rpm,
        )  # fmt: skip
    return tuple(record for _, record in sorted(records.items()))
