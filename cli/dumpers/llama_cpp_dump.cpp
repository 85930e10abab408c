/*
 * Writes the tensors of llama.cpp's graph, by name, to a file that `touchstone compare` reads. llama_cpp.md says how to build and run it.
 *
 *     llama_cpp_dump MODEL.gguf OUT.safetensors 1,2,3 [REGEX]
 *
 * The tokens are evaluated in one batch, and the logits of all of them asked for, so that row t is token t. A tensor that rope made is
 * called NAME.rope; of several with one name, the second is NAME#1. REGEX: which names to keep.
 */
#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"
#include "touchstone_dump.h"

#include <regex>
#include <sstream>
#include <string>
#include <vector>

struct Recorder {
    ts_dump *dump;
    std::regex only;
};

static const char *dtype_of(enum ggml_type type) {
    switch (type) {
        case GGML_TYPE_F32: return "F32";
        case GGML_TYPE_F16: return "F16";
        case GGML_TYPE_BF16: return "BF16";
        case GGML_TYPE_I32: return "I32";
        default: return nullptr; /* quantised: ggml keeps results in none of these */
    }
}

/* Says again what another tensor says, in another shape. A view that takes a part of one does not. */
static bool is_repetition(const ggml_tensor *t) {
    if (t->op == GGML_OP_VIEW) return ggml_is_contiguous(t);
    return t->op == GGML_OP_NONE || t->op == GGML_OP_RESHAPE || t->op == GGML_OP_PERMUTE || t->op == GGML_OP_TRANSPOSE;
}

/* What a trace would call it. The output projection of attention has no name in most graphs, and is known by its weight. */
static std::string name_of(const ggml_tensor *t) {
    std::smatch found;
    for (const ggml_tensor *source : {t->src[0], t->src[1]}) {
        const std::string from = source ? source->name : "";
        if (std::regex_match(from, found, std::regex("blk\\.([0-9]+)\\.attn_output\\.(weight|bias)"))) return "attn_out-" + found[1].str();
    }
    return std::string(t->name) + (t->op == GGML_OP_ROPE ? ".rope" : "");
}

/* The values in row-major order, wherever they lie. */
static std::vector<uint8_t> values_of(ggml_tensor *t) {
    std::vector<uint8_t> span(ggml_nbytes(t)), values(ggml_nelements(t) * ggml_type_size(t->type));
    ggml_backend_tensor_get(t, span.data(), 0, span.size());
    uint8_t *to = values.data();
    for (int64_t i3 = 0; i3 < t->ne[3]; i3++)
        for (int64_t i2 = 0; i2 < t->ne[2]; i2++)
            for (int64_t i1 = 0; i1 < t->ne[1]; i1++)
                for (int64_t i0 = 0; i0 < t->ne[0]; i0++, to += ggml_type_size(t->type))
                    memcpy(to, &span[i3 * t->nb[3] + i2 * t->nb[2] + i1 * t->nb[1] + i0 * t->nb[0]], ggml_type_size(t->type));
    return values;
}

/* Called twice for each tensor: whether it is wanted, and when it is there. */
static bool record(ggml_tensor *t, bool ask, void *data) {
    auto *recorder = static_cast<Recorder *>(data);
    const char *dtype = dtype_of(t->type);
    const std::string name = name_of(t);
    const bool wanted = dtype && !is_repetition(t) && std::regex_search(name, recorder->only);
    if (ask || !wanted) return ask ? wanted : true;
    const std::vector<uint8_t> values = values_of(t);
    std::vector<int64_t> shape; /* ggml counts axes from the fastest: the other way round is row-major */
    for (int axis = ggml_n_dims(t) - 1; axis >= 0; axis--) shape.push_back(t->ne[axis]);
    return ts_add(recorder->dump, name.c_str(), dtype, shape.data(), (int)shape.size(), values.data()) == 0;
}

int main(int count, char **arguments) {
    if (count < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf OUT.safetensors 1,2,3 [REGEX]\n", arguments[0]);
        return 2;
    }
    std::vector<llama_token> ids;
    std::stringstream text(arguments[3]);
    for (std::string id; std::getline(text, id, ',');) ids.push_back(std::stoi(id));

    Recorder recorder{ts_open(arguments[2]), std::regex(count > 4 ? arguments[4] : "-[0-9]+|^(inp|embd|ffn_post_norm|result)")};
    llama_backend_init();
    llama_model *model = llama_model_load_from_file(arguments[1], llama_model_default_params());
    if (!model || !recorder.dump) return 1;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = (uint32_t)ids.size() < 256 ? 256 : (uint32_t)ids.size();
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED; /* or there are neither probabilities nor heads by themselves */
    params.type_k = params.type_v = GGML_TYPE_F32;           /* the cache is float16 by default, which is seen in every layer */
    params.cb_eval = record;
    params.cb_eval_user_data = &recorder;
    llama_context *context = llama_init_from_model(model, params);
    if (!context) return 1;

    llama_batch batch = llama_batch_init((int32_t)ids.size(), 0, 1);
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = (llama_pos)i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = (int32_t)ids.size();
    if (llama_decode(context, batch) != 0) return 1;

    const int64_t tokens = (int64_t)ids.size(), vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    const int64_t shape[] = {tokens, vocabulary};
    ts_add(recorder.dump, "input_ids", "I32", &tokens, 1, ids.data());
    ts_add(recorder.dump, "logits", "F32", shape, 2, llama_get_logits(context));
    ts_meta(recorder.dump, "source", "llama.cpp");
    const int failed = ts_close(recorder.dump);
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    return failed;
}
