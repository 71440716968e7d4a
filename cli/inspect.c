/* `mia inspect MODEL [--json]`: what a weights file says about itself: metadata, tensors, totals. Nothing of
 * a file's text reaches the terminal unescaped. */
#include "commands.h"
#include "common.h"
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_ELEMENTS 6  /* of a long array */
#define SHOWN_TEXT     72 /* bytes of a long text */
#define SHOWN_NAME     200

static const char *type_name(mia_value_type type) {
    static const char *const names[] = {"u8",   "i8",   "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "text", "array", "u64", "i64", "f64"};
    return (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

static uint64_t parameters_of(const mia_tensor_info *tensor) {
    uint64_t count = 1;
    for (uint32_t i = 0; i < tensor->shape.ndim; i++) count *= (uint64_t)tensor->shape.extent[i];
    return count;
}

/* The fewest digits that give the same number back. */
static void format_float(double value, bool single, char *out, size_t size) {
    if (value == trunc(value) && fabs(value) < 1e9) {
        (void)snprintf(out, size, "%.0f", value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(out, size, "%.*g", digits, value);
        double back = strtod(out, NULL);
        if (back == value || (single && (float)back == (float)value) || isnan(value)) return;
    }
}

/* --- the table -------------------------------------------------------------------------------- */

static void print_value(const mia_value *value);

static void print_array(const mia_value *value) { // NOLINT(misc-no-recursion): as deep as the reader allows
    uint64_t shown = value->count < SHOWN_ELEMENTS ? value->count : SHOWN_ELEMENTS;
    (void)printf("[");
    for (uint64_t i = 0; i < shown; i++) {
        mia_value element = mia_value_element(value, i);
        if (i > 0) (void)printf(", ");
        print_value(&element);
    }
    (void)printf(shown < value->count ? ", ...]" : "]");
}

static void print_value(const mia_value *value) { // NOLINT(misc-no-recursion)
    char text[SHOWN_TEXT];
    switch (value->type) {
    case MIA_VALUE_STRING:
        (void)mia_text_escape(value->as.text, text, sizeof text);
        (void)printf("\"%s\"", text);
        break;
    case MIA_VALUE_ARRAY: print_array(value); break;
    case MIA_VALUE_BOOL: (void)printf(value->as.u != 0 ? "true" : "false"); break;
    case MIA_VALUE_F32:
    case MIA_VALUE_F64:
        format_float(value->as.f, value->type == MIA_VALUE_F32, text, sizeof text);
        (void)printf("%s", text);
        break;
    case MIA_VALUE_I8:
    case MIA_VALUE_I16:
    case MIA_VALUE_I32:
    case MIA_VALUE_I64: (void)printf("%" PRId64, value->as.i); break;
    case MIA_VALUE_U8:
    case MIA_VALUE_U16:
    case MIA_VALUE_U32:
    case MIA_VALUE_U64: (void)printf("%" PRIu64, value->as.u); break;
    }
}

static void format_type(const mia_value *value, char *out, size_t size) {
    if (value->type == MIA_VALUE_ARRAY)
        (void)snprintf(out, size, "%s[%" PRIu64 "]", type_name(value->element_type), value->count);
    else
        (void)snprintf(out, size, "%s", type_name(value->type));
}

static int widest_key(const mia_weights *weights) {
    size_t widest = 0;
    char name[SHOWN_NAME];
    for (size_t i = 0; i < mia_weights_metadata_count(weights); i++) {
        mia_text key;
        (void)mia_weights_metadata(weights, i, &key);
        size_t width = mia_text_escape(key, name, sizeof name);
        if (width > widest) widest = width;
    }
    return (int)widest;
}

static void print_metadata(const mia_weights *weights) {
    size_t count = mia_weights_metadata_count(weights);
    int width = widest_key(weights);
    (void)printf("metadata (%zu)\n", count);
    for (size_t i = 0; i < count; i++) {
        char name[SHOWN_NAME], type[40];
        mia_text key;
        mia_value value = mia_weights_metadata(weights, i, &key);
        (void)mia_text_escape(key, name, sizeof name);
        format_type(&value, type, sizeof type);
        (void)printf("  %-*s  %-12s  ", width, name, type);
        print_value(&value);
        (void)printf("\n");
    }
}

static void format_shape(const mia_shape *shape, char *out, size_t size) {
    size_t length = 0;
    out[length++] = '[';
    for (uint32_t i = 0; i < shape->ndim; i++)
        length += (size_t)snprintf(out + length, size - length, i > 0 ? ", %" PRId64 : "%" PRId64,
                                   shape->extent[i]);
    (void)snprintf(out + length, size - length, "]");
}

static void print_tensors(const mia_weights *weights) {
    size_t count = mia_weights_tensor_count(weights);
    size_t width = sizeof "name" - 1;
    char name[SHOWN_NAME], shape[MIA_MAX_MODES * 24];
    for (size_t i = 0; i < count; i++) {
        size_t length = mia_text_escape(mia_weights_tensor_at(weights, i)->name, name, sizeof name);
        if (length > width) width = length;
    }
    (void)printf("tensors (%zu)\n", count);
    if (count > 0)
        (void)printf("  %-*s  %-7s  %-20s  %14s  %14s\n", (int)width, "name", "type", "shape", "bytes",
                     "offset");
    for (size_t i = 0; i < count; i++) {
        const mia_tensor_info *tensor = mia_weights_tensor_at(weights, i);
        (void)mia_text_escape(tensor->name, name, sizeof name);
        format_shape(&tensor->shape, shape, sizeof shape);
        (void)printf("  %-*s  %-7s  %-20s  %14" PRIu64 "  %14" PRIu64 "%s\n", (int)width, name,
                     tensor->type_name, shape, tensor->bytes, tensor->offset,
                     tensor->dtype == MIA_NONE ? "  (listed only: Mia does not compute with this type)" : "");
    }
}

typedef struct totals {
    uint64_t bytes, parameters;
} totals;

static totals add_up(const mia_weights *weights) {
    totals sum = {0, 0};
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++) {
        const mia_tensor_info *tensor = mia_weights_tensor_at(weights, i);
        sum.bytes += tensor->bytes;
        sum.parameters += parameters_of(tensor);
    }
    return sum;
}

static void print_table(const mia_weights *weights) {
    totals sum = add_up(weights);
    (void)printf("%s: %" PRIu64 " bytes\n\n", mia_weights_name(weights), mia_weights_size(weights));
    print_metadata(weights);
    (void)printf("\n");
    print_tensors(weights);
    (void)printf("\ntotal: %zu tensors, %" PRIu64 " parameters, %" PRIu64 " bytes of tensor data",
                 mia_weights_tensor_count(weights), sum.parameters, sum.bytes);
    if (sum.parameters > 0)
        (void)printf(" (%.2f bits each)", 8.0 * (double)sum.bytes / (double)sum.parameters);
    (void)printf("\n");
}

/* --- JSON ------------------------------------------------------------------------------------- */

#ifdef MIA_HAVE_JSON_C

static json_object *json_of_text(mia_text text) {
    return mia__cli_json_text(text.bytes, text.length);
}

/* JSON has no numbers that are not finite: those become text. */
static json_object *json_of_float(double value, bool single) {
    char text[40];
    if (!isfinite(value)) return json_object_new_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    format_float(value, single, text, sizeof text);
    return json_object_new_double_s(value, text);
}

static json_object *json_of_value(const mia_value *value) { // NOLINT(misc-no-recursion)
    switch (value->type) {
    case MIA_VALUE_STRING: return json_of_text(value->as.text);
    case MIA_VALUE_BOOL: return json_object_new_boolean(value->as.u != 0);
    case MIA_VALUE_F32:
    case MIA_VALUE_F64: return json_of_float(value->as.f, value->type == MIA_VALUE_F32);
    case MIA_VALUE_I8:
    case MIA_VALUE_I16:
    case MIA_VALUE_I32:
    case MIA_VALUE_I64: return json_object_new_int64(value->as.i);
    case MIA_VALUE_U8:
    case MIA_VALUE_U16:
    case MIA_VALUE_U32:
    case MIA_VALUE_U64: return json_object_new_uint64(value->as.u);
    case MIA_VALUE_ARRAY: break;
    }
    json_object *array = json_object_new_array();
    for (uint64_t i = 0; array != NULL && i < value->count; i++) {
        mia_value element = mia_value_element(value, i);
        (void)json_object_array_add(array, json_of_value(&element));
    }
    return array;
}

static json_object *json_of_metadata(const mia_weights *weights) {
    json_object *list = json_object_new_array();
    for (size_t i = 0; i < mia_weights_metadata_count(weights); i++) {
        mia_text key;
        mia_value value = mia_weights_metadata(weights, i, &key);
        json_object *entry = json_object_new_object();
        (void)json_object_object_add(entry, "key", json_of_text(key));
        (void)json_object_object_add(entry, "type", json_object_new_string(type_name(value.type)));
        if (value.type == MIA_VALUE_ARRAY)
            (void)json_object_object_add(entry, "element_type",
                                         json_object_new_string(type_name(value.element_type)));
        (void)json_object_object_add(entry, "value", json_of_value(&value));
        (void)json_object_array_add(list, entry);
    }
    return list;
}

static json_object *json_of_tensors(const mia_weights *weights) {
    json_object *list = json_object_new_array();
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++) {
        const mia_tensor_info *tensor = mia_weights_tensor_at(weights, i);
        json_object *entry = json_object_new_object();
        json_object *shape = json_object_new_array();
        for (uint32_t mode = 0; mode < tensor->shape.ndim; mode++)
            (void)json_object_array_add(shape, json_object_new_int64(tensor->shape.extent[mode]));
        (void)json_object_object_add(entry, "name", json_of_text(tensor->name));
        (void)json_object_object_add(entry, "type", json_object_new_string(tensor->type_name));
        (void)json_object_object_add(entry, "shape", shape);
        (void)json_object_object_add(entry, "offset", json_object_new_uint64(tensor->offset));
        (void)json_object_object_add(entry, "bytes", json_object_new_uint64(tensor->bytes));
        (void)json_object_array_add(list, entry);
    }
    return list;
}

static int print_json(const mia_weights *weights) {
    totals sum = add_up(weights);
    const char *name = mia_weights_name(weights);
    json_object *root = json_object_new_object();
    (void)json_object_object_add(root, "file", mia__cli_json_text(name, strlen(name)));
    (void)json_object_object_add(root, "bytes", json_object_new_uint64(mia_weights_size(weights)));
    (void)json_object_object_add(root, "parameters", json_object_new_uint64(sum.parameters));
    (void)json_object_object_add(root, "tensor_bytes", json_object_new_uint64(sum.bytes));
    (void)json_object_object_add(root, "metadata", json_of_metadata(weights));
    (void)json_object_object_add(root, "tensors", json_of_tensors(weights));
    return mia__cli_json_print("inspect", root);
}

#endif

/* --- the command ------------------------------------------------------------------------------ */

static int show(const char *path, bool json) {
#ifndef MIA_HAVE_JSON_C
    if (json)
        return mia__cli_fail("inspect",
                             "this build has no JSON support (install libjson-c-dev and configure again)");
#endif
    mia_weights *weights = NULL;
    mia_error error = {0};
    int code = MIA__CLI_OK;
    if (mia_weights_open_file(path, NULL, &weights, &error) != MIA_OK)
        return mia__cli_fail("inspect", "%s", error.message);
#ifdef MIA_HAVE_JSON_C
    if (json) code = print_json(weights);
#endif
    if (!json) print_table(weights);
    mia_weights_close(weights);
    return code;
}

int mia__cli_inspect(int argc, char **argv) {
    const char *model = NULL;
    bool json = false;
    const mia__cli_argument arguments[] = {{"MODEL.gguf", true, &model, "the file to look into"}};
    const mia__cli_option options[] = {
        {.name = "--json",
         .kind = MIA__CLI_FLAG,
         .target = &json,
         .help = "everything, arrays in full, as one JSON object"},
    };
    const mia__cli_command command = {
        .name = "inspect",
        .summary = "Shows the metadata and the tensors of a GGUF file. No tensor data is read.",
        .arguments = arguments,
        .argument_count = 1,
        .options = options,
        .option_count = 1,
    };
    int code = mia__cli_parse(&command, argc, argv);
    return code >= 0 ? code : show(model, json);
}
