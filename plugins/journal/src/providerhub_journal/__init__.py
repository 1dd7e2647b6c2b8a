"""A journal of the calls of providerhub in a database, and budgets that processes share."""

from providerhub_journal._joining import providerhub_conversation, providerhub_gate, providerhub_join
from providerhub_journal._worker import flush

__all__ = ["flush", "providerhub_conversation", "providerhub_gate", "providerhub_join"]
