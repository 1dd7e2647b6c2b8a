"""Shared state for providerhub, in Redis or Valkey."""

from providerhub_redis._ledger import RedisLedger
from providerhub_redis._state import RedisState

__all__ = ["RedisLedger", "RedisState"]
