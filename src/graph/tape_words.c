/* Words of a tape (tape_words.h, docs/tape-format.md). Numbers of 64 bits are two words, the lower first. */
#include "graph/tape_words.h"

#include <string.h>

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct writer {
    const mia_allocator *allocator;
    mia__words *out;
    bool full;
} writer;

static void put(writer *w, uint32_t word) {
    mia__words *out = w->out;
    if (out->count == out->capacity) {
        size_t wanted = out->capacity == 0 ? 256 : out->capacity * 2;
        void *grown =
            mia_reallocate_array(w->allocator, out->words, out->capacity, wanted, sizeof *out->words);
        if (grown == NULL) {
            w->full = true;
            return;
        }
        out->words = grown;
        out->capacity = wanted;
    }
    out->words[out->count++] = word;
}

static void put_long(writer *w, uint64_t number) {
    put(w, (uint32_t)number);
    put(w, (uint32_t)(number >> 32));
}

static void put_real(writer *w, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_long(w, bits);
}

static void put_view(writer *w, const mia__view *view) {
    put(w, view->ndim);
    put_long(w, (uint64_t)view->offset);
    for (uint32_t m = 0; m < view->ndim; m++) {
        put_long(w, (uint64_t)view->extent[m]);
        put_long(w, (uint64_t)view->stride[m]);
    }
}

static uint32_t number_of(const mia__entry *entry, const mia__custom *const *customs, uint32_t custom_count) {
    if (entry->custom == NULL) return (uint32_t)entry->op;
    uint32_t i = 0;
    while (i < custom_count && customs[i] != entry->custom) i++;
    return MIA_OP_CUSTOM + i;
}

bool mia__tape_encode(const mia__tape_parts *parts, const mia__custom *const *customs, uint32_t custom_count,
                      const mia_allocator *allocator, mia__words *out) {
    writer w = {.allocator = allocator, .out = out};
    const mia__tape *tape = &parts->tape;
    put(&w, tape->count);
    put(&w, tape->leaf_count);
    put(&w, parts->input_count);
    put(&w, parts->output_count);
    for (uint32_t i = 0; i < parts->output_count; i++) put(&w, parts->outputs[i]);
    for (uint32_t i = 0; i < tape->count; i++) {
        const mia__entry *entry = &tape->entries[i];
        put(&w, number_of(entry, customs, custom_count));
        put(&w, (uint32_t)entry->dtype);
        put_view(&w, &entry->view);
        if (i < tape->leaf_count) {
            put(&w, i < parts->input_count ? i : parts->sources[i - parts->input_count]);
            put(&w, entry->alias);
            put_long(&w, entry->bytes);
            continue;
        }
        const mia__op_row *row = mia__op_row_of(entry->op, entry->custom);
        for (uint32_t k = 0; k < entry->operand_count; k++) put(&w, entry->operands[k]);
        for (uint32_t k = 0; k < row->integers; k++) put_long(&w, (uint64_t)entry->attributes.i[k]);
        for (uint32_t k = 0; k < row->reals; k++) put_real(&w, entry->attributes.f[k]);
    }
    return !w.full;
}

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct reader {
    const uint32_t *words;
    size_t count, at;
    const mia__custom *const *customs;
    uint32_t custom_count;
    const char *fault;
} reader;

/* Remembers the first fault. */
static bool faulty(reader *r, const char *fault) {
    if (r->fault == NULL) r->fault = fault;
    return false;
}

static uint32_t get(reader *r) {
    if (r->at < r->count) return r->words[r->at++];
    (void)faulty(r, "it ends too early");
    return 0;
}

static uint64_t get_long(reader *r) {
    uint64_t low = get(r);
    return low | (uint64_t)get(r) << 32;
}

static double get_real(reader *r) {
    uint64_t bits = get_long(r);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static bool get_view(reader *r, mia__view *view) {
    *view = (mia__view){.ndim = get(r)};
    if (view->ndim > MIA_MAX_MODES) return faulty(r, "a value has too many modes");
    view->offset = (int64_t)get_long(r);
    for (uint32_t m = 0; m < view->ndim; m++) {
        view->extent[m] = (int64_t)get_long(r);
        view->stride[m] = (int64_t)get_long(r);
    }
    return r->fault == NULL;
}

static bool get_type(reader *r, mia_dtype *dtype) {
    uint32_t number = get(r);
    *dtype = number < MIA_DTYPE_LIMIT ? (mia_dtype)number : MIA_NONE;
    return mia_dtype_describe(*dtype)->bytes > 0 || faulty(r, "a value is of no known type");
}

/* Whether every element of the view lies within `bytes` bytes. */
static bool lies_within(mia_dtype dtype, const mia__view *view, uint64_t bytes) {
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    mia_shape shape = mia__view_shape(view);
    size_t compact;
    if (mia__shape_check(dtype, &shape, &compact, "tape", NULL) != MIA_OK) return false;
    bool blocks = info->kind == MIA_KIND_BLOCK;
    if (blocks && view->stride[0] != 1 && view->extent[0] > (int64_t)info->elements) return false;
    if (compact == 0) return true;
    int64_t low = view->offset, high = view->offset, span;
    for (uint32_t m = 0; m < view->ndim; m++) {
        int64_t units = blocks && m == 0 ? view->extent[0] / info->elements : view->extent[m];
        if (__builtin_mul_overflow(units - 1, view->stride[m], &span)) return false;
        if (__builtin_add_overflow(span < 0 ? low : high, span, span < 0 ? &low : &high)) return false;
    }
    return low >= 0 && (uint64_t)high < bytes / info->bytes;
}

/* bases: of each entry, the bytes of the memory that it is, or looks into. */
static bool get_leaf(reader *r, mia__tape_parts *parts, uint32_t index, uint64_t *bases) {
    mia__entry *entry = &parts->tape.entries[index];
    bool is_input = index < parts->input_count;
    uint32_t source = get(r);
    entry->alias = get(r);
    uint64_t bytes = get_long(r);
    if (r->fault != NULL) return false;
    if (bytes > SIZE_MAX / 2) return faulty(r, "a value is too large");
    entry->bytes = (size_t)bytes;
    bases[index] = bytes;
    if (!lies_within(entry->dtype, &entry->view, bytes))
        return faulty(r, "a value does not lie within its memory");
    if (is_input) {
        bool whole = source == index && entry->alias == index &&
                     mia__view_is_compact(entry->dtype, &entry->view) &&
                     mia__view_bytes(entry->dtype, &entry->view) == bytes;
        return whole || faulty(r, "an input is not a whole value");
    }
    parts->sources[index - parts->input_count] = source;
    if (source != MIA__NO_INPUT) {
        bool good = source < parts->input_count && entry->alias == source && bases[source] == bytes;
        return good || faulty(r, "a value looks at no input");
    }
    bool good =
        entry->alias == index ||
        (entry->alias >= parts->input_count && entry->alias < index &&
         parts->tape.entries[entry->alias].alias == entry->alias &&
         parts->sources[entry->alias - parts->input_count] == MIA__NO_INPUT && bases[entry->alias] == bytes);
    return good || faulty(r, "a value shares its memory with none that could be");
}

static const mia__op_row *find_row(reader *r, uint32_t number, mia__entry *entry) {
    if (number >= MIA_OP_CUSTOM && number - MIA_OP_CUSTOM < r->custom_count) {
        entry->custom = r->customs[number - MIA_OP_CUSTOM];
        entry->op = entry->custom->row.op;
        return &entry->custom->row;
    }
    entry->op = number < MIA_OP_LIMIT ? (mia_op)number : MIA_OP_NONE;
    return mia__op_find(entry->op);
}

/* A view: within the memory of what it looks at, of the same type unless it is a cast. */
static bool check_view(reader *r, const mia__tape *tape, uint32_t index, uint64_t *bases) {
    const mia__entry *entry = &tape->entries[index], *from = &tape->entries[entry->operands[0]];
    bases[index] = bases[entry->operands[0]];
    bool blocks = mia_dtype_describe(from->dtype)->kind == MIA_KIND_BLOCK ||
                  mia_dtype_describe(entry->dtype)->kind == MIA_KIND_BLOCK;
    if (entry->dtype != from->dtype && (entry->op != MIA_OP_cast || blocks))
        return faulty(r, "a view changes the type");
    return lies_within(entry->dtype, &entry->view, bases[index]) ||
           faulty(r, "a view does not lie within what it looks at");
}

/* Any other operation: what its row's rules give of its operands. */
static bool check_result(reader *r, const mia__tape *tape, uint32_t index, const mia__op_row *row,
                         uint64_t *bases) {
    const mia__entry *entry = &tape->entries[index];
    mia__type types[MIA__MAX_OPERANDS], result;
    for (uint32_t k = 0; k < entry->operand_count; k++) {
        const mia__entry *operand = &tape->entries[entry->operands[k]];
        types[k] = (mia__type){operand->dtype, mia__view_shape(&operand->view)};
    }
    if (mia__op_result(row, types, entry->operand_count, &entry->attributes, &result, NULL) != MIA_OK)
        return faulty(r, "an operation does not take its operands");
    mia_shape shape = mia__view_shape(&entry->view);
    bool good =
        result.dtype == entry->dtype && mia__shape_equal(&result.shape, &shape) && entry->view.offset == 0;
    mia__view compact = mia__view_compact(result.dtype, &result.shape);
    good = good && memcmp(compact.stride, entry->view.stride, sizeof compact.stride) == 0;
    bases[index] = good ? mia__view_bytes(entry->dtype, &entry->view) : 0;
    return good || faulty(r, "an operation's result is not what it gives");
}

static bool get_operation(reader *r, mia__tape_parts *parts, uint32_t index, uint32_t number,
                          uint64_t *bases) {
    mia__entry *entry = &parts->tape.entries[index];
    const mia__op_row *row = find_row(r, number, entry);
    if (row == NULL) return faulty(r, "an operation is not known");
    entry->alias = index;
    entry->operand_count = row->info.operands;
    for (uint32_t k = 0; k < entry->operand_count; k++) {
        entry->operands[k] = get(r);
        if (entry->operands[k] >= index) return faulty(r, "an operation uses what comes after it");
    }
    for (uint32_t k = 0; k < row->integers; k++) entry->attributes.i[k] = (int64_t)get_long(r);
    for (uint32_t k = 0; k < row->reals; k++) entry->attributes.f[k] = get_real(r);
    if (r->fault != NULL) return false;
    return row->info.op_class == MIA_CLASS_VIEW ? check_view(r, &parts->tape, index, bases)
                                                : check_result(r, &parts->tape, index, row, bases);
}

static bool get_entries(reader *r, mia__tape_parts *parts, uint64_t *bases) {
    for (uint32_t i = 0; i < parts->tape.count; i++) {
        mia__entry *entry = &parts->tape.entries[i];
        uint32_t number = get(r);
        if (!get_type(r, &entry->dtype) || !get_view(r, &entry->view)) return false;
        bool leaf = i < parts->tape.leaf_count;
        if (leaf && number != MIA_OP_NONE) return faulty(r, "a value is made by an operation");
        if (!(leaf ? get_leaf(r, parts, i, bases) : get_operation(r, parts, i, number, bases))) return false;
    }
    for (uint32_t i = 0; i < parts->output_count; i++)
        parts->tape.entries[parts->outputs[i]].flags |= MIA__ENTRY_OUTLIVES;
    return r->at == r->count || faulty(r, "it goes on after its end");
}

/* Counts of what the words can hold at most, so that memory for them can be asked for. */
static bool get_counts(reader *r, mia__tape_parts *parts) {
    parts->tape.count = get(r);
    parts->tape.leaf_count = get(r);
    parts->input_count = get(r);
    parts->output_count = get(r);
    bool good = parts->tape.count <= r->count && parts->tape.leaf_count <= parts->tape.count &&
                parts->input_count <= parts->tape.leaf_count && parts->output_count > 0 &&
                parts->output_count <= r->count;
    return good || faulty(r, "its counts cannot be");
}

void mia__tape_parts_free(mia__tape_parts *parts, const mia_allocator *allocator) {
    uint32_t leaves = parts->tape.leaf_count - parts->input_count;
    mia_release(allocator, parts->sources, (leaves + 1u) * sizeof *parts->sources);
    mia_release(allocator, parts->outputs, parts->output_count * sizeof *parts->outputs);
    mia_release(allocator, parts->tape.entries, parts->tape.count * sizeof *parts->tape.entries);
    *parts = (mia__tape_parts){.tape = {0}};
}

bool mia__tape_decode(const uint32_t *words, size_t count, const mia__custom *const *customs,
                      uint32_t custom_count, const mia_allocator *allocator, mia__tape_parts *out,
                      const char **fault) {
    reader r = {.words = words, .count = count, .customs = customs, .custom_count = custom_count};
    mia__tape_parts parts = {.tape = {0}};
    *fault = NULL;
    if (!get_counts(&r, &parts)) {
        *fault = r.fault;
        return false;
    }
    uint32_t leaves = parts.tape.leaf_count - parts.input_count;
    parts.sources = mia_allocate_zeroed(allocator, leaves + 1u, sizeof *parts.sources);
    parts.outputs = mia_allocate_zeroed(allocator, parts.output_count, sizeof *parts.outputs);
    parts.tape.entries = mia_allocate_zeroed(allocator, parts.tape.count, sizeof *parts.tape.entries);
    uint64_t *bases = mia_allocate_zeroed(allocator, parts.tape.count, sizeof *bases);
    bool good = parts.sources != NULL && parts.outputs != NULL && parts.tape.entries != NULL && bases != NULL;
    for (uint32_t i = 0; good && i < parts.output_count; i++) {
        parts.outputs[i] = get(&r);
        good = parts.outputs[i] < parts.tape.count || faulty(&r, "an output is none of its values");
    }
    good = good && get_entries(&r, &parts, bases);
    mia_release(allocator, bases, parts.tape.count * sizeof *bases);
    if (good) {
        *out = parts;
        return true;
    }
    *fault = r.fault;
    mia__tape_parts_free(&parts, allocator);
    return false;
}
