/* Several small steps as jobs of one dispatch (kernel.h): a dispatch takes microseconds to begin, however little it does, and
 * those that need not wait for each other need not wait for that either.
 *
 *     fn j0_each(i) { ... }      steps' texts, in which all names of the module and all parameters have a prefix
 *     fn j1_each(i) { ... }
 *     fn main(...)               |  job 0: p.j0_each of p.j0_span  |  job 1  |      spans are whole workgroups
 *
 * Families describe a step as if it were alone. What they give is renamed here, bindings are shared. A step that does not go
 * into the dispatch (too many bindings, several dispatches) ends the group, and those before it are described again. */
#include "backend/webgpu/kernel.h"

#include "graph/ops.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MOST_NAMES    160   /* that a job's text declares */
#define MOST_ELEMENTS 65536 /* of a small step */
#define PREFIX        16

struct mia__jobs {
    mia__text text;  /* of the jobs so far */
    mia__text lines; /* of main */
    uint64_t spans;  /* of the jobs so far, together */
    uint32_t count;
    bool ended; /* the step that is being described has its job */
    double nanoseconds;
    char prefix[PREFIX]; /* of the job that is being described */
};

/* --- which steps ------------------------------------------------------------------------------ */

bool mia__kernel_is_small(const mia__plan *plan, const mia__step *step) {
    const mia__view *written = &step->output.view;
    bool known = false;
    switch ((int)step->op) {
    case MIA__OP_FUSED: known = step->core_count == 0; break;
    case MIA_OP_convert: known = mia_dtype_describe(step->output.dtype)->kind != MIA_KIND_BLOCK; break;
    case MIA_OP_copy:
    case MIA_OP_concat:
    case MIA_OP_pad:
    case MIA_OP_gather:
    case MIA_OP_embedding:
    case MIA_OP_take:
    case MIA_OP_take_along:
    case MIA_OP_rope: known = true; break;
    case MIA_OP_update: break;
    default: {
        const mia__op_row *row = mia__op_row_of(step->op, step->custom);
        known = row != NULL && row->info.op_class == MIA_CLASS_ELEMENTWISE;
    }
    }
    if (step->op == MIA_OP_update || (step->op == MIA__OP_FUSED && mia__step_writes_part(plan, step))) {
        known = true;
        written = &step->inputs[1].view;
    }
    return known && mia__view_count(written) <= MOST_ELEMENTS;
}

/* --- names ------------------------------------------------------------------------------------ */

typedef struct name {
    const char *at;
    size_t length;
} name;

typedef struct names {
    name list[MOST_NAMES];
    uint32_t count;
} names;

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static bool is_name(const name *n, const char *text) {
    return n->length == strlen(text) && memcmp(n->at, text, n->length) == 0;
}

/* The next word or number from `at` on; its length is 0 at the end. */
static name next_word(const char *at) {
    while (*at != 0 && !is_word(*at)) at++;
    name word = {at, 0};
    bool number = isdigit((unsigned char)*at) != 0;
    while (is_word(at[word.length]) || (number && at[word.length] == '.')) word.length++;
    return word;
}

/* What a text declares outside of functions; false when that is too much. */
static bool find_names(const char *text, names *out) {
    int depth = 0;
    bool declares = false; /* the word before began a declaration */
    out->count = 0;
    for (name word = next_word(text); word.length > 0; word = next_word(text)) {
        for (; text < word.at; text++) depth += *text == '{' ? 1 : *text == '}' ? -1 : 0;
        text += word.length;
        if (depth > 0) continue;
        if (declares) {
            if (out->count == MOST_NAMES) return false;
            out->list[out->count++] = word;
        }
        declares = is_name(&word, "fn") || is_name(&word, "const") || is_name(&word, "alias") ||
                   is_name(&word, "struct");
    }
    return true;
}

static bool is_declared(const names *declared, const name *word) {
    for (uint32_t i = 0; i < declared->count; i++)
        if (declared->list[i].length == word->length &&
            memcmp(declared->list[i].at, word->at, word->length) == 0)
            return true;
    return false;
}

/* Appends a text with a prefix before each name that it declares, and before the fields of p. */
static void put_renamed(mia__text *out, const char *text, const names *declared, const char *prefix) {
    const char *written = text;
    bool parameters = false; /* the word before was p */
    for (name word = next_word(text); word.length > 0; word = next_word(word.at + word.length)) {
        bool field = word.at > text && word.at[-1] == '.';
        if (field ? parameters : is_declared(declared, &word)) {
            mia__text_add(out, "%.*s%s", (int)(word.at - written), written, prefix);
            written = word.at;
        }
        parameters = !field && is_name(&word, "p");
    }
    mia__text_put(out, written);
}

/* --- jobs ------------------------------------------------------------------------------------- */

const char *mia__jobs_prefix(const mia__jobs *jobs) {
    return jobs->prefix;
}

/* A job gets whole workgroups. */
bool mia__jobs_add(mia__kernel *k, uint64_t count) {
    mia__jobs *jobs = k->jobs;
    uint64_t span = (count + MIA__KERNEL_INVOCATIONS - 1) / MIA__KERNEL_INVOCATIONS * MIA__KERNEL_INVOCATIONS;
    names declared;
    if (jobs->ended) return mia__kernel_refuse(k, "it has several dispatches");
    if (strstr(mia__text_get(&k->code), "var<") != NULL)
        return mia__kernel_refuse(k, "it has variables of its own outside of functions");
    if (!find_names(mia__text_get(&k->code), &declared))
        return mia__kernel_refuse(k, "its text has too many names");
    mia__kernel_u32(k, "each", count);
    mia__kernel_u32(k, "span", span);
    put_renamed(&jobs->text, mia__text_get(&k->code), &declared, jobs->prefix);
    jobs->text.failed = jobs->text.failed || k->code.failed;
    mia__text_add(
        &jobs->lines,
        "    if (i < p.%sspan) {\n        if (i < p.%seach) { %seach(i); }\n        return;\n    }\n"
        "    i -= p.%sspan;\n",
        jobs->prefix, jobs->prefix, jobs->prefix, jobs->prefix);
    double nanoseconds = k->nanoseconds > 0 ? k->nanoseconds : mia__kernel_estimate(16.0 * (double)count);
    if (nanoseconds > jobs->nanoseconds) jobs->nanoseconds = nanoseconds;
    jobs->spans += span;
    jobs->count++;
    jobs->ended = true;
    return k->why == NULL;
}

/* The dispatch of the jobs that are described. */
static bool end_jobs(mia__kernel *k, const mia__jobs *jobs) {
    if (jobs->text.failed || jobs->lines.failed) {
        k->status = MIA_ERROR_NO_MEMORY;
        return false;
    }
    if (jobs->count == 0) return true;
    mia__text_clear(&k->code);
    mia__kernel_put(k, mia__text_get(&jobs->text));
    mia__kernel_add(k,
                    "@compute @workgroup_size(%d)\n"
                    "fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: "
                    "vec3<u32>) {\n    var i = id.x + id.y * n.x * %du;\n",
                    MIA__KERNEL_INVOCATIONS, MIA__KERNEL_INVOCATIONS);
    mia__kernel_put(k, mia__text_get(&jobs->lines));
    mia__kernel_put(k, "}\n");
    k->nanoseconds = jobs->nanoseconds;
    return mia__kernel_end_flat(k, jobs->spans / MIA__KERNEL_INVOCATIONS);
}

/* Describes `count` steps as one dispatch; *good: how many of them went into it. */
static bool put_jobs(mia__kernel *k, uint32_t count, bool (*describe)(mia__kernel *k), uint32_t *good) {
    const mia__step *first = k->step;
    mia__jobs jobs = {.text.allocator = k->webgpu->allocator, .lines.allocator = k->webgpu->allocator};
    mia__kernel_begin(k);
    k->jobs = &jobs;
    for (*good = 0; *good < count; ++*good) {
        (void)snprintf(jobs.prefix, sizeof jobs.prefix, "j%u_", *good);
        jobs.ended = false;
        k->step = first + *good;
        if (!describe(k)) break;
    }
    k->jobs = NULL;
    k->step = first;
    bool ended = *good == count && end_jobs(k, &jobs);
    mia__text_free(&jobs.text);
    mia__text_free(&jobs.lines);
    return ended;
}

bool mia__kernel_jobs(mia__kernel *k, uint32_t count, bool (*describe)(mia__kernel *k)) {
    while (count > 1) {
        uint32_t good;
        if (put_jobs(k, count, describe, &good)) {
            k->taken = count;
            return true;
        }
        if (k->status != MIA_OK) return false;
        mia__kernel_again(k);
        count = good < count ? good : count - 1;
    }
    return false;
}
