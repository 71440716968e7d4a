/* The layout value and its algebra on small cases whose results can be seen by hand, and every refusal with
 * its message. Random layouts are in test_layout_properties.c, values from CuTe in test_layout_cute.c. */
#include <mia/layout.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void evaluates(const char *operation, const char *a, const char *b, const char *expected) {
    char text[MIA_LAYOUT_MAX_TEXT] = "";
    mia_error error = {0};
    mia_status status = mia_layout_evaluate(operation, a, b, text, sizeof text, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, MIA_OK);
    assert_string_equal(text, expected);
}

static void refuses(const char *operation, const char *a, const char *b, mia_status expected,
                    const char *message) {
    char text[MIA_LAYOUT_MAX_TEXT] = "as before";
    mia_error error = {0};
    mia_status status = mia_layout_evaluate(operation, a, b, text, sizeof text, &error);
    assert_string_equal(error.message, message);
    assert_int_equal(status, expected);
    assert_int_equal(error.status, expected);
    assert_string_equal(text, "as before");
}

static mia_layout parsed(const char *text) {
    mia_layout layout = {0};
    mia_error error = {0};
    mia_status status = mia_layout_parse(text, &layout, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, MIA_OK);
    return layout;
}

static void is_written(const mia_layout *layout, const char *expected) {
    char text[MIA_LAYOUT_MAX_TEXT];
    assert_int_equal(mia_layout_format(layout, text, sizeof text, NULL), MIA_OK);
    assert_string_equal(text, expected);
}

/* "1" or "(1,1,...)": text of a shape with so many modes */
static const char *ones(char *text, size_t count) {
    char *at = text;
    for (size_t i = 0; i < count; i++) at += sprintf(at, "%s1", i == 0 ? "(" : ",");
    strcpy(at, ")");
    return text;
}

/* ---- values ---- */

static void makes_layouts(void **state) {
    (void)state;
    mia_layout layout;
    const int64_t extents[] = {4, 2, 3}, strides[] = {-1, 0, 8};
    assert_int_equal(mia_layout_make(extents, strides, 3, &layout, NULL), MIA_OK);
    is_written(&layout, "(4,2,3):(-1,0,8)");
    assert_int_equal(mia_layout_make(extents, NULL, 3, &layout, NULL), MIA_OK);
    is_written(&layout, "(4,2,3):(1,4,8)");
    assert_int_equal(mia_layout_make(extents, strides, 1, &layout, NULL), MIA_OK);
    is_written(&layout, "4:-1");

    mia_tuple shape;
    assert_int_equal(mia_tuple_parse("(2,(2,3),((4)))", &shape, NULL), MIA_OK);
    assert_int_equal(mia_layout_of_shape(&shape, &layout, NULL), MIA_OK);
    is_written(&layout, "(2,(2,3),((4))):(1,(2,4),((12)))");
    assert_int_equal(mia_layout_rank(&layout), 3);
    assert_int_equal(mia_layout_depth(&layout), 3);
    mia_layout parts[] = {layout, parsed("5:7")}, both;
    assert_int_equal(mia_layout_concatenate(parts, 2, &both, NULL), MIA_OK);
    is_written(&both, "((2,(2,3),((4))),5):((1,(2,4),((12))),7)");
    assert_true(mia_layout_equal(&both, &both));
    assert_false(mia_layout_equal(&both, &layout));
    assert_int_equal(mia_layout_mode(&both, 0, &parts[1], NULL), MIA_OK);
    assert_true(mia_layout_equal(&parts[1], &layout));
    assert_int_equal(mia_layout_mode(&both, 1, &both, NULL), MIA_OK);
    is_written(&both, "5:7");
    assert_int_equal(mia_layout_mode(&both, 0, &both, NULL), MIA_OK);
    is_written(&both, "5:7");
}

static void refuses_wrong_values(void **state) {
    (void)state;
    mia_layout layout = {0}, out = parsed("3:2");
    mia_error error = {0};
    const int64_t extents[] = {4, 0};
    assert_int_equal(mia_layout_make(extents, NULL, 0, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "layout_make: 0 modes; 1 to 32 are possible");
    assert_int_equal(mia_layout_make(extents, NULL, 33, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "layout_make: 33 modes; 1 to 32 are possible");
    assert_int_equal(mia_layout_make(extents, NULL, 2, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "layout_make: mode 1 has extent 0; an extent is at least 1");
    assert_int_equal(mia_layout_concatenate(&out, 0, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "concatenate: a layout has at least one mode");
    assert_int_equal(mia_layout_mode(&out, 1, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "mode: there is no mode 1 in 3:2, which has 1");
    is_written(&out, "3:2"); /* failures left it alone */

    int64_t number;
    assert_int_equal(mia_layout_rank(&layout), 0);
    assert_int_equal(mia_layout_depth(&layout), 0);
    assert_int_equal(mia_layout_size(&layout, &number, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "size: the operand is not a layout");
    assert_int_equal(mia_layout_coalesce(NULL, NULL, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "coalesce: the operand is not a layout");
    layout = out;
    layout.profile.children[0] = 2; /* two children that do not exist */
    assert_int_equal(mia_layout_at(&layout, 0, &number, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "index: the operand is not a layout");
    layout.profile.node_count = 1000;
    assert_int_equal(mia_layout_flatten(&layout, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "flatten: the operand is not a layout");
    mia_tiler tiler = mia_tiler_of_layout(&out);
    tiler.by_mode = 2; /* brackets of a node that does not exist */
    assert_int_equal(mia_layout_logical_divide(&out, &tiler, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "logical_divide: the operand is not a tiler");
}

/* ---- notation ---- */

static void reads_and_writes(void **state) {
    (void)state;
    const char *same[] = {"1:0",
                          "(4):(1)",
                          "((3)):((1))",
                          "(4,(2,3)):(1,(4,8))",
                          "(2,2):(-9223372036854775808,0)",
                          "9223372036854775807:9223372036854775807"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        mia_layout layout = parsed(same[i]);
        is_written(&layout, same[i]);
    }
    mia_layout layout = parsed(" ( _4 , (2,\t3) ) : (1,(_4,8)) ");
    is_written(&layout, "(4,(2,3)):(1,(4,8))");
    layout = parsed("(4,(2,3))");
    is_written(&layout, "(4,(2,3)):(1,(4,8))");

    char text[8];
    mia_error error = {0};
    assert_int_equal(mia_layout_format(&layout, text, sizeof text, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "format: 8 bytes for a text of 20");
    mia_tuple tuple;
    assert_int_equal(mia_tuple_parse("(1,(_,-2))", &tuple, NULL), MIA_OK);
    assert_int_equal(mia_tuple_format(&tuple, text, sizeof text, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "format: 8 bytes for a text of 11");
    char enough[11];
    assert_int_equal(mia_tuple_format(&tuple, enough, 10, NULL), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_tuple_format(&tuple, enough, sizeof enough, NULL), MIA_OK);
    assert_string_equal(enough, "(1,(_,-2))");
}

static void refuses_bad_text(void **state) {
    (void)state;
    const struct {
        const char *text, *message;
    } cases[] = {
        {"", "layout \"\": expected a number or '(' at character 1, where it ends"},
        {"()", "layout \"()\": expected a number or '(' at character 2"},
        {"(4,", "layout \"(4,\": expected a number or '(' at character 4, where it ends"},
        {"(4,2", "layout \"(4,2\": expected ',' or ')' at character 5, where it ends"},
        {"(4,2):", "layout \"(4,2):\": expected a number or '(' at character 7, where it ends"},
        {"(4 2)", "layout \"(4 2)\": expected ',' or ')' at character 4"},
        {"4:1:1", "layout \"4:1:1\": expected nothing more at character 4"},
        {"4:x", "layout \"4:x\": expected a number or '(' at character 3"},
        {"4:-", "layout \"4:-\": expected a number at character 4, where it ends"},
        {"9223372036854775808",
         "layout \"9223372036854775808\": expected a number of at most 64 bits at character 19"},
        {"(4,_):(1,2)", "layout \"(4,_):(1,2)\": `_` stands in coordinates only"},
        {"(4,_)", "layout_of_shape: a shape has no free mode `_`"},
        {"0:1", "layout: mode 0 has extent 0; an extent is at least 1"},
        {"(4,-2):(1,4)", "layout: mode 1 has extent -2; an extent is at least 1"},
        {"(4,(2,3)):(1,4)", "layout \"(4,(2,3)):(1,4)\": shape and stride are nested differently"},
        {"4:(1)", "layout \"4:(1)\": shape and stride are nested differently"},
        {"(4294967296,4294967296):(0,0)", "layout: the size of the layout exceeds 64 bits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mia_layout layout;
        mia_error error = {0};
        assert_int_not_equal(mia_layout_parse(cases[i].text, &layout, &error), MIA_OK);
        assert_string_equal(error.message, cases[i].message);
    }
    refuses("compose", "4:1", "<2:1", MIA_ERROR_INVALID_ARGUMENT,
            "tiler \"<2:1\": expected ',' or '>' at character 5, where it ends");
    refuses("compose", "4:1", "<>", MIA_ERROR_INVALID_ARGUMENT,
            "tiler \"<>\": expected a number or '(' at character 2");
    refuses("swizzle", "Sv<1,2,3>", "0", MIA_ERROR_INVALID_ARGUMENT,
            "swizzle \"Sv<1,2,3>\": expected Sw<bits,base,shift> at character 1");
    refuses("swizzle", "Sw<1,2>", "0", MIA_ERROR_INVALID_ARGUMENT,
            "swizzle \"Sw<1,2>\": expected ',' at character 7");
}

/* One mode, and one pair of parentheses, at the capacity and past it. */
static void keeps_to_its_capacity(void **state) {
    (void)state;
    char text[512], nested[512];
    mia_layout layout = parsed(ones(text, MIA_LAYOUT_MAX_MODES));
    assert_int_equal(mia_layout_rank(&layout), MIA_LAYOUT_MAX_MODES);
    refuses("flatten", ones(text, MIA_LAYOUT_MAX_MODES + 1), "", MIA_ERROR_INVALID_ARGUMENT,
            "layout: more than 32 modes");

    for (int pairs = MIA_LAYOUT_MAX_NODES - 1; pairs <= MIA_LAYOUT_MAX_NODES; pairs++) {
        memset(nested, '(', (size_t)pairs);
        nested[pairs] = '7';
        memset(nested + pairs + 1, ')', (size_t)pairs);
        nested[2 * pairs + 1] = '\0';
        if (pairs < MIA_LAYOUT_MAX_NODES) {
            layout = parsed(nested);
            assert_int_equal(mia_layout_depth(&layout), pairs);
            evaluates("size", nested, "", "7");
        } else {
            refuses("size", nested, "", MIA_ERROR_INVALID_ARGUMENT,
                    "layout: more than 64 modes and pairs of parentheses together");
        }
    }
    mia_layout wide = parsed(ones(text, 20)), two[] = {wide, wide}, out;
    mia_error error = {0};
    assert_int_equal(mia_layout_concatenate(two, 2, &out, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "concatenate: more than 32 modes");

    /* the longest text there is: it fits in what the header promises */
    int64_t extents[MIA_LAYOUT_MAX_MODES], strides[MIA_LAYOUT_MAX_MODES];
    for (int i = 0; i < MIA_LAYOUT_MAX_MODES; i++) {
        extents[i] = 1;
        strides[i] = INT64_MIN;
    }
    char longest[MIA_LAYOUT_MAX_TEXT];
    assert_int_equal(mia_layout_make(extents, strides, MIA_LAYOUT_MAX_MODES, &layout, NULL), MIA_OK);
    assert_int_equal(mia_layout_format(&layout, longest, sizeof longest, NULL), MIA_OK);
    refuses("compose", "(2,2):(1,3)", longest, MIA_ERROR_INVALID_ARGUMENT,
            "compose: the negative stride -9223372036854775808 leaves (2,2):(1,3) at its beginning");
}

/* A refusal that comes from the capacity of a result, not of an operand: 65536 elements of A take 16
 * modes. */
static void refuses_results_past_the_capacity(void **state) {
    (void)state;
    char a[512], *at = a;
    int64_t stride = 1;
    at += sprintf(at, "(2");
    for (int i = 1; i < 17; i++) at += sprintf(at, ",2");
    at += sprintf(at, "):(1");
    for (int i = 1; i < 17; i++) at += sprintf(at, ",%" PRId64, stride *= 3);
    strcpy(at, ")");
    const char *sixteen = "(65536,2,1,1,1,1,1,1,1,1,1,1,1,1,1,1):(1,65536,0,0,0,0,0,0,0,0,0,0,0,0,0,0)";
    const char *eighteen =
        "(65536,2,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1):(1,65536,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0)";
    char text[MIA_LAYOUT_MAX_TEXT];
    assert_int_equal(mia_layout_evaluate("compose", a, sixteen, text, sizeof text, NULL),
                     MIA_OK); /* 31 modes */
    refuses("compose", a, eighteen, MIA_ERROR_INVALID_ARGUMENT, "compose: more than 32 modes");
}

/* ---- functions ---- */

static void measures(void **state) {
    (void)state;
    evaluates("size", "(4,(2,3)):(1,(4,8))", NULL, "24");
    evaluates("rank", "(4,(2,3)):(1,(4,8))", NULL, "2");
    evaluates("rank", "7:3", NULL, "1");
    evaluates("depth", "7:3", NULL, "0");
    evaluates("depth", "(4,(2,3)):(1,(4,8))", NULL, "2");
    evaluates("cosize", "(4,(2,3)):(1,(4,8))", NULL, "24");
    evaluates("cosize", "(3,2):(0,5)", NULL, "6");
    evaluates("cosize", "(3,2):(-4,5)", NULL, "14"); /* -8 .. 5 */
    refuses("cosize", "3:9223372036854775807", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "cosize: the offsets of 3:9223372036854775807 exceed 64 bits");
    refuses("cosize", "2:-9223372036854775808", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "cosize: the offsets of 2:-9223372036854775808 exceed 64 bits");
}

static void evaluates_indices_and_coordinates(void **state) {
    (void)state;
    evaluates("index", "(3,(2,3)):(3,(12,1))", "16", "17");
    evaluates("index", "(3,(2,3)):(3,(12,1))", "(1,5)", "17");
    evaluates("index", "(3,(2,3)):(3,(12,1))", "(1,(1,2))", "17");
    evaluates("index", "(3,2):(1,-10)", "(2,1)", "-8");
    evaluates("index", "(3,2):(1,10)", "9", "30"); /* past the size, in the last mode: 9 = 0 + 3*3 */
    evaluates("index", "(3,2,1):(1,10,7)", "9", "30");
    evaluates("coordinate", "(3,(2,3))", "16", "(1,(1,2))");
    evaluates("coordinate", "7:5", "6", "6");
    refuses("index", "(3,2)", "-1", MIA_ERROR_INVALID_ARGUMENT, "index: -1 is negative");
    refuses("index", "(3,2)", "(3,0)", MIA_ERROR_INVALID_ARGUMENT,
            "index: coordinate 3 lies outside its mode of (3,2):(1,3), whose size is 3");
    refuses("index", "(3,2)", "(0,-1)", MIA_ERROR_INVALID_ARGUMENT,
            "index: coordinate -1 lies outside its mode of (3,2):(1,3), whose size is 2");
    refuses("index", "(3,2)", "(0,0,0)", MIA_ERROR_SHAPE_MISMATCH,
            "index: 3 coordinates in parentheses for 2 modes of (3,2):(1,3)");
    refuses("index", "(3,2)", "((1),0)", MIA_ERROR_SHAPE_MISMATCH,
            "index: 1 coordinates in parentheses for 1 mode of (3,2):(1,3)");
    refuses("index", "(3,2)", "(_,0)", MIA_ERROR_INVALID_ARGUMENT,
            "index: a coordinate with a free mode `_` has no offset; slice takes it");
    refuses("index", "5:4611686018427387904", "2", MIA_ERROR_INVALID_ARGUMENT,
            "index: an offset of 5:4611686018427387904 exceeds 64 bits");
    refuses("index", "(2,2):(9223372036854775807,1)", "(1,1)", MIA_ERROR_INVALID_ARGUMENT,
            "index: an offset of (2,2):(9223372036854775807,1) exceeds 64 bits");
    refuses("coordinate", "(3,2)", "6", MIA_ERROR_INVALID_ARGUMENT,
            "coordinate: index 6 of (3,2):(1,3), whose size is 6");
    refuses("coordinate", "(3,2)", "(1,1)", MIA_ERROR_INVALID_ARGUMENT,
            "coordinate: \"(1,1)\" is not a number");
}

static void simplifies(void **state) {
    (void)state;
    evaluates("coalesce", "(2,(1,6)):(1,(6,2))", NULL, "12:1");
    evaluates("coalesce", "(1,(1,1)):(5,(6,7))", NULL, "1:0");
    evaluates("coalesce", "(2,3,4):(-1,-2,-6)", NULL, "24:-1");
    evaluates("coalesce", "(2,2):(9223372036854775807,-2)", NULL,
              "(2,2):(9223372036854775807,-2)"); /* no wrap */
    evaluates("coalesce", "((2,2),(3,4),5):((1,2),(4,12),48)", "(1,(1,1))", "(4,(3,4),5):(1,(4,12),48)");
    evaluates("coalesce", "8:2", "(0)", "(8):(2)");
    refuses("coalesce", "(2,3):(1,2)", "(1,1,1)", MIA_ERROR_SHAPE_MISMATCH,
            "coalesce: a profile of 3 modes for (2,3):(1,2), which has 2");
    evaluates("filter", "(2,3,4):(1,0,2)", NULL, "8:1");
    evaluates("filter", "(2,3):(0,0)", NULL, "1:0");
    evaluates("filter", "((2,3),(4,2)):((0,1),(3,0))", "(1,1)", "(3,4):(1,3)");
    evaluates("filter_zeros", "((2,3),(4,2)):((0,1),(3,0))", NULL, "((1,3),(4,1)):((0,1),(3,0))");
    evaluates("flatten", "((2,(3)),4):((1,(2)),6)", NULL, "(2,3,4):(1,2,6)");
    evaluates("flatten", "((2)):((7))", NULL, "2:7");
    evaluates("mode", "(4,(2,3)):(1,(4,8))", "1", "(2,3):(4,8)");
    evaluates("mode", "4:3", "0", "4:3");
    evaluates("concatenate", "4:1", "(2,3):(4,8)", "(4,(2,3)):(1,(4,8))");
    evaluates("group", "(2,3,5,7)", "(1,3)", "(2,(3,5),7):(1,(2,6),30)");
    evaluates("group", "(2,(3,5))", "(1,2)", "(2,((3,5))):(1,((2,6)))");
    evaluates("group", "7:2", "(0,1)", "((7)):((2))");
    refuses("mode", "(4,2)", "2", MIA_ERROR_INVALID_ARGUMENT,
            "mode: there is no mode 2 in (4,2):(1,4), which has 2");
    refuses("mode", "(4,2)", "-1", MIA_ERROR_INVALID_ARGUMENT, "mode: -1 is negative");
    refuses("group", "(4,2)", "(0,3)", MIA_ERROR_INVALID_ARGUMENT,
            "group: modes 0 to 3 of (4,2):(1,4), which has 2");
    refuses("group", "(4,2)", "(1,1)", MIA_ERROR_INVALID_ARGUMENT,
            "group: modes 1 to 1 of (4,2):(1,4), which has 2");
    refuses("group", "(4,2)", "1", MIA_ERROR_INVALID_ARGUMENT, "group: \"1\" is not a range, such as (0,2)");
}

static void composes(void **state) {
    (void)state;
    evaluates("compose", "8:3", "(2,2):(4,1)", "(2,2):(12,3)");
    evaluates("compose", "(6,2):(1,7)", "2:4", "2:4"); /* does not leave the first mode: 0, 4 */
    evaluates("compose", "8:3", "4:-1", "4:-3");       /* backwards over one mode */
    evaluates("compose", "8:-3", "(2,2):(1,4)", "(2,2):(-3,-12)");
    evaluates("compose", "(4,2):(1,8)", "6:0", "6:0");
    evaluates("compose", "(4,2):(1,8)", "(16):(1)", "((4,4)):((1,8))"); /* runs on in the last mode */
    evaluates("compose", "(4,6):(1,8)", "<_,2:3>", "(4,2):(1,24)");
    evaluates("compose", "(4,6):(1,8)", "<2:2>", "(2,6):(2,8)");
    evaluates("compose", "((4,2),6):((1,50),8)", "<<2:2,_>,(3)>", "((2,2),(3)):((2,50),(8))");
    refuses(
        "compose", "(6,2):(1,7)", "3:4", MIA_ERROR_INVALID_ARGUMENT,
        "compose: 3 elements of (6,2):(1,7) in steps of 4 are no layout: they meet the end of its mode 6:1 "
        "unevenly");
    refuses(
        "compose", "(6,2):(1,7)", "8:1", MIA_ERROR_INVALID_ARGUMENT,
        "compose: 8 elements of (6,2):(1,7) in steps of 1 are no layout: they meet the end of its mode 6:1 "
        "unevenly");
    refuses("compose", "(6,2):(1,7)", "2:-1", MIA_ERROR_INVALID_ARGUMENT,
            "compose: the negative stride -1 leaves (6,2):(1,7) at its beginning");
    refuses("compose", "8:4611686018427387904", "2:2", MIA_ERROR_INVALID_ARGUMENT,
            "compose: a stride over 8:4611686018427387904 exceeds 64 bits");
    refuses("compose", "(4,3):(2,13)", "(2,4):(1,1)", MIA_ERROR_INVALID_ARGUMENT,
            "compose: the modes of (2,4):(1,1) together run past the end of mode 4:2 of (4,3):(2,13)");
    refuses("compose", "(4,6)", "<2:1,2:1,2:1>", MIA_ERROR_SHAPE_MISMATCH,
            "compose: a tiler of 3 modes for (4,6):(1,4), which has 2");
}

static void complements_and_inverts(void **state) {
    (void)state;
    evaluates("complement", "(3,4):(1,4)", "32", "2:16"); /* padded columns: the hole of one stays */
    evaluates("complement", "4:1", "10", "3:4");          /* rounded up */
    evaluates("complement", "(4,3):(1,0)", "8", "2:4");
    refuses("complement", "(4,3):(1,3)", "24", MIA_ERROR_INVALID_ARGUMENT,
            "complement: mode 3:3 of (4,3):(1,3) begins before offset 4, where those of smaller strides end");
    refuses("complement", "4:-1", "24", MIA_ERROR_INVALID_ARGUMENT,
            "complement: mode 4:-1 of 4:-1 begins before offset 1, where offsets start; strides must be "
            "positive");
    refuses("complement", "4:1", "0", MIA_ERROR_INVALID_ARGUMENT,
            "complement: a range of 0 offsets; it must be at least 1");
    refuses("complement", "4:4611686018427387904", "8", MIA_ERROR_INVALID_ARGUMENT,
            "complement: the offsets of 4:4611686018427387904 exceed 64 bits");
    evaluates("right_inverse", "(2,4):(4,1)", NULL, "(4,2):(2,1)");
    evaluates("right_inverse", "(2,4):(1,3)", NULL, "2:1");
    evaluates("right_inverse", "4:-1", NULL, "1:0");
    evaluates("right_inverse", "(4,2):(1,1)", NULL,
              "2:4"); /* of equal strides the smaller extent, as CuTe's model */
    evaluates("left_inverse", "4:2", NULL, "(2,4):(4,1)");
    evaluates("left_inverse", "(3,4):(1,4)", NULL,
              "(4,4):(1,3)"); /* the fourth of each column is never asked for */
    evaluates("left_inverse", "1:7", NULL, "1:0");
    refuses("left_inverse", "(4,3):(1,0)", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "left_inverse: mode 3:0 of (4,3):(1,0) gives each offset more than once");
    refuses("left_inverse", "(4,3):(1,3)", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "left_inverse: mode 3:3 of (4,3):(1,3) meets another unevenly, or overlaps it");
    refuses("left_inverse", "(2,2):(2,5)", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "left_inverse: mode 2:5 of (2,2):(2,5) meets another unevenly, or overlaps it");
    refuses("left_inverse", "4:-1", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "left_inverse: mode 4:-1 of 4:-1 has a negative stride");
    refuses("left_inverse", "4:4611686018427387904", NULL, MIA_ERROR_INVALID_ARGUMENT,
            "left_inverse: mode 4:4611686018427387904 of 4:4611686018427387904 makes an inverse that exceeds "
            "64 bits");
}

static void divides_and_multiplies(void **state) {
    (void)state;
    evaluates("logical_divide", "(6,8):(8,1)", "(3,4)", "((3,2),(4,2)):((8,24),(1,4))");
    evaluates("logical_divide", "10:1", "4:1", "(4,3):(1,4)"); /* rounded up */
    evaluates("zipped_divide", "(6,8):(8,1)", "<3:1,_>", "((3,1),(2,8)):((8,0),(24,1))");
    evaluates("zipped_divide", "(6,8,5)", "<3:1>", "((3),(2,8,5)):((1),(3,6,48))");
    evaluates("flat_divide", "(6,8,5)", "<3:1>", "(3,2,8,5):(1,3,6,48)");
    evaluates("tiled_divide", "((4,4),6)", "<<2,2>,3>", "(((2,2),3),(2,2),2):(((1,4),16),(2,8),48)");
    refuses("logical_divide", "(4,4):(1,4)", "(2,2):(1,3)", MIA_ERROR_INVALID_ARGUMENT,
            "logical_divide: the tiler (2,2):(1,3) has holes that its copies do not fill");
    refuses("zipped_divide", "4:1", "<2:1,2:1>", MIA_ERROR_SHAPE_MISMATCH,
            "zipped_divide: a tiler of 2 modes for 4:1, which has 1");
    evaluates("logical_product", "(4,3):(16,4)", "8:1",
              "((4,3),(4,2)):((16,4),(1,64))"); /* 4 in the holes, 4 past */
    evaluates("raked_product", "3:1", "(2,2):(1,2)", "((2,3),(2,1)):((3,1),(6,0))");
    refuses("logical_product", "4:1", "3:4611686018427387904", MIA_ERROR_INVALID_ARGUMENT,
            "logical_product: cosize: the offsets of 3:4611686018427387904 exceed 64 bits");
    refuses("logical_product", "4:1", "2:4611686018427387904", MIA_ERROR_INVALID_ARGUMENT,
            "logical_product: 4:1 times 2:4611686018427387904 exceeds 64 bits");
    evaluates("logical_product", "(2,2):(4,1)", "(4,2):(2,1)", "((2,2),(4,2)):((4,1),(8,2))");
    refuses(
        "zipped_divide", "(4,4)", "<(2,2):(1,1),2>", MIA_ERROR_INVALID_ARGUMENT,
        "zipped_divide: complement: mode 2:1 of (2,2):(1,1) begins before offset 2, where those of smaller "
        "strides end");
    refuses("blocked_product", "2:-1", "2:1", MIA_ERROR_INVALID_ARGUMENT,
            "blocked_product: complement: mode 2:-1 of (2):(-1) begins before offset 1, where offsets start; "
            "strides must be positive");
    refuses("raked_product", "2:1", "2:4611686018427387904", MIA_ERROR_INVALID_ARGUMENT,
            "raked_product: (2):(1) times (2):(4611686018427387904) exceeds 64 bits");
}

static void slices(void **state) {
    (void)state;
    evaluates("slice", "(4,(2,3)):(1,(4,8))", "_", "(4,(2,3)):(1,(4,8)) @ 0");
    evaluates("slice", "(4,(2,3)):(1,(4,8))", "5", "1:0 @ 5");
    evaluates("slice", "(4,(2,3)):(1,(4,8))", "(3,5)", "1:0 @ 23");
    evaluates("slice", "(4,(2,3)):(1,(4,8))", "(_,5)", "(4):(1) @ 20");
    evaluates("slice", "(4,(2,3)):(1,(4,8))", "(3,(_,1))", "(2):(4) @ 11");
    evaluates("dice", "(2,3,4):(1,2,6)", "(0,_,1)", "(2,4):(1,6)");
    evaluates("dice", "(2,3,4):(1,2,6)", "(_,_,_)", "1:0");
    evaluates("dice", "(2,3,4):(1,2,6)", "0", "(2,3,4):(1,2,6)");
    refuses("slice", "(4,2)", "(_,2)", MIA_ERROR_INVALID_ARGUMENT,
            "slice: coordinate 2 lies outside its mode of (4,2):(1,4), whose size is 2");
    refuses("dice", "(4,2)", "(_,_,_)", MIA_ERROR_SHAPE_MISMATCH,
            "dice: 3 coordinates in parentheses for 2 modes of (4,2):(1,4)");
}

static void swizzles(void **state) {
    (void)state;
    evaluates("swizzle", "Sw<0,4,0>", "123", "123");
    evaluates("swizzle", "Sw<2,1,3>", "48", "54"); /* 11 0 00 0 -> 11 0 11 0 */
    evaluates("swizzle", "Sw<2,1,-3>", "6", "54");
    evaluates("swizzle", "Sw<1,0,1>", "(2,2)", "0 1 3 2");
    const char *wrong[] = {"Sw<-1,0,1>", "Sw<1,-1,1>", "Sw<2,0,1>", "Sw<2,0,-1>", "Sw<1,31,31>"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char message[200];
        sprintf(
            message,
            "swizzle: %s is no swizzle: bits and base are at least 0, |shift| at least bits, and all three "
            "together at most 62",
            wrong[i]);
        refuses("swizzle", wrong[i], "0", MIA_ERROR_INVALID_ARGUMENT, message);
    }
    evaluates("swizzle", "Sw<1,30,31>", "2305843009213693952", "2305843010287435776"); /* 2^61 sets 2^30 */
    refuses("swizzle", "Sw<1,0,1>", "-1", MIA_ERROR_INVALID_ARGUMENT, "swizzle: offset -1 is negative");
    refuses("swizzle", "Sw<1,0,1>", "(2,2):(1,-5)", MIA_ERROR_INVALID_ARGUMENT,
            "swizzle: offset -5 is negative"); /* the third of four: nothing has been written */
    refuses("swizzle", "Sw<1,0,1>", "4096:1", MIA_ERROR_INVALID_ARGUMENT,
            "format: 2048 bytes for a text of 19370");
    refuses("swizzle", "Sw<1,0,1>", "5000:1", MIA_ERROR_INVALID_ARGUMENT,
            "swizzle: 5000 offsets; 4096 are listed at most");

    mia_swizzle swizzle = {1, 0, 1};
    mia_swizzled swizzled, row;
    mia_layout layout = parsed("(2,4):(4,1)");
    mia_tuple at;
    int64_t offset;
    assert_int_equal(mia_swizzle_compose(&swizzle, 2, &layout, &swizzled, NULL), MIA_OK);
    assert_int_equal(mia_swizzled_at(&swizzled, 3, &offset, NULL), MIA_OK);
    assert_int_equal(offset, 6); /* 2 + 4 + 1 = 111 -> 110 */
    assert_int_equal(mia_tuple_parse("(1,_)", &at, NULL), MIA_OK);
    assert_int_equal(mia_swizzled_slice(&swizzled, &at, &row, NULL), MIA_OK);
    assert_int_equal(mia_swizzled_at(&row, 1, &offset, NULL), MIA_OK);
    assert_int_equal(offset, 6);
    mia_error error = {0};
    swizzled.offset = INT64_MAX;
    assert_int_equal(mia_swizzled_at(&swizzled, 1, &offset, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "swizzle: an offset exceeds 64 bits");
    assert_int_equal(mia_swizzled_slice(&swizzled, &at, &row, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "slice: an offset exceeds 64 bits");
}

static void refuses_wrong_requests(void **state) {
    (void)state;
    refuses("bogus", "4:1", "", MIA_ERROR_NOT_FOUND, "no layout operation is called \"bogus\"");
    refuses("size", "4:1", "4:1", MIA_ERROR_INVALID_ARGUMENT, "size: takes no second operand");
    refuses("compose", "4:1", NULL, MIA_ERROR_INVALID_ARGUMENT, "compose: lacks its second operand, TILER");
    refuses("size", NULL, NULL, MIA_ERROR_INVALID_ARGUMENT,
            "layout \"\": expected a number or '(' at character 1, where it ends");
    char text[4];
    mia_error error = {0};
    assert_int_equal(mia_layout_evaluate("size", "1234:1", "", text, sizeof text, &error),
                     MIA_ERROR_INVALID_ARGUMENT);
    assert_string_equal(error.message, "format: 4 bytes for a text of 5");
}

/* The builders in C give what the notation does. */
static void builds_tilers(void **state) {
    (void)state;
    mia_layout three = parsed("3:3"), column = parsed("(2,4):(1,8)"),
               a = parsed("(9,(4,8),5):(59,(13,1),400)");
    mia_tiler modes[] = {mia_tiler_of_layout(&three), mia_tiler_of_layout(&column), mia_tiler_keep()};
    mia_tiler built, read;
    assert_int_equal(mia_tiler_by_mode(modes, 3, &built, NULL), MIA_OK);
    assert_int_equal(mia_tiler_parse("<3:3,(2,4):(1,8),_>", &read, NULL), MIA_OK);
    assert_int_equal(built.by_mode, read.by_mode);
    assert_int_equal(built.keep, read.keep);
    assert_true(mia_layout_equal(&built.layout, &read.layout));
    mia_layout one, other;
    assert_int_equal(mia_layout_tiled_divide(&a, &built, &one, NULL), MIA_OK);
    assert_int_equal(mia_layout_tiled_divide(&a, &read, &other, NULL), MIA_OK);
    assert_true(mia_layout_equal(&one, &other));
    assert_int_equal(mia_tiler_by_mode(modes, 0, &built, NULL), MIA_ERROR_INVALID_ARGUMENT);
    modes[0] = built; /* brackets within brackets */
    assert_int_equal(mia_tiler_by_mode(modes, 1, &built, NULL), MIA_OK);
    assert_int_equal(mia_tiler_parse("<<3:3,(2,4):(1,8),_>>", &read, NULL), MIA_OK);
    assert_int_equal(built.by_mode, read.by_mode);
    assert_int_equal(built.keep, read.keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_layouts),
        cmocka_unit_test(refuses_wrong_values),
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(refuses_bad_text),
        cmocka_unit_test(keeps_to_its_capacity),
        cmocka_unit_test(refuses_results_past_the_capacity),
        cmocka_unit_test(measures),
        cmocka_unit_test(evaluates_indices_and_coordinates),
        cmocka_unit_test(simplifies),
        cmocka_unit_test(composes),
        cmocka_unit_test(complements_and_inverts),
        cmocka_unit_test(divides_and_multiplies),
        cmocka_unit_test(slices),
        cmocka_unit_test(swizzles),
        cmocka_unit_test(refuses_wrong_requests),
        cmocka_unit_test(builds_tilers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
