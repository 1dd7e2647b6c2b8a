"""The errors of requests that no provider can serve."""

from __future__ import annotations

from providerhub._finding.installed import INSTALL_HINT, to_install, vendor_of
from providerhub._finding.instance import Instance
from providerhub._finding.registry import Registry
from providerhub._rules.endings import told
from providerhub._values import Model, Route, Skip, errors
from providerhub._values.checks import nearest

_MOST_PROBLEMS = 3  # the most unusable providers in one message
_MOST_SERVICES = 6  # the most services without a list in one message
_LISTLESS = "could not list its models"
_MOST_MODELS = 20  # the most known models in one message


def model_not_found(registry: Registry, model: str) -> errors.ModelNotFoundError | errors.AttemptError:
    """The error for a name that no instance has. It lists providers that may have the model, and similar and known models.

    If a provider that may have the model could not list its models, the error has the class of that failure.
    """
    if not registry.names():
        fix = "; ".join(f"{one.distribution}: {one.reason}" for one in registry.plugins.malformed) or f"try: {INSTALL_HINT}"
        return errors.ModelNotFoundError(f"no provider plugin is installed, so model {model!r} is not available; {fix}")
    usable = sorted(registry.instances(), key=lambda i: bool(i.missing))
    # Of two instances with one model, the instance that can answer.
    owners = {name: i for i in reversed(usable) for m in i.models for name in (m.name, *m.aliases) if not name.endswith("*")}
    known, ready = sorted(owners), sorted([*registry.aliases, *(name for name, i in owners.items() if not i.missing)])
    first, colon, rest = model.partition(":")
    fix = f"; did you mean {f'{first}/{rest}'!r}?" if colon and first in registry.names() else ""  # other libraries write a colon
    first, slash, rest = model.partition("/")
    is_pin = bool(slash and rest)
    is_unknown = is_pin and first not in registry.names()
    is_pinned = is_pin and not is_unknown
    pin = f"; {first!r} is not an installed provider{_installed(registry, first)}" if is_unknown else ""
    near = next((found for names in (ready, known) for word in (model, rest) if (found := _near(word, names))), [])
    kin = model.partition("-")[0]
    if near and near[0].lower() == model.lower():
        fix = f"; did you mean {near[0]!r}?"
    elif not is_pinned and kin in registry.names() and not vendor_of(model) and not (near and near[0].startswith(kin)):
        fix = f"; {_problem(registry, kin)}" if _problem(registry, kin) else f"; did you mean {f'{kin}/{model}'!r}?"
    if fix := fix or (pin if "(" not in pin else ""):
        return errors.ModelNotFoundError(f"no provider has the model {model!r}{fix}")
    more = f" and {len(known) - _MOST_MODELS} more" if len(known) > _MOST_MODELS else ""
    shown = f". Known models: {', '.join(known[:_MOST_MODELS])}{more}" if known else ""
    owner = vendor_of(rest or model)
    install = f"; try: {to_install(owner)}" if owner and owner not in registry.names() else ""
    pinned_only = "" if install or is_pinned else _pinned_only(registry, model)
    may = install or _unconfigured(registry, owner)
    among = [registry.instance(first)] if is_pinned else [i for i in registry.shared() if _may_own(i, owner)]
    failing = [i for i in among if i is not None and i.list.error]
    unasked = registry.instance(owner) if owner in registry.names() else None
    if unasked is not None and unasked.list.listed_at is None and not unasked.list.error and unasked.can_list:
        return errors.ModelNotFoundError(f"no provider has the model {model!r}; {_unlisted(unasked)}")
    # A local service that is down and stands in no setting is hardly the cause if there is another explanation.
    is_cause = is_pinned or not (pinned_only or may or pin or near) or any(i.config.api_key or not i.is_at_home for i in failing)
    if failing and is_cause:
        return failing[0].list.failure(_not_listed(failing, rest if is_pinned else model, is_pinned=is_pinned))
    its = owners.get(near[0]) if near else None
    lack = f" ({its.name} is not configured: {its.reason})" if its is not None and its.missing else ""
    hint = f"; did you mean {' or '.join(map(repr, near))}{lack}?" if near else "" if may or pin or pinned_only else shown
    # First the vendor of the model, and without one the providers that are configured.
    listless = _problems([_unlisted(i) for i in registry.shared() if _may_own(i, owner) and _unlisted(i)])
    broken = _problems([_problem(registry, r.name) for r in registry.unusable() if owner in {"", r.name}])
    causes = f"{listless}{may}{pinned_only}" if owner else f"{pinned_only}{listless}{may}"
    said = f"no provider has the model {model!r}{pin}{causes}{hint}{broken}"
    unlisted = next((instance.list for instance in registry.shared() if instance.list.error), None)
    return errors.ModelNotFoundError(said) if unlisted is None else unlisted.failure(said)


def unknown(model: str, error: errors.ProviderHubError) -> Skip:
    """The `Skip` of a model in a sequence that no provider has, with the message of `model_not_found`."""
    said = str(error).removeprefix(f"no provider has the model {model!r}").lstrip(";. ")
    return Skip("", model, "unknown model", said)


def _near(model: str, known: list[str]) -> list[str]:
    """The known names most similar to a model's name. A name that differs only in capital letters comes first."""
    import difflib  # slow to import; only this error needs it

    by_lower = {name.lower(): name for name in known}
    return [by_lower[name] for name in difflib.get_close_matches(model.lower(), by_lower, n=3, cutoff=0.5)]


def with_near(registry: Registry, error: errors.ProviderHubError) -> errors.ProviderHubError:
    """Add the fix to the last error of a call: the variables of refused keys, and models similar to a denied model."""
    attempts = [(attempt.provider, attempt.error) for attempt in error.route.attempts if attempt.error is not None]
    for provider, failed in attempts:
        if isinstance(failed, errors.AuthenticationError) and (instance := registry.instance(provider)) is not None:
            failed.args = (str(failed).replace(errors.KEY_VARIABLE, instance.key_variable or errors.KEY_VARIABLE),)
    if isinstance(error, errors.ProviderConnectionError) and error.may_be_address and error.provider in registry.names():
        instance = registry.instance_with_flaw(error.provider)
        error.args = (f"{error}{_address(instance)}" if instance else str(error),)
    if isinstance(error, errors.ProviderError):
        # Here all errors have the same class. For different classes, `AllProvidersFailedError` names the providers.
        before = {p: told(e) for p, e in attempts if type(e) is type(error) and p != error.provider}
        if before:
            from copy import copy  # only this error needs it

            cause, error = error.__cause__, copy(error)  # a copy: the route keeps the error unchanged
            error.args, error.__cause__ = (f"{error}; before that, {'; '.join(before.values())}",), cause
    denied = error.__cause__
    if isinstance(error, errors.ModelNotFoundError) and isinstance(denied, errors.ModelUnavailableError):
        instance = registry.instance(denied.provider)
        names = [name for m in instance.models for name in (m.name, *m.aliases) if name[-1] != "*"] if instance else []
        near = [] if denied.model in names else _near(denied.model, names)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else instance and _unlisted(instance)
        error.args = (f"{error}; {hint}" if hint else str(error),)
    return error


def _unconfigured(registry: Registry, owner: str) -> str:
    """The providers with unknown models because of a missing setting: the providers of the model's owner, or else all."""
    may = [i for i in registry.shared() if i.missing and i.info.discover and not i.declared and _may_own(i, owner)]
    may.sort(key=lambda i: (len(i.missing), f"providerhub-{i.name}" != i.distribution))  # the usual account of a vendor first
    may = [instance for instance in may if instance.is_wrong] or may
    shown = (f"{i.name} ({i.reason if i.is_wrong else 'set ' + ' and '.join(i.variables)})" for i in may[:_MOST_SERVICES])
    return f"; not configured yet, and may have it: {', '.join(shown)}" if may else ""


def _may_own(instance: Instance, owner: str) -> bool:
    """Whether an instance may have models of an owner: all its own, and those of its distribution. Without an owner, any may."""
    return not owner or owner == instance.name or instance.distribution == f"providerhub-{owner}"


def _installed(registry: Registry, name: str) -> str:
    """The fix for a provider that is not installed: the command, or the most similar name, or all names."""
    names = registry.names()
    more = f" and {len(names) - _MOST_MODELS} more" if len(names) > _MOST_MODELS else ""
    near = (one for one in names if name.startswith(f"{one}_"))  # other libraries have names such as "azure_ai"
    fix = to_install(name) or next((f"did you mean {one!r}?" for one in near), "") or nearest(name, names, cutoff=0.8)
    return f": {fix}" if fix else f" (installed: {', '.join(names[:_MOST_MODELS])}{more})"


def _pinned_only(registry: Registry, model: str) -> str:
    """The configured providers that may have the model and serve only calls that name them."""
    names = [instance.name for instance in registry.pinned_only()]
    if not names:
        return ""
    fix = f"ask for {names[0] + '/' + model!r}, or add [providers.{names[0]}] to the settings"
    serve = "serve only calls that name them" if len(names) > 1 else "serves only calls that name it"
    return f"; {', '.join(names)} may have it, and {serve}: {fix}"


def _problem(registry: Registry, name: str) -> str:
    """The reason why an instance, or its plugin, may have more models than the known ones; else empty."""
    instance = registry.instance_with_flaw(name)
    if instance is not None:
        return _unlisted(instance) if instance.list.error else ""
    record = registry.record(name)
    return f"{name} is {record.state}: {record.reason}"


def _problems(problems: list[str]) -> str:
    """The first of some problems, and how many more there are."""
    left = len(problems) - _MOST_PROBLEMS
    more = f"; and {left} more, see: providerhub plugins" if left > 0 else ""
    return "".join(f"; {problem}" for problem in problems[:_MOST_PROBLEMS]) + more


def _unlisted(instance: Instance) -> str:
    """The reason why an instance may have more models than the known ones; else empty."""
    if instance.list.error:
        return f"{instance.name} {_LISTLESS}: {instance.list.error}{_address(instance)}"
    if instance.can_list and instance.list.listed_at is None:
        asks = "a call asks it, and so do Hub.refresh() and `providerhub models --refresh`"
        return f"{instance.name} has not listed its models yet: {asks}"
    if instance.can_list and not instance.models:
        return f"{instance.name} lists no models: check that its server runs and has some"
    return ""


def _address(instance: Instance) -> str:
    """The source of an unusual address, without the address, which may hold a password; empty for the usual address."""
    setting = next((one for one in instance.info.all_settings if one.name == "url"), None)
    if setting is None or instance.is_at_home or not instance.has_plugin:
        return ""
    return f" (its url is set by {instance.variable(setting)} or under [providers.{instance.name}])"


def _not_listed(failing: list[Instance], model: str, *, is_pinned: bool) -> str:
    """The message for a model of instances that could not list their models: the cause, then the fixes."""
    causes = "; ".join(map(_unlisted, failing[:_MOST_PROBLEMS]))
    name = failing[0].name
    call = "" if is_pinned else f"call {name}/{model}, or "
    return f'{causes}; for the model {model!r} {call}set models = ["{model}"] under [providers.{name}]'


_REFUSED: dict[str, tuple[type[errors.ProviderError], str]] = {
    "key rejected": (errors.AuthenticationError, "the provider has rejected the key, and the key has not changed since"),
    "quota used up": (errors.QuotaExceededError, "the provider's quota is used up; raise it, or call again after the pause"),
}
"""The reason of a pause → the class and the message of the error when nothing else is left. The first reason found decides."""


def no_candidate(names: tuple[str | Model, ...], skipped: tuple[Skip, ...]) -> errors.ProviderHubError:
    """The error for a request without any candidate. The reasons of the skipped candidates decide its class."""
    asked = ", ".join(map(str, names))
    # A plugin whose models are unknown matters only when nothing else explains the failure.
    relevant = [skip for skip in skipped if skip.model] or skipped
    reasons = {skip.reason for skip in relevant if skip.provider}
    listing = "\n".join(f"  {skip}" for skip in relevant)
    error: errors.ProviderHubError
    if reasons == {"conflict"}:
        error = errors.AmbiguousProviderError(f"{asked}: two distributions offer the provider\n{listing}")
    elif reasons == {"not configured"}:
        if len(relevant) == 1:
            message = f"{asked}: the provider {relevant[0].provider!r} is not configured: {relevant[0].detail}"
        else:
            message = f"{asked}: the providers are not configured\n{listing}"
        error = errors.ConfigurationError(message)
    elif reasons and reasons <= _REFUSED.keys():
        reason = next(reason for reason in _REFUSED if reason in reasons)
        kind, said = _REFUSED[reason]
        provider = next(skip.provider for skip in relevant if skip.reason == reason)
        error = kind(f"{asked}: {said}\n{listing}", provider=provider)
    else:
        error = errors.NoCapableProviderError(f"no provider can serve this request to {asked}\n{listing}")
    error.route = Route(skipped=skipped)
    return error
