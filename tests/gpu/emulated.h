/* WGSL for subgroups of 32 with subgroup matrices, as WGSL that needs neither: so that kernels of matrices, which no driver
 * on a CPU has in their shape, can be run and compared there. Of 32 invocations in a row each keeps its part of a matrix:
 *
 *     left [M][K]     row m = lane / 2
 *     right [K][N]    only where it lies, so that it may not change before its use
 *     result [M][N]   row m, columns lane % 2 * 8 .. + 8
 *
 * and what crosses invocations goes through workgroup memory. Little text matters more than speed: drivers take long to
 * compile it. Calls have to be written as the kernels write them. */
#ifndef MIA_TESTS_GPU_EMULATED_H
#define MIA_TESTS_GPU_EMULATED_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMULATED_MOST  8
#define EMULATED_BYTES 528 /* of workgroup memory that it takes, with 128 invocations */

typedef struct emulation {
    const char *source;
    char *text;
    size_t length, room;
    char functions[EMULATED_MOST][64]; /* that are called, by their names without em_ */
    size_t function_count;
} emulation;

/* A test that meets what it was not written for. */
static void emulated_end(const char *what, const char *at) {
    printf("error: %s: %.60s\n", what, at);
    exit(1);
}

static void emulated_put(emulation *e, const char *text, size_t length) {
    if (e->length + length + 1 > e->room) {
        e->room = 2 * (e->length + length + 1);
        e->text = realloc(e->text, e->room);
        if (e->text == NULL) emulated_end("no memory", "");
    }
    memcpy(e->text + e->length, text, length);
    e->length += length;
    e->text[e->length] = '\0';
}

__attribute__((format(printf, 2, 3))) static void emulated_add(emulation *e, const char *format, ...) {
    char text[3000];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text) emulated_end("too long", text);
    emulated_put(e, text, (size_t)length);
}

static bool emulated_skip(const char **at, const char *word) {
    if (strncmp(*at, word, strlen(word)) != 0) return false;
    *at += strlen(word);
    return true;
}

/* --- what calls become -------------------------------------------------------------------------------- */

static void emulated_word(const char **at, char *word, size_t bytes) {
    size_t length = strspn(*at, "abcdefghijklmnopqrstuvwxyz_0123456789");
    if (length >= bytes) emulated_end("a long name", *at);
    memcpy(word, *at, length);
    word[length] = '\0';
    *at += length;
}

/* `&array, ` or `&array[index], `: to a call of the array's own function, em_KIND_ARRAY(index, ; of a right matrix to its
 * number among the functions, em_reference(f, index, */
static void emulated_array(emulation *e, const char **at, const char *kind) {
    char array[32], name[64];
    if (!emulated_skip(at, "&")) emulated_end("not an array", *at);
    emulated_word(at, array, sizeof array);
    (void)snprintf(name, sizeof name, "%s_%s", kind, array);
    size_t f = 0;
    while (f < e->function_count && strcmp(e->functions[f], name) != 0) f++;
    if (f == EMULATED_MOST) emulated_end("more functions than are expected", name);
    if (f == e->function_count)
        (void)snprintf(e->functions[e->function_count++], sizeof e->functions[0], "%s", name);
    if (strncmp(kind, "right", 5) == 0)
        emulated_add(e, "em_reference(%zuu, ", f);
    else
        emulated_add(e, "em_%s(", name);
    size_t length = emulated_skip(at, "[") ? strcspn(*at, "]") : 0;
    emulated_put(e, length > 0 ? *at : "0u", length > 0 ? length : 2);
    *at += length > 0 ? length + 1 : 0;
}

/* Behind `subgroupMatrixLoad<subgroup_matrix_`: `left<f16, 16, 16>, row_major>(`. */
static void emulated_load(emulation *e, const char **at) {
    char side[16], order[16], kind[40];
    emulated_word(at, side, sizeof side);
    if (!emulated_skip(at, "<f16, 16, 16>, ") && !emulated_skip(at, "<f32, 16, 16>, "))
        emulated_end("another matrix", *at);
    emulated_word(at, order, sizeof order);
    if (!emulated_skip(at, ">(")) emulated_end("not a call", *at);
    (void)snprintf(kind, sizeof kind, "%s_%s", side, order);
    emulated_array(e, at, kind);
}

/* `a` has the type of v in the last function of teams (teams.h) before this call. */
static void emulated_team(emulation *e, const char *at) {
    static const char head[] = "(local: u32, v: ", alias[] = "alias PARTIAL = ";
    static const char *const types[] = {"f32", "vec2<f32>", "vec3<f32>", "vec4<f32>",
                                        "u32", "vec2<u32>", "vec3<u32>"};
    static const char *const functions[] = {"", "_2", "_3", "_4", "_u", "_2u", "_3u"};
    const char *type = NULL;
    for (const char *from = e->source; (from = strstr(from, head)) != NULL && from < at; from += strlen(head))
        type = from + strlen(head);
    if (type != NULL && strncmp(type, "PARTIAL", 7) == 0 && (type = strstr(e->source, alias)) != NULL)
        type += strlen(alias);
    for (size_t i = 0; type != NULL && i < sizeof types / sizeof *types; i++)
        if (strncmp(type, types[i], strlen(types[i])) == 0) {
            emulated_add(e, "em_shuffle%s(", functions[i]);
            return;
        }
    emulated_end("of another type", type != NULL ? type : at);
}

static void emulated_shuffle(emulation *e, const char *at) {
    if (strncmp(at, "a, ", 3) == 0)
        emulated_team(e, at);
    else
        emulated_add(e, "em_shuffle%s(", *at == 'n' ? "_whole" : strncmp(at, "all", 3) == 0 ? "_4" : "");
}

static bool emulated_call(emulation *e, const char **at) {
    static const struct {
        const char *name, *becomes;
    } plain[] = {{"subgroup_matrix_result<f32, 16, 16>()", "mat2x4<f32>()"},
                 {"subgroupMatrixMultiplyAccumulate(", "em_multiply("},
                 {"subgroupElect()", "(em_lane == 0u)"},
                 {"subgroupAdd(", "em_add("},
                 {"subgroupMax(", "em_max("}};
    if (emulated_skip(at, "subgroupMatrixLoad<subgroup_matrix_")) {
        emulated_load(e, at);
        return true;
    }
    if (emulated_skip(at, "subgroupMatrixStore<row_major>(")) {
        emulated_array(e, at, "store_row_major");
        return true;
    }
    if (emulated_skip(at, "subgroupShuffleXor(")) { /* whole numbers are n0, ..., vectors all0_0, ... */
        emulated_shuffle(e, *at);
        return true;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (emulated_skip(at, plain[i].name)) {
            emulated_add(e, "%s", plain[i].becomes);
            return true;
        }
    return false;
}

/* --- functions ---------------------------------------------------------------------------------------- */

typedef struct emulated_kind {
    const char *prefix, *parameters, *result; /* of the function; text behind the name */
    const char *row, *column;                 /* in memory, of number i or of (k, n) */
    int count;                                /* 0: right matrices, by k and n */
} emulated_kind;

static const emulated_kind emulated_kinds[] = {
    {"left_row_major_", "offset: u32, stride: u32", "mat4x4<f32>", "em_lane / 2u", "i", 16},
    {"right_col_major_", "offset: u32, stride: u32, k: u32, n: u32", "f32", "n", "k", 0},
    {"right_row_major_", "offset: u32, stride: u32, k: u32, n: u32", "f32", "k", "n", 0},
    {"result_row_major_", "offset: u32, stride: u32", "mat2x4<f32>", "em_lane / 2u", "em_lane % 2u * 8u + i",
     8},
    {"store_row_major_", "offset: u32, x: mat2x4<f32>, stride: u32", NULL, "em_lane / 2u",
     "em_lane % 2u * 8u + i", 8}};

/* Loads or stores of one array: `index` is of its first mode where it has two; offset and stride count what it is made of,
 * numbers or vectors of four. */
static void emulated_function(emulation *e, const char *name) {
    const emulated_kind *kind = emulated_kinds;
    while (strncmp(name, kind->prefix, strlen(kind->prefix)) != 0)
        if (++kind == emulated_kinds + sizeof emulated_kinds / sizeof *emulated_kinds)
            emulated_end("another order", name);
    const char *array = name + strlen(kind->prefix);
    char declaration[100], element[100];
    (void)snprintf(declaration, sizeof declaration, "var<workgroup> %s: array<", array);
    const char *type = strstr(e->source, declaration);
    if (type == NULL) emulated_end("not declared", array);
    type += strlen(declaration);
    bool nested = emulated_skip(&type, "array<"), quads = emulated_skip(&type, "vec4<");
    (void)snprintf(element, sizeof element, "%s%s%s", array, nested ? "[index]" : "",
                   quads ? "[q / 4u][q % 4u]" : "[q]");
    emulated_add(e, "fn em_%s(index: u32, %s)%s%s {\n", name, kind->parameters,
                 kind->result != NULL ? " -> " : "", kind->result != NULL ? kind->result : "");
    if (kind->count > 0 && kind->result != NULL) emulated_add(e, "    var x: %s;\n", kind->result);
    if (kind->count > 0) emulated_add(e, "    for (var i = 0u; i < %du + em_none; i++) {\n", kind->count);
    emulated_add(e, "    let q = (offset + (%s) * stride) * %du + %s;\n", kind->row, quads ? 4 : 1,
                 kind->column);
    if (kind->count == 0)
        emulated_add(e, "    return f32(%s);\n}\n", element);
    else if (kind->result == NULL)
        emulated_add(e, "    %s = x[i / 4u][i %% 4u];\n    }\n}\n", element);
    else
        emulated_add(e, "    x[i / 4u][i %% 4u] = f32(%s);\n    }\n    return x;\n}\n", element);
}

/* c + a b: b is the function of its numbers, and where they lie. */
static void emulated_multiply(emulation *e) {
    emulated_add(e, "fn em_reference(f: u32, index: u32, offset: u32, stride: u32) -> vec4<u32> {\n"
                    "    return vec4<u32>(f, index, offset, stride);\n}\n"
                    "fn em_right(b: vec4<u32>, k: u32, n: u32) -> f32 {\n    switch b.x {\n");
    for (size_t f = 0; f < e->function_count; f++)
        if (strncmp(e->functions[f], "right", 5) == 0)
            emulated_add(e, "    case %zuu: { return em_%s(b.y, b.z, b.w, k, n); }\n", f, e->functions[f]);
    emulated_add(
        e, "    default: { return 0.0; }\n    }\n}\n"
           "fn em_multiply(a: mat4x4<f32>, b: vec4<u32>, c: mat2x4<f32>) -> mat2x4<f32> {\n"
           "    var x = a;\n    var y = c;\n"
           "    for (var i = 0u; i < 128u + em_none; i++) {\n        let n = i / 16u;\n        let k = i %% "
           "16u;\n"
           "        y[n / 4u][n %% 4u] += x[k / 4u][k %% 4u] * em_right(b, k, em_lane %% 2u * 8u + n);\n"
           "    }\n    return y;\n}\n");
}

/* Of all invocations of a workgroup at once. `em_none` is 0, which no compiler knows: loops stay loops. */
static void emulated_functions(emulation *e, int invocations) {
    static const struct {
        const char *name, *step;
    } reductions[] = {{"add", "all + x"}, {"max", "max(all, x)"}};
    emulated_add(
        e,
        "var<private> em_local: u32;\nvar<private> em_lane: u32;\nvar<private> em_none: u32;\n"
        "var<workgroup> em_zero: atomic<u32>;\n"
        "var<workgroup> em_words: array<u32, %d>;\n"
        "fn em_share(x: u32) {\n    workgroupBarrier();\n    em_words[em_local] = x;\n    "
        "workgroupBarrier();\n}\n"
        "fn em_shuffle(x: f32, by: u32) -> f32 {\n"
        "    em_share(bitcast<u32>(x));\n    return bitcast<f32>(em_words[em_local ^ by]);\n}\n"
        "fn em_shuffle_whole(x: i32, by: u32) -> i32 {\n"
        "    em_share(bitcast<u32>(x));\n    return bitcast<i32>(em_words[em_local ^ by]);\n}\n"
        "fn em_shuffle_4(x: vec4<f32>, by: u32) -> vec4<f32> {\n"
        "    return vec4<f32>(em_shuffle(x.x, by), em_shuffle(x.y, by), em_shuffle(x.z, by), "
        "em_shuffle(x.w, by));\n}\n"
        "fn em_shuffle_3(x: vec3<f32>, by: u32) -> vec3<f32> {\n"
        "    return em_shuffle_4(vec4<f32>(x, 0.0), by).xyz;\n}\n"
        "fn em_shuffle_2(x: vec2<f32>, by: u32) -> vec2<f32> {\n"
        "    return em_shuffle_4(vec4<f32>(x, 0.0, 0.0), by).xy;\n}\n"
        "fn em_shuffle_u(x: u32, by: u32) -> u32 {\n    em_share(x);\n    return em_words[em_local ^ "
        "by];\n}\n"
        "fn em_shuffle_3u(x: vec3<u32>, by: u32) -> vec3<u32> {\n"
        "    return vec3<u32>(em_shuffle_u(x.x, by), em_shuffle_u(x.y, by), em_shuffle_u(x.z, by));\n}\n"
        "fn em_shuffle_2u(x: vec2<u32>, by: u32) -> vec2<u32> {\n"
        "    return em_shuffle_3u(vec3<u32>(x, 0u), by).xy;\n}\n",
        invocations);
    for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++)
        emulated_add(e,
                     "fn em_%s(own: f32) -> f32 {\n    em_share(bitcast<u32>(own));\n    let first = "
                     "em_local - em_lane;\n"
                     "    var all = bitcast<f32>(em_words[first]);\n    for (var i = 1u; i < 32u; i++) {\n"
                     "        let x = bitcast<f32>(em_words[first + i]);\n        all = %s;\n    }\n    "
                     "return all;\n}\n",
                     reductions[i].name, reductions[i].step);
    for (size_t f = 0; f < e->function_count; f++) emulated_function(e, e->functions[f]);
    if (e->function_count > 0) emulated_multiply(e);
}

/* --- the whole ---------------------------------------------------------------------------------------- */

/* The name behind a builtin, in `of` main's parameters; empty: it has none. */
static void emulated_parameter(const char *parameters, const char *builtin, char *name, size_t bytes) {
    char text[64];
    (void)snprintf(text, sizeof text, "@builtin(%s) ", builtin);
    const char *at = strstr(parameters, text);
    name[0] = '\0';
    if (at == NULL) return;
    at += strlen(text);
    emulated_word(&at, name, bytes);
}

/* From `fn main(` to its `{`, without the builtins of subgroups: they are computed. */
static void emulated_main(emulation *e, const char **at) {
    char parameters[1000], local[32], subgroup[32], lane[32];
    size_t length = strcspn(*at, "{");
    if (length >= sizeof parameters) emulated_end("long parameters", *at);
    memcpy(parameters, *at, length);
    parameters[length] = '\0';
    *at += length + 1;
    emulated_parameter(parameters, "local_invocation_index", local, sizeof local);
    emulated_parameter(parameters, "subgroup_id", subgroup, sizeof subgroup);
    emulated_parameter(parameters, "subgroup_invocation_id", lane, sizeof lane);
    if (local[0] == '\0') emulated_end("no local_invocation_index", parameters);
    char *end = strstr(parameters, ", @builtin(subgroup");
    if (end != NULL) (void)snprintf(end, sizeof parameters - (size_t)(end - parameters), ") ");
    emulated_add(e,
                 "%s{\n    em_local = %s;\n    em_lane = %s %% 32u;\n    em_none = atomicLoad(&em_zero);\n",
                 parameters, local, local);
    if (subgroup[0] != '\0') emulated_add(e, "    let %s = %s / 32u;\n", subgroup, local);
    if (lane[0] != '\0') emulated_add(e, "    let %s = em_lane;\n", lane);
}

/* The caller frees. */
static char *emulate(const char *wgsl) {
    static const char size[] = "@workgroup_size(";
    emulation e = {.source = wgsl};
    const char *invocations = strstr(wgsl, size);
    if (invocations == NULL) emulated_end("no workgroup size", wgsl);
    for (const char *at = wgsl; *at != '\0';) {
        if (emulated_skip(&at, "enable subgroups;\n") ||
            emulated_skip(&at, "enable chromium_experimental_subgroup_matrix;\n"))
            continue;
        if (strncmp(at, "fn main(", 8) == 0)
            emulated_main(&e, &at);
        else if (!emulated_call(&e, &at)) {
            if (strncmp(at, "subgroup", 8) == 0 && at[8] >= 'A' && at[8] <= 'Z')
                emulated_end("another function", at);
            emulated_put(&e, at++, 1);
        }
    }
    static const char named[] = "const INVOCATIONS = ";
    const char *number = invocations + strlen(size), *constant = strstr(wgsl, named);
    if (strncmp(number, "INVOCATIONS", 11) == 0 && constant != NULL) number = constant + strlen(named);
    emulated_functions(&e, (int)strtol(number, NULL, 10));
    return e.text;
}

#endif
