"""The steps of a hub for a call: check, prepare, plan, and run by a driver."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from weakref import WeakSet

import attrs

from providerhub._calling.around import Around
from providerhub._calling.attempt import CLOSED, Running, Services
from providerhub._calling.chain import Chain
from providerhub._calling.driver import Driver
from providerhub._calling.intake import CallSpec, call_spec
from providerhub._calling.keywords import Knobs
from providerhub._calling.messages import Conversation
from providerhub._calling.observers import OBSERVED, RANK, Observers
from providerhub._calling.stream import AsyncStream, Stream
from providerhub._finding.discovery import Plugins
from providerhub._finding.preparing import Preparer
from providerhub._finding.registry import Catalogues, ModelSpec, Registry
from providerhub._finding.routing import Planned, Router, set_all_limits
from providerhub._finding.stores import store_of
from providerhub._log import log as _log
from providerhub._rules.clock import Clock, SystemClock
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.pacing import Pacer
from providerhub._rules.policy import Rng
from providerhub._rules.sharing import Sharing
from providerhub._settings.settings import Settings
from providerhub._values import Candidate, Completion, RoutePlan, Skip
from providerhub._values.checks import CALLABLE, Check, instance_of, shape
from providerhub._values.errors import ConfigurationError, ProviderHubError
from providerhub._values.shared import Shared, SharedState

if TYPE_CHECKING:  # imported late, as `async_chain` says
    from providerhub._calling.async_chain import AsyncChain
    from providerhub._calling.many import ManyCalls

AnyChain = TypeVar("AnyChain", bound=Driver[Any])
Calls = TypeVar("Calls", bound="ManyCalls")

_LIST = instance_of(Sequence, "a list")
_RANKER = Check("a callable that is not async", lambda value: callable(value) and not iscoroutinefunction(value), shape)
_PAIR = Check("a pair of a ProviderInfo and a provider object", lambda pair: isinstance(pair, Sequence) and len(pair) == 2, shape)
_CACHE = instance_of((Mapping, str, bool), '"memory", a folder, an address, a mapping or a flag; use around=[...] for a Cache')
_SETTINGS = instance_of((Settings, type(None)), "a Settings object, such as Settings(strategy='priority')")

_GATE = Check("an object with the methods of AttemptGate", lambda value: callable(getattr(value, "reserve", None)), shape)

_EACH = {"rankers": _RANKER, "around": CALLABLE, "providers": _PAIR}


def settings_of(settings: Settings | None, *, cache: Mapping[str, Any] | str | bool | None, wire_log: str | None) -> Settings:
    _SETTINGS.check(settings, "settings", ConfigurationError)
    found = Settings.load() if settings is None else settings.with_environment(os.environ)
    if wire_log is not None:
        found = attrs.evolve(found, wire_log=wire_log)
    if cache is not None:
        _CACHE.check(cache, "cache", ConfigurationError)
        table = {"url": "memory" if cache is True else cache} if isinstance(cache, str) or cache is True else cache or {}
        found = attrs.evolve(found, cache=table)
    return found


def check_objects(**given: Sequence[Any]) -> None:
    if isinstance(given["providers"], Mapping):
        msg = "providers must be a list of objects; settings of providers go into Hub(Settings(providers={'acme': ...}))"
        raise ConfigurationError(msg)
    for name, items in given.items():
        _LIST.check(items, name, ConfigurationError)
        for one in items if name in _EACH else ():
            _EACH[name].check(one, f"each of {name}", ConfigurationError)


class CallMaker:
    def __init__(
        self,
        settings: Settings,
        *,
        observers: Sequence[object],
        rankers: Sequence[Callable[..., Any]],
        around: Sequence[Callable[..., Any]],
        shared: Shared | SharedState | str | None,
        clock: Clock | None,
        rng: Rng | None,
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random().random  # noqa: S311 -- spreads waits; the numbers may be easy to guess
        self._plugins = plugins = Plugins(settings)
        scanned = len(plugins.malformed)
        self._registry = Registry(plugins, settings)
        self._health = Health(self._rng, settings.breaker, budget=settings.budget)
        self._pacer = Pacer(self._rng)
        self._waiting = Running()
        self._router = Router(self._registry, self._health, settings, self._rng, self._pacer)
        self._preparer = Preparer(self._registry, self._health)
        for name, config in settings.providers.items():
            set_all_limits(self._pacer, name, config)
        self._rankers = Observers({RANK: [*rankers, *plugins.hooks(RANK)]}) or None
        for observer in (*observers, *plugins.joining(settings)):
            plugins.observe(observer)
        self._registry.catalogues = Catalogues(plugins.hooks("providerhub_model"))
        observing = Observers({name: plugins.hooks(name) for name in OBSERVED}, self._offered("providerhub_gate", _GATE)) or None
        for one in plugins.malformed[scanned:]:  # else the metrics of a hook plugin would be missed in silence
            _log.warning("the hooks of %s are not used: %s", one.distribution, one.reason)
        self._services = Services(
            self._registry, observing, self._clock, getattr(self._clock, "watch", None),
            self._pacer, self._replan, self._preparer.renewal, self._health.key_changes, self._waiting,
        )  # fmt: skip
        wrappers = [*around, *self._offered("providerhub_around", CALLABLE)]
        self._around = Around(wrappers, settings, self._registry, observing) if wrappers else None
        self._open_many: WeakSet[ManyCalls] = WeakSet()
        store, owned = store_of(shared, settings.shared)
        self._sharing = None if store is None else Sharing(
            store, self._health, self._pacer, clock=self._clock, rng=self._rng, forgive=self._lift,
            scope=partial(self._registry.scope, salt=store.namespace), scopes=partial(self._registry.scopes, store.namespace),
            owned=owned,
        )  # fmt: skip

    def _offered(self, hook: str, check: Check) -> list[Any]:
        found = [one for make in self._plugins.hooks(hook) if (one := make(settings=self.settings)) is not None]
        for one in found:
            check.check(one, f"what a plugin returns from {hook}", ConfigurationError)
        return found

    def _lift(self, name: str) -> None:
        self._health.forgive(name, breakers=True)
        self._pacer.forgive(name)
        self._waiting.forgive(name)
        for many in tuple(self._open_many):
            many.report(partial(many.schedule.forgiven, name))

    def _many_of(self, kind: type[Calls], complete: Callable[..., Any], items: Any, **how: Any) -> Calls:
        """Make many calls. `forgive` and `close` work on them while the outcomes are read. `how` goes to the schedule."""
        parts: dict[str, Any] = {"clock": self._clock, "holds": self._holds, "retry": self.settings.retry, "rng": self._rng}
        many = kind(complete, items, **parts, **how)
        self._open_many.add(many)
        return many

    def _holds(self, model: ModelSpec, messages: Conversation, **knobs: Unpack[Knobs]) -> float | None:
        if self._health.all_healthy:  # the usual case; each of many requests asks
            return None
        spec = self._spec(model, messages, stream=False, **knobs)
        return self._router.hold(spec.model, spec.needs, now=self._clock.monotonic())

    def _stoppable(self, running: Running, /, *, stream: bool = False, patient: bool = True, **knobs: Any) -> Any:
        """`complete` as a call that `running.stop()` can end from another thread. One of many calls is `patient`."""
        return self._call(self._spec(stream=stream, **knobs), patient=patient, running=running)

    async def _patiently(self, **knobs: Any) -> Completion:
        return await self._acall(self._spec(stream=False, **knobs), patient=True)  # type: ignore[no-any-return]

    def _call(self, spec: CallSpec, **how: Any) -> Any:
        return self._answer(spec, **how) if self._around is None else self._around.call(spec, partial(self._answer, **how))

    def _acall(self, spec: CallSpec, **how: Any) -> Any:
        return self._aanswer(spec, **how) if self._around is None else self._around.acall(spec, partial(self._aanswer, **how))

    def _answer(self, spec: CallSpec, *, patient: bool = False, running: Running | None = None) -> Any:
        now = self._clock.monotonic()
        if not self._preparer.is_prepared(spec.model, now):
            self._preparer.prepare(spec.model, now, spec.timeout.total)
        chain = self._chain(Chain, spec, now, patient=patient)
        pieces = chain.run(running or self._waiting)
        return chain.completion if pieces is None else Stream(chain, pieces)

    async def _aanswer(self, spec: CallSpec, *, patient: bool = False) -> Any:
        now = self._clock.monotonic()
        if not self._preparer.is_prepared(spec.model, now):
            await self._preparer.aprepare(spec.model, now, spec.timeout.total)
        chain = self._chain(async_chain(), spec, now, patient=patient)
        await chain.run(Running() if patient else self._waiting)  # `acomplete_many` ends its tasks itself
        return AsyncStream(chain) if spec.request.stream else chain.completion

    def _spec(self, model: ModelSpec, messages: Conversation, *, stream: bool, **knobs: Unpack[Knobs]) -> CallSpec:
        if self._waiting.is_over:
            raise RuntimeError(CLOSED)
        return call_spec(self.settings, self._registry, model, messages, stream=stream, **knobs)

    def _special(self, spec: Callable[..., CallSpec], /, *args: Any, **knobs: Any) -> CallSpec:
        if self._waiting.is_over:
            raise RuntimeError(CLOSED)
        return spec(self.settings, self._registry, *args, **knobs)

    def _chain(self, driver: type[AnyChain], spec: CallSpec, now: float, *, patient: bool = False) -> AnyChain:
        """Make the plan of a call that began at `now`. A patient call waits for a turn, and does not go to another model."""
        request, timeout = spec.request, spec.timeout
        deadline = now + timeout.total
        observers = self._services.observers
        try:
            planned = self._plan(spec, self._clock.monotonic())
        except ProviderHubError as error:
            if observers is not None:
                observers.begin(spec).call_finished(error.route, error=error)
            raise
        engine = Engine(
            planned.plan, spec.retry, self._health, deadline=deadline, rng=self._rng, now=now, stream=request.stream,
            on_interrupt=spec.on_interrupt, hedge=spec.hedge, force=planned.force,
            slow_model=request.reasoning not in {None, "none"}, pacer=self._pacer, patient=patient, tokens=spec.tokens,
            first_token=timeout.first_token if request.stream else timeout.head,
        )  # fmt: skip
        chain = driver(engine, spec, deadline, self._services)
        if observers is not None:
            chain.report = observers.begin(spec, planned.plan)
        return chain

    def _explain(self, spec: CallSpec) -> RoutePlan:
        now = self._clock.monotonic()
        plan = self._plan(spec, now, dry=True).plan
        full = [(c, o) for c in plan.candidates if not plan.waits and (o := self._pacer.obstacle(c, now))]
        times = [f"for {o.until - now:.1f} s more" if o.until < float("inf") else "until another call ends" for _, o in full]
        waits = tuple(Skip(c.provider, c.model, o.reason, time) for (c, o), time in zip(full, times, strict=True))
        return attrs.evolve(plan, waits=waits) if full else plan

    def _candidates(self, spec: CallSpec) -> Sequence[Candidate]:
        now = self._clock.monotonic()
        if not self._preparer.is_prepared(spec.model, now):
            self._preparer.prepare(spec.model, now, spec.timeout.total)
        return self._plan(spec, now, dry=True).plan.candidates

    def _replan(self, spec: CallSpec) -> RoutePlan | None:
        try:
            planned = self._plan(spec, self._clock.monotonic(), dry=True)
        except ProviderHubError:
            return None
        return None if planned.force else planned.plan

    def _plan(self, spec: CallSpec, now: float, *, dry: bool = False) -> Planned:
        request = spec.request
        planned = self._router.plan(
            spec.model, spec.needs, now=now, strategy=spec.strategy, dry=dry,
            tokens=spec.longest,
            uses=spec.uses,
        )  # fmt: skip
        if self._sharing is not None and self._sharing.pending and self._sharing.settle(now):
            return self._plan(spec, now, dry=dry)
        if self._rankers is None:
            return planned
        order = self._rankers.order(request, planned.plan.candidates)
        return planned._replace(plan=attrs.evolve(planned.plan, candidates=order))


def async_chain() -> type[AsyncChain]:
    """The driver of calls in an event loop, imported at the first call. Raises `RuntimeError` without a loop, as under trio."""
    from providerhub._calling.async_chain import AsyncChain, running_loop

    running_loop()
    return AsyncChain
