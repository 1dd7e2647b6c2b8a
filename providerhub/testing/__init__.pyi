from providerhub.testing._clock import FakeClock as FakeClock
from providerhub.testing._fake_provider import FakeAsyncProvider as FakeAsyncProvider
from providerhub.testing._fake_provider import FakeCall as FakeCall
from providerhub.testing._fake_provider import FakeProvider as FakeProvider
from providerhub.testing._fake_provider import fake_hub as fake_hub
from providerhub.testing._steps import Gate as Gate
from providerhub.testing._steps import Hold as Hold
from providerhub.testing._steps import Mark as Mark
from providerhub.testing._steps import Pause as Pause
from providerhub_conformance import *  # noqa: F403 -- all of it, without a second list that could differ
