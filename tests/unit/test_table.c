/* The table of operations as programs see it (mia_op_describe). Tags are written into files, so those that
 * were given out are frozen here: a row may be added, its tag never changed nor used again.
 * scripts/operations.py holds the macros of tensor.h against the table. */
#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef struct tag_of {
    const char *name;
    int tag;
} tag_of;

static const tag_of frozen[] = {
    {"reshape", 1},
    {"permute", 2},
    {"slice", 3},
    {"broadcast", 4},
    {"cast", 5},
    {"transpose", 6},
    {"squeeze", 7},
    {"unsqueeze", 8},
    {"copy", 16},
    {"convert", 17},
    {"concat", 18},
    {"pad", 19},
    {"gather", 20},
    {"embedding", 21},
    {"update", 22},
    {"take", 23},
    {"take_along", 24},
    {"scatter", 25},
    {"scatter_along", 26},
    {"roll", 27},
    {"tril", 28},
    {"triu", 29},
    {"add", 32},
    {"sub", 33},
    {"mul", 34},
    {"div", 35},
    {"min", 36},
    {"max", 37},
    {"pow", 38},
    {"mod", 39},
    {"fmod", 40},
    {"equal", 41},
    {"not_equal", 42},
    {"less", 43},
    {"less_equal", 44},
    {"greater", 45},
    {"greater_equal", 46},
    {"logical_and", 47},
    {"logical_or", 48},
    {"logical_xor", 49},
    {"where", 50},
    {"neg", 64},
    {"abs", 65},
    {"square", 66},
    {"relu", 67},
    {"sqrt", 68},
    {"rsqrt", 69},
    {"reciprocal", 70},
    {"exp", 71},
    {"log", 72},
    {"tanh", 73},
    {"sigmoid", 74},
    {"silu", 75},
    {"gelu", 76},
    {"gelu_tanh", 77},
    {"sign", 78},
    {"sin", 79},
    {"cos", 80},
    {"erf", 81},
    {"floor", 82},
    {"ceil", 83},
    {"round", 84},
    {"softplus", 85},
    {"hardswish", 86},
    {"squared_relu", 87},
    {"logical_not", 88},
    {"leaky_relu", 89},
    {"elu", 90},
    {"clamp", 91},
    {"sum", 128},
    {"mean", 129},
    {"reduce_max", 130},
    {"reduce_min", 131},
    {"prod", 132},
    {"any", 133},
    {"all", 134},
    {"argmax", 135},
    {"argmin", 136},
    {"cumsum", 144},
    {"sort", 145},
    {"argsort", 146},
    {"top_k", 147},
    {"top_k_indices", 148},
    {"softmax", 160},
    {"rms_norm", 161},
    {"layer_norm", 162},
    {"rope", 163},
    {"attention", 164},
    {"log_softmax", 165},
    {"l2_norm", 166},
    {"group_norm", 167},
    {"attention_masked", 168},
    {"matmul", 192},
    {"conv1d", 193},
    {"conv2d", 194},
    {"max_pool", 195},
    {"average_pool", 196},
    {"arange", 208},
    {"random_uniform", 209},
    {"random_normal", 210},
};

/* Two rows of one tag would be two equal cases, which does not compile. */
static const char *name_of(mia_op op) {
    switch ((int)op) {
#define MIA_OP(name, tag, signature, class, types, type_rule, shape_rule, bound, doc)                        \
    case tag:                                                                                                \
        return #name;
#include <mia/ops.def>
#undef MIA_OP
    default: return NULL;
    }
}

static void test_tags_are_frozen(void **state) {
    (void)state;
    size_t count = 0;
    for (size_t i = 0; i < sizeof frozen / sizeof *frozen; i++) {
        const mia_op_info *info = mia_op_describe((mia_op)frozen[i].tag);
        if (info == NULL || strcmp(info->name, frozen[i].name) != 0)
            fail_msg("tag %d was given to %s, and is now %s", frozen[i].tag, frozen[i].name,
                     info != NULL ? info->name : "nobody's");
    }
    for (int op = 0; op < MIA_OP_LIMIT; op++) {
        const mia_op_info *info = mia_op_describe((mia_op)op);
        const char *name = name_of((mia_op)op);
        assert_int_equal(info != NULL, name != NULL);
        if (info == NULL) continue;
        assert_string_equal(info->name, name);
        count++;
    }
    assert_int_equal(count, sizeof frozen / sizeof *frozen); /* a new row is frozen too */
}

#define BIT(type, unused) | (UINT64_C(1) << MIA_##type)

static void test_rows(void **state) {
    (void)state;
#define MIA_OP(op, tag, signature, class, set, type_rule, shape_rule, limit, text)                           \
    {                                                                                                        \
        const mia_op_info *info = mia_op_describe(MIA_OP_##op);                                              \
        assert_int_equal(info->op_class, MIA_CLASS_##class);                                                 \
        assert_true(info->types == (0 MIA_TYPES_##set(BIT, 0)));                                             \
        assert_true(info->operands >= 1 && info->operands <= 5);                                             \
        assert_true(info->bound == (double)(limit));                                                         \
        assert_string_equal(info->doc, text);                                                                \
        assert_true(text[0] != 0 && text[sizeof text - 2] != '.');                                           \
    }
#include <mia/ops.def>
#undef MIA_OP
}

static void test_types(void **state) {
    (void)state;
    uint64_t all = 0 MIA_TYPES_ALL(BIT, 0);
    for (int d = -1; d <= MIA_DTYPE_LIMIT; d++) {
        const mia_dtype_info *info = mia_dtype_describe((mia_dtype)d);
        assert_non_null(info);
        bool known = d > 0 && d < MIA_DTYPE_LIMIT && (all >> d & 1) != 0;
        assert_int_equal(info->bytes > 0, known); /* every type is in the set ALL */
        if (!known) assert_string_equal(info->name, "none");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags_are_frozen),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
