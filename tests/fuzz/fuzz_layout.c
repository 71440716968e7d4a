/* Fuzz target: any bytes as a line of a table of layout operations, "OPERATION A B" separated by tabs, and its
 * first field as each of the notations.
 *
 * Whatever is read can be written and read again; what an operation gives is in the notation, too; what is
 * refused leaves the result alone and says why. The sanitizers watch the arithmetic. */
#include "replay.h"

#include <mia/layout.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 1024

static void expect(bool holds) {
    if (!holds) abort();
}

/* Reading what was written gives the same. */
static void check_layout(const char *text) {
    mia_layout layout, again;
    mia_error error = {0};
    char written[MIA_LAYOUT_MAX_TEXT];
    int64_t number;
    if (mia_layout_parse(text, &layout, &error) != MIA_OK) {
        expect(error.message[0] != '\0');
        return;
    }
    expect(mia_layout_format(&layout, written, sizeof written, NULL) == MIA_OK);
    expect(mia_layout_parse(written, &again, NULL) == MIA_OK && mia_layout_equal(&layout, &again));
    expect(mia_layout_size(&layout, &number, NULL) == MIA_OK && number >= 1);
    expect(mia_layout_depth(&layout) <= MIA_LAYOUT_MAX_NODES);
    for (size_t i = 0; i < mia_layout_rank(&layout); i++) {
        expect(mia_layout_mode(&layout, i, &again, NULL) == MIA_OK);
    }
}

static void check_tuple(const char *text) {
    mia_tuple tuple, again;
    char written[MIA_LAYOUT_MAX_TEXT], twice[MIA_LAYOUT_MAX_TEXT];
    if (mia_tuple_parse(text, &tuple, NULL) != MIA_OK) return;
    expect(mia_tuple_format(&tuple, written, sizeof written, NULL) == MIA_OK);
    expect(mia_tuple_parse(written, &again, NULL) == MIA_OK);
    expect(mia_tuple_format(&again, twice, sizeof twice, NULL) == MIA_OK && strcmp(written, twice) == 0);
}

/* A tiler that is read is one that the operations take, whatever they make of it. */
static void check_tiler(const char *text) {
    mia_tiler tiler, nested;
    if (mia_tiler_parse(text, &tiler, NULL) != MIA_OK) return;
    mia_error error = {0};
    if (mia_tiler_by_mode(&tiler, 1, &nested, &error) != MIA_OK) { /* one pair of brackets too many */
        expect(strstr(error.message, "more than") != NULL);
    }
}

static void check_operation(const char *operation, const char *a, const char *b) {
    char result[MIA_LAYOUT_MAX_TEXT] = "untouched";
    mia_error error = {0};
    mia_status status = mia_layout_evaluate(operation, a, b, result, sizeof result, &error);
    if (status == MIA_OK) {
        check_layout(result);
    } else {
        expect(error.status == status && error.message[0] != '\0' && strcmp(result, "untouched") == 0);
    }
}

static char *next_field(char **line) {
    char *field = *line, *tab = strchr(field, '\t');
    *line = tab == NULL ? field + strlen(field) : tab + 1;
    if (tab != NULL) *tab = '\0';
    return field;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count >= LINE_BYTES) return 0;
    char *line = malloc(count + 1); /* of that size, so that a sanitizer sees a read beyond it */
    if (line == NULL) return 0;
    if (count > 0) memcpy(line, bytes, count);
    line[count] = '\0';
    line[strcspn(line, "\n")] = '\0';
    char *rest = line;
    const char *operation = next_field(&rest), *a = next_field(&rest), *b = next_field(&rest);
    const char *texts[] = {operation, a, b};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mia_swizzle swizzle;
        check_layout(texts[i]);
        check_tuple(texts[i]);
        check_tiler(texts[i]);
        (void)!mia_swizzle_parse(texts[i], &swizzle, NULL);
    }
    check_operation(operation, a, b);
    free(line);
    return 0;
}
