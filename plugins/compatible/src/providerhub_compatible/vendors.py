"""The vendors as data: addresses, variables, and differences from OpenAI's chat completions.

The module is imported with the entry points, so it only holds constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

OPENAI_IDS = (".{1,40}", 40)
"""The identifiers of tool calls that OpenAI's own models take: at most 40 characters."""


class Own:
    """A setting that only one vendor has.

    Args:
        name: The name of the setting.
        env: The environment variables that set it.
        help: One line of description.
        default: Its default. Default `None`, for none.
        unless: The name of another setting. While that setting has its default, this setting is required. Default `None`.
        secret: Whether it is a secret. Default false.
    """

    default: str | None = None
    unless: str | None = None
    secret: bool = False

    def __init__(self, name: str, env: tuple[str, ...], help: str, **fields: Any) -> None:  # noqa: A002 -- as in `Setting`
        self.name = name
        self.env = env
        self.help = help
        self.__dict__.update(fields)


class Vendor:
    """One vendor. Its fields are not changed.

    A plain class, since the classes of `attrs` and `NamedTuple` take longer to make than the whole table.

    Args:
        title: The vendor's name for people.
        url: The address up to `/chat/completions`. A part in braces is the value of a setting of `own`. Empty for a server of
            the user's own, whose address must be set.
        keys: The environment variables of the key, in the order of precedence. Empty for a key without a variable.
        docs: The documentation of its chat completions.
        **fields: Values of the attributes.

    Attributes:
        path: The path of a chat, after the address.
        models: The reference of its list of models, relative to the address (RFC 3986, section 5); `None` for no list.
        entries: The field of the list that holds the entries.
        id: The field of an entry that holds the model's name.
        price: The fields of an entry with the prices of input and output, and the factor to US dollars for a million tokens.
        cost_header: The header of an answer that holds its cost in US dollars.
        max_tokens: The name of the field for the most tokens of an answer.
        reasoning: The form of the request for reasoning, one of `FORMS` of `providerhub_compatible.provider`.
        caches: Whether its models take `cache_control`, which is left out otherwise.
        call_ids: See `OpenAIChatProvider.call_ids`.
        extra: Fields of every request.
        known: The models of a service without a list, as arguments of `ModelInfo`.
        own: The settings that only this vendor has.
        slow: Whether a first call may take minutes, since the server loads the model.
        kind: The class that answers, of `KINDS` of `providerhub_compatible.provider`, or another rule for the address. Default
            empty, for none.
    """

    path: str = "/chat/completions"
    models: str | None = "models"
    entries: str = "data"
    id: str = "id"
    price: tuple[str, str, float] = ("pricing.prompt", "pricing.completion", 1e6)
    cost_header: str = ""
    max_tokens: str = "max_tokens"
    reasoning: str = "effort"
    caches: bool = False
    call_ids: tuple[str, int] | None = None
    extra: Mapping[str, Any] = MappingProxyType({})
    known: tuple[Mapping[str, Any], ...] = ()
    own: tuple[Own, ...] = ()
    slow: bool = False
    kind: str = ""

    def __init__(self, title: str, url: str, keys: tuple[str, ...], docs: str, **fields: Any) -> None:
        self.title = title
        self.url = url
        self.keys = keys
        self.docs = docs
        self.__dict__.update(fields)


_PER_MILLION = ("pricing.input", "pricing.output", 1.0)
_NEW_NAME = "max_completion_tokens"
_SONAR = {"supports_stream": True, "supports_tools": False, "supports_images": True, "supports_json_schema": True}
_JAMBA = {"supports_stream": True, "supports_tools": True, "supports_images": False}
_ACCOUNT = Own("account_id", ("CLOUDFLARE_ACCOUNT_ID",), "The account, which is a part of the address", unless="url")
_HOST = Own("host", ("DATABRICKS_HOST",), "The host of the workspace, such as adb-1234.5.azuredatabricks.net", unless="url")
_SNOWFLAKE = Own("account", ("SNOWFLAKE_ACCOUNT",), "The account identifier, such as myorg-myaccount", unless="url")
_REGION = Own("region", ("AWS_REGION", "AWS_DEFAULT_REGION"), "The region, such as us-east-1", unless="url")
_WATSONX = (
    Own("region", ("WATSONX_REGION",), "The region of the service", default="us-south"),
    Own("token", ("WATSONX_TOKEN",), "A bearer token that is valid already; then no key is needed", secret=True),
    Own("project_id", ("WATSONX_PROJECT_ID",), "The project that pays; or set space_id", unless="space_id"),
    Own("space_id", ("WATSONX_SPACE_ID",), "The deployment space that pays, in place of a project"),
    Own("auth_url", (), "The service that exchanges the key for a token", default="https://iam.cloud.ibm.com/identity/token"),
    Own("api_version", (), "The date of the API's version", default="2025-02-11"),
)

VENDORS: Mapping[str, Vendor] = {
    "ai21": Vendor(
        "AI21 Labs", "https://api.ai21.com/studio/v1", ("AI21_API_KEY",), "https://docs.ai21.com/reference/jamba-1-6-api-ref",
        models=None,
        known=(
            {"name": "jamba-mini", "context_window": 256_000, **_JAMBA},
            {"name": "jamba-large", "context_window": 256_000, **_JAMBA},
            {"name": "jamba*", "supports_stream": True},
        ),
    ),
    "alibaba": Vendor(
        "Alibaba Cloud Model Studio (Qwen)", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
        "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
        reasoning="enable_thinking", caches=True,
    ),
    "avian": Vendor("Avian", "https://api.avian.io/v1", ("AVIAN_API_KEY",), "https://avian.io/docs/"),
    "baseten": Vendor(
        "Baseten", "https://inference.baseten.co/v1", ("BASETEN_API_KEY",),
        "https://docs.baseten.co/reference/inference-api/chat-completions",
    ),
    "bedrock-mantle": Vendor(
        "Amazon Bedrock's chat completions", "https://bedrock-mantle.{region}.api.aws/v1", ("AWS_BEARER_TOKEN_BEDROCK",),
        "https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html", own=(_REGION,),
    ),
    "cerebras": Vendor(
        "Cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",),
        "https://inference-docs.cerebras.ai/api-reference/chat-completions", max_tokens=_NEW_NAME,
    ),
    "cloudflare": Vendor(
        "Cloudflare Workers AI", "https://api.cloudflare.com/client/v4/accounts/{account_id}/ai/v1",
        ("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_KEY"),
        "https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/",
        models="../models/search", entries="result", id="name", own=(_ACCOUNT,),
    ),
    "crusoe": Vendor(
        "Crusoe", "https://api.inference.crusoecloud.com/v1", ("CRUSOE_API_KEY",),
        "https://docs.crusoecloud.com/serverless-inference/overview",
    ),
    "databricks": Vendor(
        "Databricks", "https://{host}/serving-endpoints", ("DATABRICKS_TOKEN",),
        "https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference",
        models="/api/2.0/serving-endpoints", entries="endpoints", id="name", caches=True, own=(_HOST,), kind="databricks",
    ),
    "deepinfra": Vendor(
        "DeepInfra", "https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
        "https://deepinfra.com/docs/openai_api",
        price=("metadata.pricing.input_tokens", "metadata.pricing.output_tokens", 1.0),
    ),
    "deepseek": Vendor(
        "DeepSeek", "https://api.deepseek.com", ("DEEPSEEK_API_KEY",), "https://api-docs.deepseek.com/api/create-chat-completion",
        reasoning="thinking_effort", kind="json_object",
    ),
    "doubleword": Vendor("Doubleword", "https://api.doubleword.ai/v1", ("DOUBLEWORD_API_KEY",), "https://docs.doubleword.ai/"),
    "fireworks": Vendor(
        "Fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",),
        "https://docs.fireworks.ai/api-reference/post-chatcompletions",
    ),
    "github": Vendor(
        "GitHub Models", "https://models.github.ai/inference", ("GITHUB_TOKEN", "GITHUB_API_KEY"),
        "https://docs.github.com/en/rest/models/inference", models="/catalog/models", call_ids=OPENAI_IDS,
        own=(Own("organization", (), "The organization that pays, in place of the token's owner"),), kind="github",
    ),
    "gpustack": Vendor(
        "GPUStack", "", ("GPUSTACK_API_KEY",), "https://docs.gpustack.ai/latest/user-guide/openai-compatible-apis/",
        reasoning="template", slow=True,
    ),
    "groq": Vendor(
        "Groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), "https://console.groq.com/docs/api-reference",
        max_tokens=_NEW_NAME,
    ),
    "heroku": Vendor(
        "Heroku Managed Inference", "https://us.inference.heroku.com/v1", ("HEROKU_INFERENCE_KEY", "INFERENCE_KEY"),
        "https://devcenter.heroku.com/articles/heroku-inference-api-v1-chat-completions",
        models="/available-models", id="model_id",
    ),
    "huggingface": Vendor(
        "Hugging Face Inference Providers", "https://router.huggingface.co/v1", ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        "https://huggingface.co/docs/inference-providers/tasks/chat-completion",
    ),
    "hyperbolic": Vendor(
        "Hyperbolic", "https://api.hyperbolic.xyz/v1", ("HYPERBOLIC_API_KEY",), "https://docs.hyperbolic.xyz/docs/rest-api",
    ),
    "lambda": Vendor(
        "Lambda", "https://api.lambda.ai/v1", ("LAMBDA_API_KEY",),
        "https://docs.lambda.ai/public-cloud/lambda-inference-api/",
    ),
    "litellm": Vendor(
        "LiteLLM's proxy", "", ("LITELLM_API_KEY",), "https://docs.litellm.ai/docs/proxy/user_keys", caches=True,
        cost_header="x-litellm-response-cost",
    ),
    "llamacpp": Vendor(
        "llama.cpp", "", (), "https://github.com/ggml-org/llama.cpp/tree/master/tools/server", reasoning="template", slow=True,
    ),
    "lmstudio": Vendor(
        "LM Studio", "", ("LMSTUDIO_API_KEY",), "https://lmstudio.ai/docs/developer/openai-compat", models="/api/v0/models",
        slow=True,
    ),
    "minimax": Vendor(
        "MiniMax", "https://api.minimax.io/v1", ("MINIMAX_API_KEY",),
        "https://platform.minimax.io/docs/api-reference/text-openai-api", models=None, max_tokens=_NEW_NAME,
        reasoning="thinking", extra={"reasoning_split": True},
    ),
    "moonshot": Vendor(
        "Moonshot AI (Kimi)", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
        "https://platform.moonshot.ai/docs/api/chat", reasoning="thinking", max_tokens=_NEW_NAME,
    ),
    "nebius": Vendor(
        "Nebius Token Factory", "https://api.tokenfactory.nebius.com/v1", ("NEBIUS_API_KEY",),
        "https://docs.tokenfactory.nebius.com/api-reference",
    ),
    "novita": Vendor(
        "Novita AI", "https://api.novita.ai/openai/v1", ("NOVITA_API_KEY",),
        "https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion",
        price=("input_token_price_per_m", "output_token_price_per_m", 1e-4),
    ),
    "nvidia": Vendor(
        "NVIDIA NIM", "https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",),
        "https://docs.api.nvidia.com/nim/reference/llm-apis", reasoning="template",
    ),
    "openrouter": Vendor(
        "OpenRouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), "https://openrouter.ai/docs/api-reference/overview",
        reasoning="object", caches=True, extra={"usage": {"include": True}},
    ),
    "ovhcloud": Vendor(
        "OVHcloud AI Endpoints", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", ("OVHCLOUD_API_KEY",),
        "https://help.ovhcloud.com/csm/en-public-cloud-ai-endpoints-getting-started",
    ),
    "perplexity": Vendor(
        "Perplexity", "https://api.perplexity.ai", ("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
        "https://docs.perplexity.ai/api-reference/chat-completions-post", models=None,
        known=(
            {"name": "sonar", "context_window": 128_000, **_SONAR},
            {"name": "sonar-pro", "context_window": 200_000, **_SONAR},
            {"name": "sonar-reasoning-pro", "context_window": 128_000, "supports_reasoning": True, **_SONAR},
            {"name": "sonar-deep-research", "context_window": 128_000, "supports_reasoning": True, **_SONAR},
            {"name": "sonar*", "supports_stream": True},
        ),
    ),
    "sambanova": Vendor(
        "SambaNova", "https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",),
        "https://docs.sambanova.ai/docs/en/api-reference/overview", reasoning="template",
    ),
    "sglang": Vendor(
        "SGLang", "", (), "https://docs.sglang.ai/basic_usage/openai_api_completions.html", reasoning="template", slow=True,
    ),
    "snowflake": Vendor(
        "Snowflake Cortex", "https://{account}.snowflakecomputing.com/api/v2/cortex/v1",
        ("SNOWFLAKE_TOKEN", "SNOWFLAKE_PAT", "SNOWFLAKE_CORTEX_PAT"),
        "https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api", models=None, max_tokens=_NEW_NAME,
        reasoning="object", caches=True, own=(_SNOWFLAKE,), kind="snowflake",
    ),
    "together": Vendor(
        "Together AI", "https://api.together.xyz/v1", ("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
        "https://docs.together.ai/reference/chat-completions-1", price=_PER_MILLION, reasoning="enabled",
    ),
    "venice": Vendor(
        "Venice", "https://api.venice.ai/api/v1", ("VENICE_API_KEY",), "https://docs.venice.ai/api-reference",
        price=("model_spec.pricing.input.usd", "model_spec.pricing.output.usd", 1.0),
    ),
    "vercel": Vendor(
        "Vercel AI Gateway", "https://ai-gateway.vercel.sh/v1",
        ("AI_GATEWAY_API_KEY", "VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"), "https://vercel.com/docs/ai-gateway",
        price=("pricing.input", "pricing.output", 1e6), reasoning="object", caches=True,
    ),
    "vllm": Vendor(
        "vLLM", "", ("VLLM_API_KEY",), "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        reasoning="template", slow=True,
    ),
    "watsonx": Vendor(
        "IBM watsonx.ai", "https://{region}.ml.cloud.ibm.com", ("WATSONX_API_KEY", "WATSONX_APIKEY"),
        "https://cloud.ibm.com/apidocs/watsonx-ai", models="/ml/v1/foundation_model_specs", entries="resources", id="model_id",
        own=_WATSONX, kind="watsonx",
    ),
    "writer": Vendor(
        "Writer", "https://api.writer.com/v1", ("WRITER_API_KEY",),
        "https://dev.writer.com/api-reference/completion-api/chat-completion", path="/chat", entries="models",
    ),
    "xai": Vendor(
        "xAI", "https://api.x.ai/v1", ("XAI_API_KEY",), "https://docs.x.ai/docs/api-reference",
        models="language-models", entries="models", max_tokens=_NEW_NAME,
        price=("prompt_text_token_price", "completion_text_token_price", 1e-4),
    ),
    "xiaomi": Vendor(
        "Xiaomi MiMo", "https://api.xiaomimimo.com/v1", ("MIMO_API_KEY", "XIAOMI_API_KEY"),
        "https://platform.xiaomimimo.com/docs/en-US/api/chat/openai-api", max_tokens=_NEW_NAME, reasoning="thinking",
    ),
    "zai": Vendor(
        "Z.AI", "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY",), "https://docs.z.ai/api-reference/llm/chat-completion",
        reasoning="thinking_effort", kind="json_object",
    ),
    "zhipu": Vendor(
        "Zhipu AI", "https://open.bigmodel.cn/api/paas/v4", ("ZHIPUAI_API_KEY", "ZHIPU_API_KEY"),
        "https://docs.bigmodel.cn/api-reference", reasoning="thinking_effort", kind="json_object",
    ),
}  # fmt: skip
"""Entry point → vendor, sorted by name."""
