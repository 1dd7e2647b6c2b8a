"""The conformance suite that `providerhub conformance mistral` runs. It needs the package `providerhub-conformance`."""

from __future__ import annotations

import attrs

from providerhub import ModelInfo
from providerhub_conformance import Asked, OpenAIChatWire, ProviderConformance, RecordedRequest


class MistralWire(OpenAIChatWire):
    """Mistral's chat completions, as a server speaks them. It refuses identifiers that are not nine letters and digits."""

    renames_calls = True

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        found = super().asked(request)
        choice = "required" if found.tool_choice == "any" else found.tool_choice
        body = request.json()
        files = str(body["messages"]).count("'document_url':")
        found = attrs.evolve(found, seed=body.get("random_seed"), tool_choice=choice, files=files)
        for identifier, _ in (*found.tool_calls, *found.tool_results):
            if not (len(identifier) == 9 and identifier.isalnum()):
                msg = f"the identifier {identifier!r} of a tool call is not nine letters and digits"
                raise ValueError(msg)
        return found


class MistralConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "mistral"
    wire = MistralWire()
    model = ModelInfo(
        "conformance",
        supports_stream=True,
        supports_tools=True,
        supports_json_schema=True,
        supports_images=True,
        supports_audio=True,
        supports_files=True,
    )
