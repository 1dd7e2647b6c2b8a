"""llama.cpp's own server, which the wheel of xllamacpp contains. The server's own Python runs this file.

python llama_server.py MODEL PORT KEY [embeddings]
"""

import sys
import threading

import xllamacpp


def main(model, port, key, *more):
    """Serve a model until the process is ended."""
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = model, {"random"}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], int(port), [key]
    params.n_ctx, params.n_parallel, params.n_threads_http, params.use_jinja = 512, 1, 4, True
    params.cpuparams.n_threads = 1
    if more:
        params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    print(f"serves at {server.listening_address}", flush=True)
    threading.Event().wait()


main(*sys.argv[1:])
