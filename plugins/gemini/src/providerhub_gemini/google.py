"""The tokens of Google's credentials, for providers at Vertex AI.

It does no I/O itself; a thread fetches the tokens, by google-auth.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from typing import Any

from providerhub import (
    AuthenticationError,
    CallContext,
    ProviderConnectionError,
    ProviderError,
)
from providerhub.wire_provider import Blocking, Fetched, Order, WireProvider

_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_FIX = "set `credentials` or GOOGLE_APPLICATION_CREDENTIALS to a file, or run `gcloud auth application-default login`"


class Tokens:
    """The tokens of Google's credentials for one provider. A valid token is used again, and many calls share one fetch.

    Args:
        provider: The provider. Its setting `credentials` names the file, and a token is a secret of it.
        needs: The package, with its extra, that installs google-auth. Default: this package.
    """

    def __init__(self, provider: WireProvider, needs: str = "providerhub-gemini[vertex]") -> None:
        self._provider, self._needs = provider, needs
        self._credentials = Fetched(self._fetch)

    def headers(self, call: CallContext | None = None) -> Generator[Order, Any, dict[str, str]]:
        """Return the headers that carry a token.

        Args:
            call: The call that uses the token; `None`, the default, without a call.

        Yields:
            The refresh of the credentials, which blocks.

        Returns:
            The headers.

        Raises:
            AuthenticationError: There are no valid credentials.
        """
        found = yield from self._credentials.get(call)
        if not found.valid:
            self._credentials.forget()
            found = yield from self._credentials.get(call)
        billed = {"x-goog-user-project": found.quota_project_id} if getattr(found, "quota_project_id", None) else {}
        return {"Authorization": f"Bearer {found.token}", **billed}

    def explained(self, error: ProviderError) -> ProviderError:
        """Add the names of the settings to the error of a refused token, for `WireProvider.failed`.

        Args:
            error: The failure.
        """
        if isinstance(error, AuthenticationError) and error.about_key and error.status:
            error.args = (f"{error} ({_FIX})",)
        return error

    def _fetch(self) -> Generator[Order, Any, tuple[Any, None]]:
        found = yield Blocking(self._refreshed)
        self._provider.secrets = (found.token,)
        return found, None  # `valid` of the credentials shows whether the token has ended

    def _refreshed(self) -> Any:
        """Find Google's credentials and fetch a token. This blocks."""
        try:
            auth, transport = import_module("google.auth"), import_module("google.auth.transport.requests")
        except ImportError as error:
            msg = f"Google's credentials need google-auth: pip install '{self._needs}', or set `api_key`"
            raise AuthenticationError(msg) from error
        path = self._provider.config.get("credentials")
        try:
            found, _ = auth.load_credentials_from_file(str(path), scopes=_SCOPES) if path else auth.default(scopes=_SCOPES)
            found.refresh(transport.Request())
        except auth.exceptions.TransportError as error:
            raise ProviderConnectionError(f"Google's token service cannot be reached: {error}") from error
        except (auth.exceptions.GoogleAuthError, OSError) as error:
            raise AuthenticationError(f"no valid Google credentials: {error}; {_FIX}") from error
        return found
