/* The layout algebra against CuTe: values quoted from its documentation and tests (NVIDIA/cutlass; each group
 * names the file), the 4,000 rows made with its Python model where they are at hand, and the examples of
 * docs/layout.md. */
#include <mia/layout.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct quoted {
    const char *operation, *a, *b, *expected;
} quoted;

static bool holds(const quoted *row) {
    char text[MIA_LAYOUT_MAX_TEXT] = "";
    mia_error error = {0};
    mia_status status = mia_layout_evaluate(row->operation, row->a, row->b, text, sizeof text, &error);
    if (status == MIA_OK && strcmp(text, row->expected) == 0) return true;
    print_error("%s %s %s: expected %s, got %s\n", row->operation, row->a, row->b == NULL ? "" : row->b,
                row->expected, status == MIA_OK ? text : error.message);
    return false;
}

static void check(const quoted *rows, size_t count) {
    size_t failures = 0;
    for (size_t i = 0; i < count; i++) failures += !holds(&rows[i]);
    assert_int_equal(failures, 0);
}
#define CHECK(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

/* media/docs/cpp/cute/01_layout.md: layouts of a shape, coordinates, sub-layouts, concatenation, grouping and
 * flattening; the groups of (4,5,6): media/docs/cutlass_compiler/cute_concepts/02_layout_algebra/core_ops.rst */
static void layouts(void **state) {
    (void)state;
    const quoted rows[] = {
        {"flatten", "(2,(2,2))", NULL, "(2,2,2):(1,2,4)"},
        {"index", "(2,(2,2)):(4,(2,1))", "1", "4"},
        {"index", "(2,(2,2)):(4,(2,1))", "4", "1"},
        {"index", "(2,4):(12,1)", "(1,2)", "14"},
        {"index", "((4,2)):((2,1))", "5", "3"},
        {"coordinate", "(3,(2,3))", "16", "(1,(1,2))"},
        {"coordinate", "(3,(2,3))", "10", "(1,(1,1))"},
        {"index", "(3,(2,3)):(3,(12,1))", "16", "17"},
        {"index", "(3,(2,3)):(3,(12,1))", "(1,5)", "17"},
        {"index", "(3,(2,3)):(3,(12,1))", "(1,(1,2))", "17"},
        {"flatten", "((2,3),5,7):((1,2),6,30)", NULL, "(2,3,5,7):(1,2,6,30)"},
        {"depth", "(3,(6,2),8)", NULL, "2"},
        {"mode", "(4,(3,6))", "0", "4:1"},
        {"mode", "(4,(3,6))", "1", "(3,6):(4,12)"},
        {"mode", "(3,6):(4,12)", "1", "6:12"},
        {"concatenate", "3:1", "4:3", "(3,4):(1,3)"},
        {"concatenate", "4:3", "3:1", "(4,3):(3,1)"},
        {"concatenate", "(3,4):(1,3)", "(4,3):(3,1)", "((3,4),(4,3)):((1,3),(3,1))"},
        {"group", "(_2,_3,_5,_7):(_1,_2,_6,_30)", "(0,2)", "((2,3),5,7):((1,2),6,30)"},
        {"group", "((2,3),5,7):((1,2),6,30)", "(1,3)", "((2,3),(5,7)):((1,2),(6,30))"},
        {"flatten", "((2,3),(5,7)):((1,2),(6,30))", NULL, "(2,3,5,7):(1,2,6,30)"},
        {"group", "(4,5,6):(1,4,20)", "(0,2)", "((4,5),6):((1,4),20)"},
        {"group", "(4,5,6):(1,4,20)", "(1,3)", "(4,(5,6)):(1,(4,20))"},
        {"group", "(4,5,6):(1,4,20)", "(0,3)", "((4,5,6)):((1,4,20))"},
    };
    CHECK(rows);
}

/* media/docs/cpp/cute/02_layout_algebra.md; the profile (1,1) of a larger layout:
 * media/docs/cutlass_compiler/cute_concepts/02_layout_algebra/core_ops.rst; (24,6):(4,2):
 * examples/python/CuTeDSL/notebooks/cute_layout_algebra.ipynb */
static void coalesce(void **state) {
    (void)state;
    const quoted rows[] = {
        {"coalesce", "(_2,(_1,_6)):(_1,(_6,_2))", NULL, "12:1"},
        {"coalesce", "(_2,(_1,_6)):(_1,(_6,_2))", "(1,1)", "(2,6):(1,2)"},
        {"coalesce", "(3,(4,5)):(8,(1,4))", "(1,1)", "(3,20):(8,1)"},
        {"coalesce", "((2,(3,4)),(3,2),1):((4,(8,24)),(2,6),12)", NULL, "(24,6):(4,2)"},
    };
    CHECK(rows);
}

/* media/docs/cpp/cute/02_layout_algebra.md, also by mode, with a shape and with a tuple of layouts as the
 * tiler */
static void composition(void **state) {
    (void)state;
    const quoted rows[] = {
        {"compose", "(6,2):(8,2)", "(4,3):(3,1)", "((2,2),3):((24,2),8)"},
        {"compose", "20:2", "(5,4):(4,1)", "(5,4):(8,2)"},
        {"compose", "(10,2):(16,4)", "(5,4):(1,5)", "(5,(2,2)):(16,(80,4))"},
        {"compose", "(12,(4,8)):(59,(13,1))", "<3:4,8:2>", "(3,(2,4)):(236,(26,1))"},
        {"compose", "(12,(4,8)):(59,(13,1))", "(3,8)", "(3,(4,2)):(59,(13,1))"},
        {"compose", "(3,6,2,8):(1000,100,10,1)", "16:9", "(2,2,4):(300,10,1)"}, /* (9w,3x,y,z), x = 100: 3x */
    };
    CHECK(rows);
}

/* media/docs/cpp/cute/02_layout_algebra.md; inverses: .../02_layout_algebra/core_ops.rst */
static void complement_and_inverses(void **state) {
    (void)state;
    const quoted rows[] = {
        {"complement", "4:1", "24", "6:4"},
        {"complement", "6:4", "24", "4:1"},
        {"complement", "(4,6):(1,4)", "24", "1:0"},
        {"complement", "4:2", "24", "(2,3):(1,8)"},
        {"complement", "(2,4):(1,6)", "24", "3:2"},
        {"complement", "(2,2):(1,6)", "24", "(3,2):(2,12)"},
        {"complement", "(2,2):(4,1)", "24", "(2,3):(2,8)"},
        {"right_inverse", "(2,4,6):(4,1,8)", NULL, "(4,2,6):(2,1,8)"},
        {"left_inverse", "(2,4,6):(4,1,8)", NULL, "(4,2,6):(2,1,8)"},
        {"right_inverse", "(2,4):(4,1)", NULL, "(4,2):(2,1)"},
        {"left_inverse", "(2,4):(4,1)", NULL, "(4,2):(2,1)"},
    };
    CHECK(rows);
}

/* The output cells of examples/python/CuTeDSL/notebooks/cute_layout_algebra.ipynb; the four shapes of one
 * division:
 * .../02_layout_algebra/products_and_divides.rst; from 16:3 on: media/docs/cute/02_layout_operations.md */
static void divide(void **state) {
    (void)state;
    const quoted rows[] = {
        {"logical_divide", "(4,2,3):(2,1,8)", "4:2", "((2,2),(2,3)):((4,1),(2,8))"},
        {"logical_divide", "(9,(4,8)):(59,(13,1))", "<3:3,(2,4):(1,8)>",
         "((3,3),((2,4),(2,2))):((177,59),((13,2),(26,1)))"},
        {"zipped_divide", "(9,(4,8)):(59,(13,1))", "<3:3,(2,4):(1,8)>",
         "((3,(2,4)),(3,(2,2))):((177,(13,2)),(59,(26,1)))"},
        {"tiled_divide", "(9,(4,8)):(59,(13,1))", "<3:3,(2,4):(1,8)>",
         "((3,(2,4)),3,(2,2)):((177,(13,2)),59,(26,1))"},
        {"flat_divide", "(9,(4,8)):(59,(13,1))", "<3:3,(2,4):(1,8)>",
         "(3,(2,4),3,(2,2)):(177,(13,2),59,(26,1))"},
        {"compose", "(9,(4,8)):(59,(13,1))", "<3:3,(2,4):(1,8)>", "(3,(2,4)):(177,(13,2))"},
        {"logical_divide", "(6,8):(8,1)", "(3,4)", "((3,2),(4,2)):((8,24),(1,4))"},
        {"zipped_divide", "(6,8):(8,1)", "(3,4)", "((3,4),(2,2)):((8,1),(24,4))"},
        {"tiled_divide", "(6,8):(8,1)", "(3,4)", "((3,4),2,2):((8,1),24,4)"},
        {"flat_divide", "(6,8):(8,1)", "(3,4)", "(3,4,2,2):(8,1,24,4)"},
        {"logical_divide", "(6,8):(8,1)", "<(3):(1),(4):(1)>", "(((3),2),((4),2)):(((8),24),((1),4))"},
        {"logical_divide", "(6,8):(8,1)", "(3,4):(1,3)", "((3,(2,2)),4):((8,(24,1)),2)"},
        {"logical_divide", "16:3", "4:1", "(4,4):(3,12)"},
        {"logical_divide", "16:3", "4:4", "(4,4):(12,3)"},
        {"logical_divide", "16:3", "4:2", "(4,(2,2)):(6,(3,24))"},
        {"logical_divide", "16:3", "(2,2):(4,1)", "((2,2),(2,2)):((12,3),(6,24))"},
        {"logical_divide", "((3,2),(4,2)):((16,1),(4,2))", "<2:3,2:4>", "((2,3),(2,4)):((1,16),(2,4))"},
        {"zipped_divide", "((3,2),(4,2)):((16,1),(4,2))", "<2:3,2:4>", "((2,2),(3,4)):((1,2),(16,4))"},
        {"logical_divide", "(12,32,6):(1,128,0)", "(4,8)", "((4,3),(8,4),6):((1,4),(128,1024),0)"},
        {"zipped_divide", "(12,32,6):(1,128,0)", "(4,8)", "((4,8),(3,4,6)):((1,128),(4,1024,0))"},
        {"logical_divide", "(12,(4,8),6):(1,(32,512),0)", "(4,8)",
         "((4,3),((4,2),4),6):((1,4),((32,512),1024),0)"},
        {"zipped_divide", "(12,(4,8),6):(1,(32,512),0)", "(4,8)",
         "((4,(4,2)),(3,4,6)):((1,(32,512)),(4,1024,0))"},
    };
    CHECK(rows);
}

/* (2,5):(5,1): the notebook as above, and test/python/pycute/test_logical_product.py for 4 copies;
 * (3,4):(4,1): products_and_divides.rst; 2x2 tiles: 02_layout_operations.md */
static void product(void **state) {
    (void)state;
    const quoted rows[] = {
        {"logical_product", "(2,2):(4,1)", "6:1", "((2,2),(2,3)):((4,1),(2,8))"},
        {"logical_product", "(2,2):(4,1)", "(3,2):(2,1)", "((2,2),(3,2)):((4,1),(8,2))"},
        {"zipped_product", "(2,5):(5,1)", "(3,4):(1,3)", "((2,5),(3,4)):((5,1),(10,30))"},
        {"tiled_product", "(2,5):(5,1)", "(3,4):(1,3)", "((2,5),3,4):((5,1),10,30)"},
        {"flat_product", "(2,5):(5,1)", "(3,4):(1,3)", "(2,5,3,4):(5,1,10,30)"},
        {"blocked_product", "(2,5):(5,1)", "(3,4):(1,3)", "((2,3),(5,4)):((5,10),(1,30))"},
        {"raked_product", "(2,5):(5,1)", "(3,4):(1,3)", "((3,2),(4,5)):((10,5),(30,1))"},
        {"logical_product", "(2,5):(5,1)", "4", "((2,5),4):((5,1),10)"},
        {"logical_product", "2:5", "4",
         "(2,4):(5,1)"}, /* by mode: what that test puts together from these two */
        {"logical_product", "5:1", "2", "(5,2):(1,5)"},
        {"logical_product", "(2,5):(5,1)", "(4,2)", "((2,4),(5,2)):((5,1),(1,5))"},
        {"zipped_product", "(2,5):(5,1)", "(4,2)", "((2,5),(4,2)):((5,1),(1,5))"},
        {"tiled_product", "(2,5):(5,1)", "<4:1,2:1>", "((2,5),4,2):((5,1),1,5)"},
        {"logical_product", "(3,4):(4,1)", "(2,5):(1,2)", "((3,4),(2,5)):((4,1),(12,24))"},
        {"zipped_product", "(3,4):(4,1)", "(2,5):(1,2)", "((3,4),(2,5)):((4,1),(12,24))"},
        {"tiled_product", "(3,4):(4,1)", "(2,5):(1,2)", "((3,4),2,5):((4,1),12,24)"},
        {"flat_product", "(3,4):(4,1)", "(2,5):(1,2)", "(3,4,2,5):(4,1,12,24)"},
        {"blocked_product", "(3,4):(4,1)", "(2,5):(1,2)", "((3,2),(4,5)):((4,12),(1,24))"},
        {"raked_product", "(3,4):(4,1)", "(2,5):(1,2)", "((2,3),(5,4)):((12,4),(24,1))"},
        {"blocked_product", "(2,2):(1,2)", "(4,4)",
         "((2,4),(2,4)):((1,4),(2,16))"}, /* what tile_to_shape makes of an (8,8) there */
        {"blocked_product", "(2,2):(1,2)", "(3,4):(4,1)", "((2,3),(2,4)):((1,16),(2,4))"},
        {"logical_product", "(2,2):(1,2)", "(3,4):(4,1)", "((2,2),(3,4)):((1,2),(16,4))"},
        {"raked_product", "(2,2):(1,2)", "(3,4):(4,1)", "((3,2),(4,2)):((16,1),(4,2))"},
    };
    CHECK(rows);
}

/* media/docs/cpp/cute/03_tensor.md, "Slicing a Tensor": the layouts B to F are quoted; the offsets, which the
 * page moves the pointer by, are those of the coordinate with 0 for `_`. */
static void slice(void **state) {
    (void)state;
    const char *a = "((_3,2),(2,_5,_2)):((4,1),(_2,13,100))";
    const quoted rows[] = {
        {"slice", a, "(2,_)", "((2,5,2)):((2,13,100)) @ 8"},
        {"slice", a, "(_,5)", "((3,2)):((4,1)) @ 28"},
        {"slice", a, "((_,_),5)", "(3,2):(4,1) @ 28"},
        {"slice", a, "((_,1),(0,_,1))", "(3,5):(4,13) @ 101"},
        {"slice", a, "((2,_),(_,3,_))", "(2,2,2):(1,2,100) @ 47"},
    };
    CHECK(rows);
}

/* test/python/pycute/test_swizzle.py: twelve places under four swizzles, checked there against the C++ as
 * well */
static void swizzle(void **state) {
    (void)state;
    static const int64_t places[12] = {0, 1, 2, 7, 8, 9, 15, 16, 63, 64, 255, 256};
    static const struct {
        mia_swizzle swizzle;
        int64_t expected[12];
    } cases[] = {
        {{0, 4, 0}, {0, 1, 2, 7, 8, 9, 15, 16, 63, 64, 255, 256}},
        {{2, 3, -3}, {0, 1, 2, 7, 72, 73, 79, 144, 255, 64, 63, 256}},
        {{1, 0, 1}, {0, 1, 3, 6, 8, 9, 14, 16, 62, 64, 254, 256}},
        {{3, 2, 3}, {0, 1, 2, 7, 8, 9, 15, 16, 59, 72, 227, 256}},
        {{2, 1, -2}, {0, 1, 10, 31, 8, 9, 23, 16, 39, 64, 231, 256}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t j = 0; j < 12; j++) {
            int64_t offset;
            assert_int_equal(mia_swizzle_apply(&cases[i].swizzle, places[j], &offset, NULL), MIA_OK);
            assert_int_equal(offset, cases[i].expected[j]);
        }
    }
}

/* test/unit/cute/core/swizzle_layout.cpp: a row or a column sliced from each of its three swizzled layouts
 * gives what the layout gives. */
static void swizzled_slices(void **state) {
    (void)state;
    const char *cases[][2] = {{"Sw<3,0,3>", "(8,8):(8,1)"},
                              {"Sw<3,0,-3>", "(8,8):(8,1)"},
                              {"Sw<2,1,3>", "((2,2,2),(2,2,2)):((32,2,8),(4,1,16))"}};
    for (size_t i = 0; i < 3; i++) {
        mia_swizzle how;
        mia_layout layout;
        mia_swizzled whole;
        assert_int_equal(mia_swizzle_parse(cases[i][0], &how, NULL), MIA_OK);
        assert_int_equal(mia_layout_parse(cases[i][1], &layout, NULL), MIA_OK);
        assert_int_equal(mia_swizzle_compose(&how, 0, &layout, &whole, NULL), MIA_OK);
        for (int64_t line = 0; line < 16; line++) {
            mia_tuple at, place;
            mia_swizzled sliced;
            char text[32];
            snprintf(text, sizeof text, line < 8 ? "(%" PRId64 ",_)" : "(_,%" PRId64 ")", line % 8);
            assert_int_equal(mia_tuple_parse(text, &at, NULL), MIA_OK);
            assert_int_equal(mia_swizzled_slice(&whole, &at, &sliced, NULL), MIA_OK);
            for (int64_t j = 0; j < 8; j++) {
                int64_t one, other, row = line < 8 ? line : j, column = line < 8 ? j : line - 8;
                snprintf(text, sizeof text, "(%" PRId64 ",%" PRId64 ")", row, column);
                assert_int_equal(mia_tuple_parse(text, &place, NULL), MIA_OK);
                assert_int_equal(mia_swizzled_at_coordinate(&whole, &place, &one, NULL), MIA_OK);
                assert_int_equal(mia_swizzled_at(&sliced, j, &other, NULL), MIA_OK);
                assert_int_equal(one, other);
            }
        }
    }
}

#if defined(MIA_SHARED_DIR) || defined(MIA_MODELS_DIR)
static char *next_field(char **line, const char *separator) {
    char *field = *line, *end = strstr(field, separator);
    *line = end == NULL ? field + strlen(field) : end + strlen(separator);
    if (end != NULL) *end = '\0';
    return field;
}
#endif

/* The rows of layout/cute.tsv, results as written. */
static void rows_of_the_python_model(void **state) {
    (void)state;
#ifdef MIA_SHARED_DIR
    FILE *file = fopen(MIA_SHARED_DIR "/data/layout/cute.tsv", "r");
    if (file == NULL) skip();
    char line[4096];
    long rows = 0, hold = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0') continue;
        char *rest = line;
        quoted row;
        row.operation = next_field(&rest, "\t");
        row.a = next_field(&rest, "\t");
        row.b = next_field(&rest, "\t");
        row.expected = next_field(&rest, "\t");
        rows++;
        hold += holds(&row);
    }
    fclose(file);
    printf("%ld of %ld rows hold\n", hold, rows);
    assert_int_equal(rows, 4000);
    assert_int_equal(hold, rows);
#else
    skip();
#endif
}

/* docs/layout.md: each line "    OPERATION A [B] -> RESULT" of its indented blocks; "refused: MESSAGE" for a
 * refusal. */
static void examples_of_the_page(void **state) {
    (void)state;
#ifdef MIA_MODELS_DIR
    FILE *file = fopen(MIA_MODELS_DIR "/../docs/layout.md", "r");
    assert_non_null(file);
    char line[4096];
    long rows = 0, failures = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        char *rest = line + 4, *arrow = strstr(line, " -> ");
        if (strncmp(line, "    ", 4) != 0 || arrow == NULL || strncmp(rest, "mia layout ", 11) == 0) continue;
        line[strcspn(line, "\r\n")] = '\0';
        *arrow = '\0';
        const char *expected = arrow + 4 + strspn(arrow + 4, " ");
        for (char *end = arrow; end > line && end[-1] == ' '; end--) end[-1] = '\0';
        char *operation = next_field(&rest, " "), *a = next_field(&rest, " "), *b = rest;
        quoted row = {operation, a, b, expected};
        rows++;
        if (strncmp(expected, "refused: ", 9) == 0) {
            char text[MIA_LAYOUT_MAX_TEXT];
            mia_error error = {0};
            assert_int_not_equal(mia_layout_evaluate(operation, a, b, text, sizeof text, &error), MIA_OK);
            assert_string_equal(error.message, expected + 9);
        } else {
            failures += !holds(&row);
        }
    }
    fclose(file);
    assert_int_equal(failures, 0);
    assert_true(rows >= 20);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts),
        cmocka_unit_test(coalesce),
        cmocka_unit_test(composition),
        cmocka_unit_test(complement_and_inverses),
        cmocka_unit_test(divide),
        cmocka_unit_test(product),
        cmocka_unit_test(slice),
        cmocka_unit_test(swizzle),
        cmocka_unit_test(swizzled_slices),
        cmocka_unit_test(rows_of_the_python_model),
        cmocka_unit_test(examples_of_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
