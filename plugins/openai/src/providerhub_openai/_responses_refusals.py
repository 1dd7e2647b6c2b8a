"""The refusals of the Responses API for which the lines for all services would find a wrong error class."""

from __future__ import annotations

from providerhub import BadRequestError, ContentPolicyError, Refusal, ServerError

REFUSALS = (
    Refusal(
        error=ContentPolicyError,
        codes=("image_content_policy_violation", "bio_policy", "misalignment_policy_violation"),
        phrases=(r"flagged as (?:potentially )?violating", r"limited access to this content for safety reasons"),
    ),
    Refusal(error=ServerError, codes=("vector_store_timeout",)),
    Refusal(
        error=BadRequestError,
        codes=(
            "invalid_prompt", "data_residency_mismatch", "invalid_image", "invalid_image_format", "invalid_base64_image",
            "invalid_image_url", "image_too_large", "image_too_small", "image_parse_error", "invalid_image_mode",
            "image_file_too_large", "unsupported_image_media_type", "empty_image_file", "failed_to_download_image",
            "image_file_not_found",
        ),
    ),
    Refusal(
        error=BadRequestError,
        phrases=(r"verified to (?:generate|use) reasoning summar",),
        hint="; leave `summary` out of the option `reasoning`",
    ),
    Refusal(
        error=BadRequestError,
        phrases=(r"encrypted content is not supported",),
        hint="; pass the option include = None, or leave `reasoning` out",
    ),
)  # fmt: skip
"""The codes of `response.error`, and words of this API. They come before the lines for all services."""
