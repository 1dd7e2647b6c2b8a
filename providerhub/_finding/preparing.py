"""The I/O that a plan may need, done before the plan is made: imports, lists of models, keys.

A call asks `is_prepared`, which is cheap. Only if it is false, the call asks `prepare` or `aprepare`. A call waits for a list
only if no ready provider is known to have the named model, so a dead service does not delay other calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from providerhub._finding.instance import KEY_MARGIN, Instance
from providerhub._finding.jobs import Job, Task, arun_all, run_all
from providerhub._finding.registry import Match, ModelSpec, Registry, Target
from providerhub._rules.health import Health
from providerhub._values import Candidate, Model
from providerhub._values.errors import CallerError, DeadlineExceededError

# The shares of its time that a call waits for lists: if only they can have the model, and if the call can go on without them.
ALONE, BESIDE = 0.9, 0.25
# The most seconds of these waits, from the start of a listing, which goes on afterwards: if only the list can have the model; if
# the call can go on without the list, since a later model of the call or this model's vendor is known; and if the model comes
# after a known model. Lists of the largest services take up to 3 s.
LISTED_MOST, BESIDE_MOST, LATER_MOST = 8.0, 3.0, 1.0
ALONE_MOST = 30.0  # the most seconds that a call waits for a key if it has no other candidate
KEY_LOOK = 10.0  # seconds until a key with a source is looked at again: only its text has the time of its end
REFRESH_SECONDS = 30.0  # the most seconds that `refresh` takes
_MOST_REMEMBERED = 4096


class _Quiet(NamedTuple):
    """The time until which calls of a model need no preparation, as long as the registry has this version."""

    version: int
    until: float
    candidates: tuple[Candidate, ...]


class Preparer:
    """Brings plugins, lists of models and keys up to date. Thread-safe. `now` is in seconds on the hub's clock."""

    def __init__(self, registry: Registry, health: Health) -> None:
        self._registry = registry
        self._health = health
        self._quiet: dict[Any, _Quiet] = {}
        self._loading: Task | None = None

    def is_prepared(self, model: ModelSpec, now: float) -> bool:
        """Whether a call may be planned at once."""
        try:
            known = self._quiet.get(model if type(model) is str else _key(model))
        except TypeError:  # not a model; planning raises the error
            return False
        if known is None or known.until <= now or known.version != self._registry.version:
            return False
        return self._health.all_healthy or not any(self._renewals(known.candidates, now))

    def prepare(self, model: ModelSpec, now: float, seconds: float) -> None:
        """Prepare a call in a part of its remaining `seconds`, here and in threads. Late results serve later calls."""
        jobs = self.jobs(model, now)
        if jobs:
            run_all(jobs, seconds)
            self._note_late(jobs)

    async def aprepare(self, model: ModelSpec, now: float, seconds: float) -> None:
        """`prepare` under asyncio, with imports in a thread. Raises `DeadlineExceededError` when these take too long."""
        while (loading := self._imports(model)) is not None:
            await arun_all([Job(loading)], seconds)
            if not loading.ended:
                msg = f"the call's time of {seconds:g} s is over, and the plugins that it needs are still being imported"
                raise DeadlineExceededError(msg)
        jobs = self.jobs(model, now)
        if jobs:
            await arun_all(jobs, seconds)
            self._note_late(jobs)

    def refresh(self, now: float) -> bool:
        """Ask all services that can list their models, at once; true when a service listed any model."""
        asked = [instance for instance in self._registry.instances() if instance.can_list]
        tasks = {instance.name: instance.list.asking(now, again=True) for instance in asked}
        run_all([Job(task) for task in tasks.values() if not task.is_own], REFRESH_SECONDS)
        return any(instance.list.models and not instance.list.error for instance in asked)

    def renewal(self, provider: str) -> Job | None:
        """The job that reads a refused key again, and lifts the pause of a changed key; `None` if the key cannot change."""
        task = self._registry.ready(provider).renewal(partial(self._health.forgive, provider))
        return None if task is None or task.is_own else Job(task, ALONE_MOST, ALONE)

    def jobs(self, model: ModelSpec, now: float) -> tuple[Job, ...]:
        """The jobs of a call, which block; most calls have none. Imports the light modules of plugins."""
        if self.is_prepared(model, now):
            return ()
        try:
            targets = [self._registry.target(entry.name) for entry in self._registry.entries(model)]
            version = self._registry.version
            matches = [self._ready_matches(target) for target in targets]
        except CallerError:  # planning raises it again, with its reason
            return ()
        candidates = tuple(Candidate(m.provider, m.sent, m.model.name) for found in matches for m in found)
        later = [float("inf")]
        jobs = self._listings(targets, matches, now, later)
        jobs |= {job.task: job for job in (*self._renewals(candidates, now), *self._endings(candidates, now, later))}
        found = tuple(job for job in jobs.values() if not job.task.is_own)
        if not found:
            if len(self._quiet) >= _MOST_REMEMBERED:
                self._quiet.clear()
            self._quiet[_key(model)] = _Quiet(version, min(later), candidates)
        return found

    def _note_late(self, jobs: Sequence[Job]) -> None:
        late = {job.task for job in jobs if job.longest > 0 and not (job.task.ended or job.is_needless())}
        for instance in self._registry.instances() if late else ():
            if instance.list.task in late:
                instance.list.late()

    def _ready_matches(self, target: Target) -> tuple[Match, ...]:
        return tuple(match for match in self._registry.find(target) if not self._registry.ready(match.provider).missing)

    def _imports(self, model: ModelSpec) -> Task | None:
        """The task that imports the plugins of a call; `None` when they are imported."""
        try:
            names = {self._registry.target(entry.name).provider for entry in self._registry.entries(model)}
        except CallerError:  # planning raises it again, with its reason
            return None
        if not self._registry.needs_import(names):
            return None
        task = self._loading
        if task is None or task.ended:
            task = self._loading = Task("import the plugins", partial(self._registry.import_plugins, names))
        return None if task.is_own else task

    def _renewals(self, candidates: Sequence[Candidate], now: float) -> Iterator[Job]:
        """The jobs that read refused keys again. Another candidate need not wait for them."""
        if self._health.all_healthy:
            return
        obstacles = {candidate: self._health.unavailable(candidate, now) for candidate in candidates}
        has_other = not all(obstacles.values())
        for candidate, obstacle in obstacles.items():
            if obstacle is not None and obstacle.reason == "key rejected" and (job := self.renewal(candidate.provider)):
                yield job._replace(longest=0.0) if has_other else job

    def _endings(self, candidates: Sequence[Candidate], now: float, later: list[float]) -> Iterator[Job]:
        """The jobs that read keys again shortly before their end. A call waits only for a key that has ended."""
        for name in {candidate.provider for candidate in candidates}:
            instance = self._registry.ready(name)
            left = instance.key_ends_in()
            if left < KEY_MARGIN and (job := self.renewal(name)):
                yield job if left <= 0 else job._replace(longest=0.0)
            if instance.keys:
                later.append(now + KEY_LOOK)

    def _listings(
        self, targets: Sequence[Target], matches: Sequence[tuple[Match, ...]], now: float, later: list[float]
    ) -> dict[Task, Job]:
        """The jobs that ask services for their lists, in the order of the targets.

        For each target, `matches` has the ready providers that are known to have it. `later` gets the times at which another list
        may be needed.
        """
        jobs: dict[Task, Job] = {}
        for place, (target, found) in enumerate(zip(targets, matches, strict=True)):
            # Without a named provider, a match of kind "any" is a guess. The lists are then asked for beside the call.
            is_sure = bool(found) and (target.provider is not None or found[0].kind != "any")
            among = self._with_old_lists(found) if is_sure else self._that_may_have(target)
            can_go_on = any(matches) or any(self._registry.knows_model(instance, target.model) for instance in among)
            for instance in among:
                known = instance.list
                running, due = known.due(now, is_missing=not is_sure)
                if running is None and due > now:
                    later.append(due)
                    continue
                task = running or known.asking(now)
                if found:
                    jobs.setdefault(task, Job(task, 0.0))
                    continue
                if any(matches[:place]):
                    longest, share = LATER_MOST, 1.0
                else:
                    longest, share = (BESIDE_MOST, BESIDE) if can_go_on else (LISTED_MOST, ALONE)
                # The wait counts from the start of the listing: a silent service delays only the first calls.
                jobs.setdefault(task, Job(task, max(0.0, longest - task.age), share, partial(self._ready_matches, target)))
        return jobs

    def _that_may_have(self, target: Target) -> list[Instance]:
        """The instances whose lists may bring a model without any known provider."""
        among = self._registry.shared(idle=False) if target.provider is None else (self._registry.instance(target.provider),)
        return [instance for instance in among if instance is not None and instance.can_list]

    def _with_old_lists(self, found: Sequence[Match]) -> list[Instance]:
        """The instances that have a model because their services list it."""
        pairs = [(self._registry.ready(match.provider), match) for match in found if match.kind != "any"]
        return [instance for instance, match in pairs if instance.can_list and match.model not in instance.declared]


def _key(model: ModelSpec) -> Any:
    return model if isinstance(model, str | Model) else tuple(model)
