/* Makes random-weight Llama models (random_model.h). Weights are drawn from a table of normal deviates,
 * converted to numbers or blocks of the wanted type once a tensor, so that writing is as fast as the disk;
 * their spread keeps activations near 1 through any number of layers. The tokenizer has bytes, characters and runs of small
 * letters, so that any text can be read. */
#include "random_model.h"

#include "input.h"

#include <math.h>
#include <mia/mia.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE      65536 /* deviates to draw from; a power of two */
#define FIRST_TEXT 259   /* <unk>, <s>, </s> and 256 bytes come before */
#define BUFFER     (1u << 20)

typedef struct model_shape {
    int64_t layers, dim, heads, kv_heads, head_dim, ffn, vocab, context, seed;
    mia_dtype dtype;
} model_shape;

/* --- the specification ------------------------------------------------------------------------ */

#define TYPE(name, unused) MIA_##name,
static const mia_dtype types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_TYPES_BLOCK(TYPE, 0)};

static bool parse_type(const char *text, size_t length, mia_dtype *out) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const char *name = mia_dtype_describe(types[i])->name;
        if (strlen(name) != length || memcmp(name, text, length) != 0) continue;
        *out = types[i];
        return true;
    }
    return false;
}

/* One "key=value". */
static mia_status parse_entry(const char *entry, size_t length, model_shape *shape, mia_error *error) {
    const struct {
        const char *key;
        int64_t most;
        int64_t *into;
    } keys[] = {{"layers", 100000, &shape->layers}, {"dim", 1 << 20, &shape->dim},
                {"heads", 1 << 16, &shape->heads},  {"kv-heads", 1 << 16, &shape->kv_heads},
                {"ffn", 1 << 22, &shape->ffn},      {"vocab", 1 << 22, &shape->vocab},
                {"ctx", 1 << 24, &shape->context},  {"seed", INT64_C(1) << 50, &shape->seed}};
    const char *equals = memchr(entry, '=', length);
    size_t key = equals != NULL ? (size_t)(equals - entry) : length;
    const char *value = equals != NULL ? equals + 1 : entry + length;
    size_t value_length = equals != NULL ? length - key - 1 : 0;
    if (key == 4 && memcmp(entry, "type", key) == 0) {
        if (parse_type(value, value_length, &shape->dtype)) return MIA_OK;
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "'%.*s': type is one of f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q4_K q5_K q6_K",
                             (int)length, entry);
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strlen(keys[i].key) != key || memcmp(keys[i].key, entry, key) != 0) continue;
        if (mia__cli_parse_digits(value, value_length, keys[i].most, keys[i].into) && *keys[i].into > 0)
            return MIA_OK;
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "'%.*s': %s is a number from 1 to %lld",
                             (int)length, entry, keys[i].key, (long long)keys[i].most);
    }
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                         "'%.*s': the keys are layers, dim, heads, kv-heads, ffn, vocab, type, ctx and seed",
                         (int)length, entry);
}

static mia_status refuse(mia_error *error, const char *what, int64_t value, const char *why, int64_t number) {
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s is %lld; it has to be %s %lld", what,
                         (long long)value, why, (long long)number);
}

static mia_status check_shape(const model_shape *s, mia_error *error) {
    const struct {
        const char *key;
        int64_t value;
    } needed[] = {
        {"layers", s->layers}, {"dim", s->dim}, {"heads", s->heads}, {"ffn", s->ffn}, {"vocab", s->vocab}};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (needed[i].value == 0)
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s is missing", needed[i].key);
    int64_t unit = mia_dtype_describe(s->dtype)->elements;
    if (s->dim % (2 * s->heads) != 0)
        return refuse(error, "dim", s->dim, "a multiple of twice heads,", 2 * s->heads);
    if (s->heads % s->kv_heads != 0)
        return refuse(error, "heads", s->heads, "a multiple of kv-heads,", s->kv_heads);
    if (s->dim % unit != 0) return refuse(error, "dim", s->dim, "in whole blocks of", unit);
    if (s->ffn % unit != 0) return refuse(error, "ffn", s->ffn, "in whole blocks of", unit);
    if (s->vocab < FIRST_TEXT + 1) return refuse(error, "vocab", s->vocab, "at least", FIRST_TEXT + 1);
    return MIA_OK;
}

static mia_status parse_spec(const char *spec, model_shape *shape, mia_error *error) {
    *shape = (model_shape){.context = 2048, .seed = 1, .dtype = MIA_q8_0};
    for (const char *at = spec; *at != '\0';) {
        size_t length = strcspn(at, ",");
        mia_status status = parse_entry(at, length, shape, error);
        if (status != MIA_OK) return status;
        at += length;
        if (*at == ',') at++;
    }
    if (shape->kv_heads == 0) shape->kv_heads = shape->heads;
    if (shape->heads > 0) shape->head_dim = shape->dim / shape->heads;
    return check_shape(shape, error);
}

/* --- the tokenizer ---------------------------------------------------------------------------- */

typedef char token_text[16];

/* The n-th run of small letters, shortest first: a, b, ..., z, aa, ab, ... */
static void write_letters(size_t n, char *out) {
    char reversed[16];
    size_t length = 0;
    for (n++; n > 0; n = (n - 1) / 26) reversed[length++] = (char)('a' + (n - 1) % 26);
    for (size_t i = 0; i < length; i++) out[i] = reversed[length - 1 - i];
    out[length] = '\0';
}

static void write_token(size_t id, char *out) {
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    static const char *const visible =
        "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`{|}~";
    size_t n = id - FIRST_TEXT;
    if (id < 3)
        snprintf(out, sizeof(token_text), "%s", first[id]);
    else if (id < FIRST_TEXT)
        snprintf(out, sizeof(token_text), "<0x%02X>", (unsigned)(id - 3) & 0xffu);
    else if (n == 0)
        snprintf(out, sizeof(token_text), "\xe2\x96\x81"); /* SentencePiece's space */
    else if (n <= strlen(visible))
        snprintf(out, sizeof(token_text), "%c", visible[n - 1]);
    else
        write_letters(n - 1 - strlen(visible), out);
}

static mia_status write_tokenizer(mia_gguf_writer *writer, size_t count, mia_error *error) {
    enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6 };
    token_text *texts = mia_allocate_zeroed(NULL, count, sizeof *texts);
    mia_text *tokens = mia_allocate_zeroed(NULL, count, sizeof *tokens);
    float *scores = mia_allocate_zeroed(NULL, count, sizeof *scores);
    int32_t *kinds = mia_allocate_zeroed(NULL, count, sizeof *kinds);
    mia_status status = MIA_OK;
    if (texts == NULL || tokens == NULL || scores == NULL || kinds == NULL) {
        status = mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a vocabulary of %zu tokens", count);
    } else {
        for (size_t i = 0; i < count; i++) {
            write_token(i, texts[i]);
            tokens[i] = (mia_text){texts[i], strlen(texts[i])};
            scores[i] = i < FIRST_TEXT ? 0 : -(float)(i - FIRST_TEXT);
            kinds[i] = i == 0 ? UNKNOWN : i < 3 ? CONTROL : i < FIRST_TEXT ? BYTE : NORMAL;
        }
        mia_gguf_writer_text(writer, "tokenizer.ggml.model", (mia_text){"llama", 5});
        mia_gguf_writer_texts(writer, "tokenizer.ggml.tokens", tokens, count);
        mia_gguf_writer_f32s(writer, "tokenizer.ggml.scores", scores, count);
        mia_gguf_writer_i32s(writer, "tokenizer.ggml.token_type", kinds, count);
        mia_gguf_writer_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
        mia_gguf_writer_u32(writer, "tokenizer.ggml.bos_token_id", 1);
        mia_gguf_writer_u32(writer, "tokenizer.ggml.eos_token_id", 2);
        mia_gguf_writer_bool(writer, "tokenizer.ggml.add_bos_token", true);
        mia_gguf_writer_bool(writer, "tokenizer.ggml.add_eos_token", false);
    }
    mia_release(NULL, texts, count * sizeof *texts);
    mia_release(NULL, tokens, count * sizeof *tokens);
    mia_release(NULL, scores, count * sizeof *scores);
    mia_release(NULL, kinds, count * sizeof *kinds);
    return status;
}

/* --- random numbers --------------------------------------------------------------------------- */

typedef struct generator {
    mia_device *device; /* that converts */
    uint64_t state;
    float normal[TABLE];
    float scaled[TABLE];                  /* times a tensor's spread */
    uint8_t table[TABLE * sizeof(float)]; /* the same as units of its type */
    uint8_t buffer[BUFFER];
} generator;

/* SplitMix64. */
static uint64_t draw(generator *g) {
    uint64_t z = g->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double draw_unit(generator *g) {
    return ((double)(draw(g) >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller's method. */
static void fill_normal(generator *g) {
    for (size_t i = 0; i < TABLE; i += 2) {
        double radius = sqrt(-2 * log(draw_unit(g))), angle = 6.283185307179586 * draw_unit(g);
        g->normal[i] = (float)(radius * cos(angle));
        g->normal[i + 1] = (float)(radius * sin(angle));
    }
}

static mia_status fill_table(generator *g, mia_dtype dtype, float spread, mia_error *error) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    for (size_t i = 0; i < TABLE; i++) g->scaled[i] = g->normal[i] * spread;
    mia_tensor_f32 scaled = mia_upload(f32, g->device, MIA_SHAPE(TABLE), g->scaled);
    mia_tensor units = mia_op_convert(scaled.untyped, dtype, __FILE__, __LINE__);
    return mia_tensor_read(units, g->table, TABLE / info->elements * info->bytes, error, __FILE__, __LINE__);
}

/* `count` units (numbers or blocks) at the front of the buffer. */
static void fill_units(generator *g, const mia_dtype_info *info, size_t count) {
    uint64_t bits = 0;
    for (size_t unit = 0; unit < count; unit++) {
        bits = unit % 4 == 0 ? draw(g) : bits >> 16;
        size_t at = bits % (TABLE / info->elements);
        memcpy(g->buffer + unit * info->bytes, g->table + at * info->bytes, info->bytes);
    }
}

static mia_status write_matrix(mia_gguf_writer *writer, generator *g, mia_dtype dtype, int64_t count,
                               double spread, mia_error *error) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    uint64_t units = (uint64_t)count / info->elements, most = BUFFER / info->bytes;
    mia_status status = fill_table(g, dtype, (float)spread, error);
    while (status == MIA_OK && units > 0) {
        size_t some = (size_t)(units < most ? units : most);
        fill_units(g, info, some);
        status = mia_gguf_writer_data(writer, g->buffer, some * info->bytes, error);
        units -= some;
    }
    return status;
}

static mia_status write_ones(mia_gguf_writer *writer, int64_t count, mia_error *error) {
    const float one = 1;
    mia_status status = MIA_OK;
    for (int64_t i = 0; status == MIA_OK && i < count; i++)
        status = mia_gguf_writer_data(writer, &one, sizeof one, error);
    return status;
}

/* --- the file --------------------------------------------------------------------------------- */

static void write_metadata(mia_gguf_writer *writer, const model_shape *s) {
    mia_gguf_writer_text(writer, "general.architecture", (mia_text){"llama", 5});
    mia_gguf_writer_text(writer, "general.name", (mia_text){"random", 6});
    if (mia_dtype_describe(s->dtype)->kind == MIA_KIND_BLOCK)
        mia_gguf_writer_u32(writer, "general.quantization_version", 2);
    mia_gguf_writer_u32(writer, "llama.context_length", (uint32_t)s->context);
    mia_gguf_writer_u32(writer, "llama.embedding_length", (uint32_t)s->dim);
    mia_gguf_writer_u32(writer, "llama.block_count", (uint32_t)s->layers);
    mia_gguf_writer_u32(writer, "llama.feed_forward_length", (uint32_t)s->ffn);
    mia_gguf_writer_u32(writer, "llama.attention.head_count", (uint32_t)s->heads);
    mia_gguf_writer_u32(writer, "llama.attention.head_count_kv", (uint32_t)s->kv_heads);
    mia_gguf_writer_u32(writer, "llama.rope.dimension_count", (uint32_t)s->head_dim);
    mia_gguf_writer_f32(writer, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    mia_gguf_writer_f32(writer, "llama.rope.freq_base", 10000);
    mia_gguf_writer_u32(writer, "llama.vocab_size", (uint32_t)s->vocab);
}

/* One tensor of the file. spread 0: a vector of ones, as norms begin. */
typedef struct plan_entry {
    const char *name;
    int64_t first, second;
    double spread;
} plan_entry;

#define LAYER_TENSORS 9

static void plan_layer(const model_shape *s, plan_entry *out) {
    int64_t kv = s->head_dim * s->kv_heads;
    double in = 1 / sqrt((double)s->dim), residual = 1 / sqrt(2.0 * (double)s->layers);
    const plan_entry entries[LAYER_TENSORS] = {
        {"attn_norm", s->dim, 0, 0},
        {"attn_q", s->dim, s->dim, in},
        {"attn_k", s->dim, kv, in},
        {"attn_v", s->dim, kv, in},
        {"attn_output", s->dim, s->dim, in * residual},
        {"ffn_norm", s->dim, 0, 0},
        {"ffn_gate", s->dim, s->ffn, in},
        {"ffn_up", s->dim, s->ffn, in},
        {"ffn_down", s->ffn, s->dim, 2 * residual / sqrt((double)s->ffn)},
    };
    memcpy(out, entries, sizeof entries);
}

/* Declares the tensor (g NULL) or writes its numbers; layer -1: of no layer. */
static mia_status write_entry(mia_gguf_writer *writer, const model_shape *s, const plan_entry *entry,
                              int64_t layer, generator *g, mia_error *error) {
    char name[64];
    if (layer < 0)
        snprintf(name, sizeof name, "%s.weight", entry->name);
    else
        snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)layer, entry->name);
    bool vector = entry->second == 0;
    if (g == NULL) {
        mia_gguf_writer_tensor(writer, name, vector ? MIA_f32 : s->dtype,
                               vector ? MIA_SHAPE(entry->first) : MIA_SHAPE(entry->first, entry->second));
        return MIA_OK;
    }
    if (vector) return write_ones(writer, entry->first, error);
    return write_matrix(writer, g, s->dtype, entry->first * entry->second, entry->spread, error);
}

/* All tensors in order: declared when g is NULL, else written. */
static mia_status write_tensors(mia_gguf_writer *writer, const model_shape *s, generator *g,
                                mia_error *error) {
    const plan_entry embedding = {"token_embd", s->dim, s->vocab, 1};
    const plan_entry norm = {"output_norm", s->dim, 0, 0};
    const plan_entry output = {"output", s->dim, s->vocab, 2 / sqrt((double)s->dim)};
    plan_entry layer[LAYER_TENSORS];
    plan_layer(s, layer);
    mia_status status = write_entry(writer, s, &embedding, -1, g, error);
    for (int64_t i = 0; status == MIA_OK && i < s->layers; i++)
        for (size_t k = 0; status == MIA_OK && k < LAYER_TENSORS; k++)
            status = write_entry(writer, s, &layer[k], i, g, error);
    if (status == MIA_OK) status = write_entry(writer, s, &norm, -1, g, error);
    if (status == MIA_OK) status = write_entry(writer, s, &output, -1, g, error);
    return status;
}

mia_status mia__cli_write_random_model(const char *spec, const char *path, mia_error *error) {
    model_shape shape;
    mia_gguf_writer *writer;
    mia_status status = parse_spec(spec, &shape, error);
    if (status != MIA_OK) return status;
    generator *g = mia_allocate_zeroed(NULL, 1, sizeof *g);
    if (g == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for random numbers");
    g->state = (uint64_t)shape.seed;
    fill_normal(g);
    status = mia_device_open(NULL, &g->device, error);
    if (status == MIA_OK) status = mia_gguf_writer_open(path, NULL, &writer, error);
    if (status == MIA_OK) {
        write_metadata(writer, &shape);
        status = write_tokenizer(writer, (size_t)shape.vocab, error);
        if (status == MIA_OK) status = write_tensors(writer, &shape, NULL, error);
        if (status == MIA_OK) status = write_tensors(writer, &shape, g, error);
        mia_status written = mia_gguf_writer_close(writer, status == MIA_OK ? error : NULL);
        if (status == MIA_OK) status = written;
    }
    mia_status closed = mia_device_close(g->device, status == MIA_OK ? error : NULL);
    mia_release(NULL, g, sizeof *g);
    return status == MIA_OK ? closed : status;
}
